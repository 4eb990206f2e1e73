"""Inspect an encoded catalog: the health of its latent space, as JSON and as a page with plots."""

from __future__ import annotations

import json
import logging
import math
import posixpath
import re
from dataclasses import dataclass

from pyarrow import fs
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from vaeudf.errors import GateFailed, InputError, TableError
from vaeudf.gaussian.checks import check_tolerance
from vaeudf.health.comparison import compare
from vaeudf.health.drift import Churn
from vaeudf.health.examine import examine
from vaeudf.health.findings import Comparison, Failures, Findings, Quarantine
from vaeudf.health.gate import Condition
from vaeudf.health.outliers import outliers
from vaeudf.health.probes import churn, hub_curve, nearest_others
from vaeudf.health.record import record_of
from vaeudf.health.scan import scan
from vaeudf.health.wording import summary_sentences, warning_sentences
from vaeudf.numerics.sketches import TopList
from vaeudf.schema import CATALOG_KEY, ITEM_ID, MESSAGE, MODEL_ID_KEY, REASON, RUN_ID_KEY
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.passes import TablePasses
from vaeudf.spark.progress import progress
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import (
    absolute,
    exists,
    filesystem,
    make_folder,
    remove,
    spark_literal,
)
from vaeudf.storage.outputs import HEALTH_MARK, PAGE_MARK, check_output, replacing
from vaeudf.storage.places import same_place
from vaeudf.table.open import PosteriorTable, open_posteriors
from vaeudf.table.runs import QUARANTINE, is_run_id, quarantine_folder
from vaeudf.workflows.cli import Summary, check_goes_with, option, path_option
from vaeudf.workflows.health_page import HealthPage
from vaeudf.workflows.option_groups import CatalogOptions, CodeOptions, VersionOptions
from vaeudf.workflows.page_pictures import PagePictures, find_page_pictures
from vaeudf.workflows.picture_agreement import check_count, prepare_agreement, told
from vaeudf.workflows.pictures import places_read

log = logging.getLogger(__name__)

RECORD = "health.json"
# The driver collects k rows for each query, of five kinds of queries.
_MOST_QUERIES = 10_000
_OUTLIERS = 24
_EXAMPLES = 5


@dataclass(frozen=True)
class InspectTable(VersionOptions, CatalogOptions, CodeOptions):
    """Tell how healthy a catalog's latent space is: dimensions, sliders, hubs, copies, outliers."""

    table: str = path_option(help="folder of the posterior table, or of plain Parquet like it")
    output: str = path_option(help="folder to write health.json and the page to")
    page: bool = option(True, help="write index.html with plots and pictures, too")
    compare: str | None = path_option(
        None, help="what to compare with: an older version's number, or another table"
    )
    cross_model: bool = option(
        False, help="with --compare: also with another model's table, as far as that means anything"
    )
    hub_queries: int = option(1000, help="z of each kind that are asked to find hubs")
    sample: int = option(1000, help="items that are asked for the nearest other item")
    pictures: int | None = option(
        None,
        help="compare hits with what z decodes to, among so many items' pictures, such as 2000",
    )
    model: str | None = path_option(
        None, help="with --pictures: the model bundle (default: the table's own)"
    )
    taus: str = option("0,0.05,0.1,0.2,0.5,1", help="tolerances to try, with commas between")
    fail_on: list[str] | None = option(
        None,
        help="end with exit code 5 if a number of health.json is beyond a limit, such as "
        "'quarantine.items > 100'; repeat it",
    )
    seed: int = option(0, help="of the z and of the sample")
    overwrite: bool = option(False, help="replace --output if it exists")

    def __post_init__(self) -> None:
        self.check_version()
        for name in ("hub_queries", "sample"):
            value = getattr(self, name)
            if not 1 <= value <= _MOST_QUERIES:
                raise InputError(
                    f"{name.replace('_', '-')} is {value}; expected 1 to {_MOST_QUERIES:,}."
                )
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more.")
        check_goes_with(self, "compare", ("cross_model",))
        check_goes_with(self, "pictures", ("model", "trust_model", "py_files"))
        if self.pictures is None:
            check_goes_with(self, "page", ("catalog",))
        else:
            check_count(self.pictures)
        self.tolerances, self.conditions  # noqa: B018 - refused now rather than later

    @property
    def conditions(self) -> list[Condition]:
        """The conditions under which to fail."""
        return [Condition.parse(text) for text in self.fail_on or []]

    @property
    def tolerances(self) -> list[float]:
        """The tolerances to try, ascending."""
        try:
            found = {float(text) for text in str(self.taus).split(",")}
            for tau in found:
                check_tolerance(tau)
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"taus are {self.taus!r}; expected numbers with commas between, such as 0,0.1,0.5."
            ) from None
        return sorted(found)


