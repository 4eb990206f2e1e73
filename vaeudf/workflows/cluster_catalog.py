"""Cluster an encoded catalog by a divergence between its items' Gaussians."""

from __future__ import annotations

import dataclasses
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from vaeudf.clustering.api import Clustering, assign_all, cluster_all
from vaeudf.clustering.description.columns import find_columns
from vaeudf.clustering.divergences import DIVERGENCES, KL, Divergence, divergence_named
from vaeudf.clustering.history import numbered_like
from vaeudf.clustering.lloyd import Fitted
from vaeudf.clustering.plan import Plan
from vaeudf.errors import InputError
from vaeudf.model.py_files import use_py_files
from vaeudf.schema import MODEL_ID_KEY
from vaeudf.spark.passes import TablePasses
from vaeudf.spark.progress import progress
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import absolute
from vaeudf.storage.outputs import CLUSTERS_MARK, replacing
from vaeudf.table.open import PosteriorTable, open_posteriors
from vaeudf.workflows.cli import Summary, changed, flag_of, option, path_option
from vaeudf.workflows.cluster_files import (
    NEXT_NUMBER,
    EarlierRun,
    read_clusters,
    trial_rows,
    write_clusters,
)
from vaeudf.workflows.cluster_log import IterationLog, in_words
from vaeudf.workflows.cluster_page import ClusterPage
from vaeudf.workflows.cluster_summary import facts_of_clusters, facts_of_fit
from vaeudf.workflows.cluster_tree import find_hierarchy
from vaeudf.workflows.option_groups import PageOptions, VersionOptions
from vaeudf.workflows.page_pictures import check_page_pictures, find_page_pictures
from vaeudf.workflows.pictures import load_decoder, places_read

log = logging.getLogger(__name__)

# The options of a fit, and those of them that are recorded beside the summary.
_FITTING = (
    "k",
    "k_range",
    "divergence",
    "restarts",
    "seed",
    "max_iterations",
    "min_improvement",
)
_RECORDED = ("k_range", "max_iterations", "min_improvement")
_K_RANGE = re.compile(r"^(\d+)-(\d+)(?:/(\d+))?$")


