"""Inspect an encoded catalog: the health of its latent space, as JSON and as a page with plots."""

from __future__ import annotations

import json
import logging
import math
import posixpath
import re
from dataclasses import dataclass, replace

from pyspark.sql import SparkSession

from vaeudf.errors import GateFailed, InputError, TableError
from vaeudf.gaussian.checks import check_tolerance
from vaeudf.health.findings import Findings
from vaeudf.health.gate import Condition
from vaeudf.health.record import record_of
from vaeudf.health.wording import summary_sentences, warning_sentences
from vaeudf.schema import CATALOG_KEY
from vaeudf.spark.progress import progress
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import (
    absolute,
    filesystem,
    make_folder,
    remove,
)
from vaeudf.storage.outputs import HEALTH_MARK, PAGE_MARK, check_output, replacing
from vaeudf.storage.places import same_place
from vaeudf.table.open import PosteriorTable, open_posteriors
from vaeudf.workflows.cli import Summary, check_goes_with, option, path_option
from vaeudf.workflows.health_page import HealthPage
from vaeudf.workflows.inspection import (
    Inspection,
    check_models,
    has_quarantine,
    read_quarantine,
)
from vaeudf.workflows.option_groups import CatalogOptions, CodeOptions, VersionOptions
from vaeudf.workflows.page_pictures import PagePictures, find_page_pictures
from vaeudf.workflows.picture_agreement import check_count, prepare_agreement, told
from vaeudf.workflows.pictures import places_read

log = logging.getLogger(__name__)

RECORD = "health.json"
# The driver collects k rows for each query, of five kinds of queries.
_MOST_QUERIES = 10_000


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
        return [Condition.parse(text, "fail-on") for text in self.fail_on or []]

    @property
    def inspection(self) -> Inspection:
        """How to examine the table."""
        return Inspection(
            hub_queries=self.hub_queries,
            sample=self.sample,
            tolerances=tuple(self.tolerances),
            seed=self.seed,
        )

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
    across = old is not None and check_models(table, old, cross_model=options.cross_model)
    old_uri = None if old is None else old.uri
    inputs = places_read(table, options.table, options.catalog, options.model, old_uri)
    check_output(options.output, options.overwrite, HEALTH_MARK, inputs)
    agreeing = prepare_agreement(options, table)

    by_spark = [table.uri] if options.page or has_quarantine(table) else []
    by_spark += [] if old is None else [table.uri, old.uri]
    with spark_session("inspect_table", *by_spark) as spark, progress(spark, watch):
        pictures = None
        if options.page:
            pictures = _find_catalog(spark, table, options.catalog)
        inspection = options.inspection
        found = inspection.find(spark, table, watch, num_sampled=options.pictures or 0)
        findings = replace(found, quarantine=read_quarantine(spark, table))
        shown = None
        if agreeing is not None:
            with watch.phase("pictures"):
                agreement, shown = agreeing.measure(
                    spark, table, found.census.sample, found.hubs, options.seed
                )
            findings = replace(findings, agreement=agreement)
        if old is not None:
            with watch.phase("compare"):
                comparison = inspection.compare(spark, table, found, old, across=across)
            findings = replace(findings, comparison=comparison)
        record = record_of(findings)
        # Before anything is written: a condition may name a number that there is not.
        reasons = [one.reason_in(record) for one in options.conditions]
        with replacing(options.output, HEALTH_MARK) as folder:
            if options.page:
                with watch.phase("page"):
                    HealthPage(folder, pictures, shown).write(spark, table, findings, watch.seconds)
                    # With this mark, a job that writes only pages could replace the whole folder.
                    remove(posixpath.join(folder, PAGE_MARK))
            record |= {"seconds": watch.seconds}
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