def inspect_table(options: InspectTable) -> Summary:
    """Scan the table, query it, compare it, and write what was found.

    Raises:
        GateFailed: A number is beyond a limit. What was found is written by then.
    """
    watch = Stopwatch()
    table = open_posteriors(options.table, options.version)
    if table.num_items == 0:
        raise TableError(f"{options.table} has no items; there is nothing to inspect.")
    old = None if options.compare is None else _open_old(options, table)
    across = old is not None and _check_models(table, old, cross_model=options.cross_model)
    old_uri = None if old is None else old.uri
    inputs = places_read(table, options.table, options.catalog, options.model, old_uri)
    check_output(options.output, options.overwrite, HEALTH_MARK, inputs)
    agreeing = prepare_agreement(options, table)

    with spark_session("inspect_table") as spark, progress(spark, watch):
        by_spark = [table.uri] if options.page or _has_quarantine(table) else []
        Cluster.of(spark).check_connectors(
            *by_spark, *([] if old is None else [table.uri, old.uri])
        )
        pictures = None
        if options.page:
            pictures = _find_catalog(spark, table, options.catalog)
        with watch.phase("scan"):
            passes = TablePasses(spark, table)
            most = max(options.sample, options.pictures or 0)
            census, duplicates = scan(passes, num_sampled=most, seed=options.seed)
            sample = census.sample.first(options.sample)
            health = examine(census)
        with watch.phase("hubs"):
            hubs = hub_curve(
                table, options.tolerances, count=options.hub_queries, seed=options.seed
            )
        with watch.phase("neighbours"):
            neighbours = nearest_others(table, sample)
        with watch.phase("outliers"):
            alone = outliers(passes, census.farthest, num_items=table.num_items, most=_OUTLIERS)
        comparison = agreement = shown = None
        if agreeing is not None:
            with watch.phase("pictures"):
                agreement, shown = agreeing.measure(spark, table, census.sample, hubs, options.seed)
        if old is not None:
            with watch.phase("compare"):
                comparison = _compare(spark, options, table, old, sample, across=across)
        findings = Findings(
            uri=table.uri,
            version=table.version,
            model_id=table.provenance.get(MODEL_ID_KEY),
            census=census,
            health=health,
            hubs=hubs,
            duplicates=duplicates,
            neighbours=tuple(neighbours),
            outliers=tuple(alone),
            quarantine=_read_quarantine(spark, table),
            comparison=comparison,
            agreement=agreement,
        )
        found = record_of(findings)
        # Before anything is written: a condition may name a number that there is not.
        reasons = [one.reason_in(found) for one in options.conditions]
        with replacing(options.output, HEALTH_MARK) as folder:
            if options.page:
                with watch.phase("page"):
                    HealthPage(folder, pictures, shown).write(spark, table, findings, watch.seconds)
                    # With this mark, a job that writes only pages could replace the whole folder.
                    remove(posixpath.join(folder, PAGE_MARK))
            record = found | {"seconds": watch.seconds}
            system, inner = filesystem(folder)
            make_folder(system, inner)
            with system.open_output_stream(posixpath.join(inner, RECORD)) as stream:
                stream.write(json.dumps(record, indent=1, ensure_ascii=False).encode() + b"\n")
    for sentence in (*summary_sentences(findings), *warning_sentences(findings)):
        log.info("%s", sentence)
    failed = [reason for reason in reasons if reason is not None]
    if failed:
        raise GateFailed("\n".join([*failed, f"What was found is in {absolute(options.output)}."]))
    return _summary(options, findings, watch)


def _find_catalog(
    spark: SparkSession, table: PosteriorTable, catalog: str | None
) -> PagePictures | None:
    """Return where the page's pictures are; None if that is unknown, or they no longer exist."""
    if CATALOG_KEY not in table.provenance and catalog is None:
        return None
    try:
        return find_page_pictures(spark, table, catalog)
    except InputError as error:
        if catalog is not None:
            raise
        log.warning("The page has no pictures: %s", error)
        return None


def _open_old(options: InspectTable, table: PosteriorTable) -> PosteriorTable:
    """Return what to compare with.

    Raises:
        TableError: There is no such version, or no such table, or it has no items.
        InputError: It is the table that is inspected.
    """
    named = str(options.compare)
    if re.fullmatch(r"\d+", named):
        old = open_posteriors(options.table, int(named))
    else:
        old = open_posteriors(named)
    if old.version == table.version and same_place(old.uri, table.uri):
        raise InputError(
            f"compare is {named!r}, which is what is inspected; name another version, or another "
            "table."
        )
    if old.num_items == 0:
        raise TableError(f"{named} has no items; there is nothing to compare with.")
    return old