@dataclass(frozen=True)
class ClusterCatalog(VersionOptions, PageOptions):
    """Cluster the items of a posterior table by KL between their Gaussians."""

    table: str = path_option(help="folder of the posterior table, or of plain Parquet like it")
    output: str = path_option(help="folder to write items, centroids and trials to")
    k: int | None = option(None, help="number of clusters")
    k_range: str | None = option(
        None, help="try FROM-TO clusters, or FROM-TO/STEP, and keep the best by silhouette"
    )
    divergence: str = option("kl", help=", ".join(DIVERGENCES))
    restarts: int = option(3, help="searches for seeds; the best result is kept")
    seed: int = option(0, help="chooses the seeds")
    max_iterations: int = option(100, help="stop after at most this many iterations")
    min_improvement: float = option(
        1e-4, help="stop when an iteration lowers the objective by no more than this part"
    )
    assign_to: str | None = path_option(
        None, help="give items to the clusters of an earlier run, its --output; none is fitted"
    )
    match: str | None = path_option(
        None, help="number clusters as those of an earlier run that they share items with"
    )
    soft: bool = option(False, help="write how much each cluster is responsible for an item")
    describe_by: list[str] | None = option(
        None, help="a payload column to tell what clusters are made of; repeat it for more"
    )
    report_items: int = option(10, help="items to show of each cluster")
    report_clusters: int = option(50, help="show at most this many clusters, the largest")

    def __post_init__(self) -> None:
        if self.assign_to is None:
            check_soft(self.plan().divergence, soft=self.soft)
        else:
            self._check_nothing_is_fitted()
        self.check_version()
        for name in ("report_items", "report_clusters"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise InputError(f"{flag} is {getattr(self, name)}; expected at least 1.")
        self.check_page("report_items", "report_clusters")

    def _check_nothing_is_fitted(self) -> None:
        for name in changed(self, (*_FITTING, "match")):
            raise InputError(
                f"found both --assign-to and {flag_of(name)}; expected one of them: the "
                f"clusters of {self.assign_to} are used as they are."
            )

    def plan(self) -> Plan:
        """Return what to fit."""
        return Plan(
            divergence=divergence_named(self.divergence),
            num_clusters=self.num_clusters(),
            restarts=self.restarts,
            seed=self.seed,
            max_iterations=self.max_iterations,
            min_improvement=self.min_improvement,
        )

    def num_clusters(self) -> tuple[int, ...]:
        """Return the values of k to try.

        Raises:
            InputError: Neither k nor a range is given, or both, or the range is invalid.
        """
        if (self.k is None) == (self.k_range is None):
            given = "neither" if self.k is None else "both"
            raise InputError(
                f"expected the number of clusters, from either --k or --k-range; found {given}."
            )
        if self.k is not None:
            return (self.k,)
        found = _K_RANGE.match(self.k_range or "")
        numbers = [int(part) for part in found.groups("1")] if found else [0, 0, 0]
        first, last, step = numbers
        if not (1 <= first and 1 <= step <= last - first):
            raise InputError(
                f"k-range is {self.k_range!r}; expected FROM-TO or FROM-TO/STEP with at least two "
                "numbers of clusters in it, such as 2-20 or 10-100/10."
            )
        return tuple(range(first, last + 1, step))


def check_soft(divergence: Divergence, *, soft: bool) -> None:
    """Raise InputError if there are no responsibilities by a divergence."""
    if soft and divergence.name != KL.name:
        raise InputError(
            f"soft goes with the divergence {KL.name}; found {divergence.name}, by which clusters "
            "are no mixture of Gaussians."
        )


def cluster_catalog(options: ClusterCatalog) -> Summary:
    """Cluster the table's items, write the result, draw the page."""
    watch = Stopwatch()
    table = open_posteriors(options.table, options.version)
    earlier = _earlier_run(options, table)
    if options.assign_to is None:
        most = max(options.num_clusters())
        if most > table.num_items:
            raise InputError(
                f"k is {most}, but {options.table} has only {table.num_items} "
                f"items; expected at most {table.num_items}."
            )
    columns = find_columns(table, options.describe_by or ())
    decoder = None
    if options.report:
        use_py_files(options.py_files)
        decoder = load_decoder(
            table, options.model, options.catalog, trust_model=options.trust_model
        )
        check_page_pictures(table, options.catalog)
    inputs = places_read(
        table,
        options.table,
        options.catalog,
        options.model,
        None if earlier is None else earlier.folder,
    )
    options.check_outputs(options.output, CLUSTERS_MARK, inputs)

    # Of the table, only what a page shows of items is read by Spark itself.
    by_spark = [options.output, table.uri] if options.report else [options.output]
    if options.match is not None and earlier is not None:
        by_spark.append(earlier.folder)
    with spark_session("cluster_catalog", *by_spark) as spark, progress(spark, watch):
        page = None
        if options.report and decoder is not None:
            pictures = find_page_pictures(spark, table, options.catalog)
            page = ClusterPage(
                folder=options.report,
                decoder=decoder,
                pictures=pictures,
                num_items=options.report_items,
                num_clusters=options.report_clusters,
            )
        passes = TablePasses(spark, table)
        with watch.phase("cluster"):
            found = (
                _fitted(options, passes, table)
                if options.assign_to is None
                else _assigned(options, passes, table, earlier)
            )
        if options.match is not None and earlier is not None:
            with watch.phase("match"):
                found = _matched(found, earlier.items(spark), earlier)
        with watch.phase("merge"):
            tree = find_hierarchy(found.fitted, found.best)
        with watch.phase("write"), replacing(options.output, CLUSTERS_MARK) as folder:
            description = write_clusters(
                folder,
                found.best,
                found.trials,
                {**found.summary, **found.record},
                soft=options.soft,
                columns=columns,
                tree=tree,
            )
        summary = {**found.summary, "seconds": watch.seconds}
        if page is not None:
            with watch.phase("report"):
                written = page.write(
                    spark, found.fitted, found.tried, found.best, summary, description, tree
                )
    summary["output"] = absolute(options.output)
    if page is not None:
        summary["report"] = written
    return summary


def _earlier_run(options: ClusterCatalog, table: PosteriorTable) -> EarlierRun | None:
    """Return the run whose clusters are used or matched, if one is named."""
    path = options.assign_to or options.match
    if path is None:
        return None
    earlier = read_clusters(path)
    if options.assign_to is None:
        earlier.check_items()
        return earlier
    check_soft(earlier.clusters.divergence, soft=options.soft)
    model_id = table.provenance.get(MODEL_ID_KEY)
    if None not in (earlier.model_id, model_id) and earlier.model_id != model_id:
        raise InputError(
            f"the clusters of {path} are of the encodings of model {str(earlier.model_id)[:12]}, "
            f"and {options.table} has those of model {str(model_id)[:12]}: the centroids of one "
            "say nothing of the other. Cluster the table anew; with --match the clusters keep "
            "their numbers."
        )
    return earlier


@dataclass(frozen=True)
class _Found:
    """What a run found.

    Attributes:
        fitted: All trials.
        tried: The best of each k.
        best: The clusters to keep.
        summary: The last line on stdout, so far.
        record: What ``clustering.json`` says besides.
        trials: Of the trials, what is written.
    """

    fitted: Fitted
    tried: list[Clustering]
    best: Clustering
    summary: Summary
    record: Summary
    trials: pa.Table | None = None


def _fitted(options: ClusterCatalog, passes: TablePasses, table: PosteriorTable) -> _Found:
    """Return clusters that are fitted to the items."""
    fitted, tried = cluster_all(
        passes,
        table,
        options.plan(),
        num_nearest=options.report_items,
        on_iteration=IterationLog(),
    )
    best = _choose(tried)
    if len(tried) > 1 and best.k == tried[-1].k:
        log.info(
            "k = %d has the highest silhouette and is the last that was tried: "
            "there may be a better one beyond it.",
            best.k,
        )
    record = {name: getattr(options, name) for name in _RECORDED} | {NEXT_NUMBER: best.k}
    trials = trial_rows(fitted, tried, best)
    return _Found(fitted, tried, best, facts_of_fit(table, fitted, best), record, trials)


def _assigned(
    options: ClusterCatalog,
    passes: TablePasses,
    table: PosteriorTable,
    earlier: EarlierRun | None,
) -> _Found:
    """Return clusters of an earlier run with the items that are nearest to them."""
    assert earlier is not None
    fitted, best = assign_all(passes, table, earlier.clusters, num_nearest=options.report_items)
    summary = facts_of_clusters(table, best)
    known = [one.num_outside or 0 for one in best.clusters]
    assert best.radii is not None
    summary["outside"] = None if np.isnan(best.radii).all() else sum(known)
    summary["assigned_to"] = earlier.folder
    return _Found(fitted, [best], best, summary, {NEXT_NUMBER: earlier.next_number})


def _matched(found: _Found, items: DataFrame, earlier: EarlierRun) -> _Found:
    """Return clusters with the numbers of those of an earlier run."""
    mine = found.summary["model_id"]
    best, matching = numbered_like(
        found.best,
        earlier.clusters,
        items,
        earlier.next_number,
        same_model=mine is not None and mine == earlier.model_id,
    )
    changes = [dataclasses.asdict(change) for change in matching.changes]
    for change in matching.changes:
        log.info("cluster %d: %s", change.cluster, in_words(change))
    return dataclasses.replace(
        found,
        best=best,
        summary={**found.summary, "matched": earlier.folder, "changes": changes},
        record={**found.record, NEXT_NUMBER: matching.next_number},
    )


def _choose(clusterings: Sequence[Clustering]) -> Clustering:
    """Return the clustering with the highest silhouette; one cluster alone has no silhouette."""
    return max(
        clusterings, key=lambda one: -math.inf if math.isnan(one.silhouette) else one.silhouette
    )