def _check_models(table: PosteriorTable, old: PosteriorTable, *, cross_model: bool) -> bool:
    """Return whether the two are of different models; raise an error unless that is allowed.

    Plain Parquet does not say which model it is of: it counts as the same if the latent_dim is.
    """
    ours, theirs = (one.provenance.get(MODEL_ID_KEY) for one in (table, old))
    same_model = ours is None or theirs is None or ours == theirs
    if same_model and table.latent_dim == old.latent_dim:
        return False
    if not cross_model:
        raise InputError(
            f"{_named(table)} is of {_of_model(table)}, but {_named(old)}, to compare with, is of "
            f"{_of_model(old)}: their posteriors mean different things. Compare versions of one "
            "model, or leave out what is then meaningless with --cross-model."
        )
    return True


def _named(table: PosteriorTable) -> str:
    return table.uri if table.version is None else f"{table.uri} version {table.version}"


def _of_model(table: PosteriorTable) -> str:
    model_id = table.provenance.get(MODEL_ID_KEY)
    known = "an unknown model" if model_id is None else f"model {model_id[:12]}…"
    return f"{known} with latent_dim {table.latent_dim}"


def _compare(
    spark: SparkSession,
    options: InspectTable,
    table: PosteriorTable,
    old: PosteriorTable,
    sample: TopList,
    *,
    across: bool,
) -> Comparison:
    drift = compare(spark, table, old, posteriors=not across)
    overlaps: list[Churn] = []
    old_health = None
    if across:
        old_census, _ = scan(TablePasses(spark, old), num_sampled=0, seed=options.seed)
        old_health = examine(old_census)
    else:
        overlaps = churn(table, old, sample, count=options.hub_queries, seed=options.seed)
    return Comparison(
        uri=old.uri,
        version=old.version,
        model_id=old.provenance.get(MODEL_ID_KEY),
        items=old.num_items,
        drift=drift,
        churn=tuple(overlaps),
        health=old_health,
    )


def _read_quarantine(spark: SparkSession, table: PosteriorTable) -> Quarantine | None:
    """Return what could not be encoded: for this version, if it says which run wrote it."""
    if table.version is None:
        return None
    run_id = table.provenance.get(RUN_ID_KEY)
    folder = None if run_id is None else quarantine_folder(table.uri, run_id)
    if run_id is None:
        folder = _last_quarantine(table.uri)
    if folder is None or not exists(folder):
        # A run that quarantines nothing leaves no folder; without a run nothing is known.
        return None if run_id is None else Quarantine(failures=(), of_version=True)
    rows = spark.read.parquet(spark_literal(folder))
    counts = rows.groupBy(REASON).count().orderBy(F.desc("count"), REASON).collect()
    failures = []
    for row in counts:
        own = rows.where(F.col(REASON) == row[REASON]).orderBy(ITEM_ID).limit(_EXAMPLES)
        examples = tuple((one[ITEM_ID], one[MESSAGE] or "") for one in own.collect())
        failures.append(Failures(reason=row[REASON], items=row["count"], examples=examples))
    return Quarantine(failures=tuple(failures), of_version=run_id is not None)


def _has_quarantine(table: PosteriorTable) -> bool:
    return table.version is not None and _last_quarantine(table.uri) is not None


def _last_quarantine(uri: str) -> str | None:
    """Return the quarantine folder of the last run that has left one; None if none has."""
    system, inner = filesystem(posixpath.join(uri, QUARANTINE))
    entries = system.get_file_info(fs.FileSelector(inner, allow_not_found=True))
    runs = [entry.base_name.removeprefix("run_id=") for entry in entries]
    runs = sorted(filter(is_run_id, runs))
    return quarantine_folder(uri, runs[-1]) if runs else None


def _summary(options: InspectTable, findings: Findings, watch: Stopwatch) -> Summary:
    health, hubs, quarantine = findings.health, findings.hubs, findings.quarantine
    summary: Summary = {
        "table": findings.uri,
        "version": findings.version,
        "items": health.items,
        "latent_dim": len(health.dimensions),
        "active": len(health.active),
        "collapsed": len(health.collapsed),
        "rate": _rounded(health.rate),
        "aggregate_kl": _rounded(health.aggregate_kl),
        "slider_range": _rounded(health.slider_range),
        "hub_share": _rounded(float(hubs.shares[0, hubs.worst_kind])),
        "hub_kind": hubs.kinds[hubs.worst_kind],
        "recommended_tau": hubs.recommended,
        "copies": findings.duplicates.items,
        "alike_share": findings.alike_share,
        "loneliest": findings.outliers[0].item_id if findings.outliers else None,
        "quarantined": None if quarantine is None else quarantine.items,
    }
    if findings.agreement is not None:
        summary |= told(findings.agreement)
    comparison = findings.comparison
    if comparison is not None:
        drift = comparison.drift
        summary |= {"added": drift.added, "removed": drift.removed, "common": drift.common}
        if not comparison.across_models:
            summary["changed"] = drift.changed
            summary["overlap"] = {one.kind: _rounded(one.overlap) for one in comparison.churn}
    summary["seconds"] = watch.seconds
    summary["output"] = absolute(options.output)
    if options.page:
        summary["report"] = posixpath.join(absolute(options.output), "index.html")
    return summary


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
