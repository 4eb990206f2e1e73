"""Cluster an encoded catalog by a divergence between its items' Gaussians."""

from __future__ import annotations

import json
import logging
import math
import posixpath
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from vaeudf.clustering.api import Clustering, cluster_all
from vaeudf.clustering.divergences import DIVERGENCES, divergence_named
from vaeudf.clustering.lloyd import Fitted, Trial
from vaeudf.clustering.plan import Plan
from vaeudf.errors import InputError
from vaeudf.model.py_files import use_py_files
from vaeudf.schema import ITEM_ID, LOG_VAR, MODEL_ID_KEY, MU, QUERY_ID
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.frames import write_parquet
from vaeudf.spark.passes import TablePasses
from vaeudf.spark.progress import progress
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import absolute, filesystem
from vaeudf.storage.outputs import CLUSTERS_MARK, replacing
from vaeudf.table.open import PosteriorTable, open_posteriors
from vaeudf.workflows.cli import Summary, option, path_option
from vaeudf.workflows.cluster_page import ClusterPage
from vaeudf.workflows.option_groups import PageOptions, VersionOptions
from vaeudf.workflows.page_pictures import check_page_pictures, find_page_pictures
from vaeudf.workflows.pictures import load_decoder, places_read

log = logging.getLogger(__name__)

ITEMS, CENTROIDS, TRIALS = "items", "centroids.parquet", "trials.parquet"
RECORD = "clustering.json"
_K_RANGE = re.compile(r"^(\d+)-(\d+)(?:/(\d+))?$")
_SECONDS_BETWEEN_LINES = 60.0


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
    report_items: int = option(10, help="items to show of each cluster")
    report_clusters: int = option(50, help="show at most this many clusters, the largest")

    def __post_init__(self) -> None:
        self.plan()
        self.check_version()
        for name in ("report_items", "report_clusters"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise InputError(f"{flag} is {getattr(self, name)}; expected at least 1.")
        self.check_page("report_items", "report_clusters")

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


def cluster_catalog(options: ClusterCatalog) -> Summary:
    """Cluster the table's items, write the result, draw the page."""
    watch = Stopwatch()
    table = open_posteriors(options.table, options.version)
    plan = options.plan()
    if max(plan.num_clusters) > table.num_items:
        raise InputError(
            f"k is {max(plan.num_clusters)}, but {options.table} has only {table.num_items} "
            f"items; expected at most {table.num_items}."
        )
    decoder = None
    if options.report:
        use_py_files(options.py_files)
        decoder = load_decoder(
            table, options.model, options.catalog, trust_model=options.trust_model
        )
        check_page_pictures(table, options.catalog)
    inputs = places_read(table, options.table, options.catalog, options.model)
    options.check_outputs(options.output, CLUSTERS_MARK, inputs)

    with spark_session("cluster_catalog") as spark, progress(spark, watch):
        # Of the table, only what a page shows of items is read by Spark itself.
        Cluster.of(spark).check_connectors(options.output, *([table.uri] if options.report else []))
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
        with watch.phase("cluster"):
            fitted, clusterings = cluster_all(
                TablePasses(spark, table),
                table,
                plan,
                num_nearest=options.report_items,
                on_iteration=_IterationLog(),
            )
        best = _choose(clusterings)
        if len(clusterings) > 1 and best.k == clusterings[-1].k:
            log.info(
                "k = %d has the highest silhouette and is the last that was tried: "
                "there may be a better one beyond it.",
                best.k,
            )
        summary = _summary(table, fitted, best)
        with watch.phase("write"), replacing(options.output, CLUSTERS_MARK) as folder:
            _write(folder, fitted, clusterings, best)
            _write_record(folder, options, summary)
        summary["seconds"] = watch.seconds
        if page is not None:
            with watch.phase("report"):
                written = page.write(spark, fitted, clusterings, best, summary)
    summary["output"] = absolute(options.output)
    if page is not None:
        summary["report"] = written
    return summary


class _IterationLog:
    """Logs once a minute how far the iterations are."""

    def __init__(self) -> None:
        self._last_line = time.monotonic()

    def __call__(self, trials: list[Trial]) -> None:
        now = time.monotonic()
        if now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        log.info(
            "iteration %d: %d of %d sets of centroids still move",
            max(len(trial.objectives) for trial in trials),
            sum(not (trial.converged or trial.dropped) for trial in trials),
            len(trials),
        )


def _choose(clusterings: Sequence[Clustering]) -> Clustering:
    """Return the clustering with the highest silhouette; one cluster alone has no silhouette."""
    return max(
        clusterings, key=lambda one: -math.inf if math.isnan(one.silhouette) else one.silhouette
    )


def _write(
    folder: str, fitted: Fitted, clusterings: Sequence[Clustering], best: Clustering
) -> None:
    write_parquet(best.items(), posixpath.join(folder, ITEMS))
    system, inner = filesystem(folder)
    for name, rows in (
        (CENTROIDS, _centroid_rows(best)),
        (TRIALS, _trial_rows(fitted, clusterings, best)),
    ):
        pq.write_table(rows, posixpath.join(inner, name), filesystem=system)


def _write_record(folder: str, options: ClusterCatalog, summary: Summary) -> None:
    """Write what was clustered, and with which options."""
    record = {
        "format": 1,
        **summary,
        "k_range": options.k_range,
        "max_iterations": options.max_iterations,
        "min_improvement": options.min_improvement,
    }
    system, inner = filesystem(folder)
    with system.open_output_stream(posixpath.join(inner, RECORD)) as stream:
        stream.write(json.dumps(record, indent=2, allow_nan=False).encode() + b"\n")


def _centroid_rows(best: Clustering) -> pa.Table:
    clusters = best.clusters
    near = pa.list_(pa.struct([(ITEM_ID, pa.string()), ("divergence", pa.float64())]))
    nearest = [
        [{ITEM_ID: item_id, "divergence": value} for item_id, value in cluster.nearest]
        for cluster in clusters
    ]
    return pa.table(
        {
            # The file can be given to query_topk as its queries.
            QUERY_ID: [f"cluster {number}" for number in range(best.k)],
            "cluster": pa.array(range(best.k), pa.int32()),
            "size": pa.array([cluster.size for cluster in clusters], pa.int64()),
            "mean_divergence": pa.array(
                [cluster.mean_divergence for cluster in clusters], from_pandas=True
            ),
            "silhouette": pa.array(
                [cluster.silhouette for cluster in clusters], pa.float64(), from_pandas=True
            ),
            "medoid": pa.array([cluster.medoid for cluster in clusters], pa.string()),
            "nearest": pa.array(nearest, near),
            MU: pa.array(best.centroids.mu.tolist(), pa.list_(pa.float64())),
            LOG_VAR: pa.array(best.centroids.log_var.tolist(), pa.list_(pa.float64())),
        }
    )


def _trial_rows(fitted: Fitted, clusterings: Sequence[Clustering], best: Clustering) -> pa.Table:
    silhouettes = {(one.trial.k, one.trial.restart): one.silhouette for one in clusterings}
    trials = fitted.trials
    keys = [(trial.k, trial.restart) for trial in trials]
    return pa.table(
        {
            "k": pa.array([trial.k for trial in trials], pa.int32()),
            "restart": pa.array([trial.restart for trial in trials], pa.int32()),
            "iterations": pa.array([len(trial.objectives) for trial in trials], pa.int32()),
            "converged": [trial.converged for trial in trials],
            "dropped": [trial.dropped for trial in trials],
            "reseeded": pa.array([trial.reseeded for trial in trials], pa.int32()),
            "objective": [trial.objective for trial in trials],
            "silhouette": pa.array(
                [silhouettes.get(key) for key in keys], pa.float64(), from_pandas=True
            ),
            "kept": [key == (best.trial.k, best.trial.restart) for key in keys],
            "objectives": pa.array(
                [list(trial.objectives) for trial in trials], pa.list_(pa.float64())
            ),
        }
    )


def _summary(table: PosteriorTable, fitted: Fitted, best: Clustering) -> Summary:
    trial, sizes = best.trial, [cluster.size for cluster in best.clusters]
    if not trial.converged:
        log.info(
            "stopped after %d iterations, before the objective came to rest; --max-iterations "
            "allows more.",
            len(trial.objectives),
        )
    empty = sum(size == 0 for size in sizes)
    if empty:
        log.info("%d of the %d clusters have no item.", empty, best.k)
    return {
        "items": table.num_items,
        "k": best.k,
        "divergence": fitted.plan.divergence.name,
        "objective": trial.objective,
        "silhouette": None if math.isnan(best.silhouette) else round(best.silhouette, 6),
        "iterations": len(trial.objectives),
        "restarts": fitted.plan.restarts,
        "seed": fitted.plan.seed,
        "converged": trial.converged,
        "largest": sizes[0],
        "smallest": sizes[-1],
        "table": table.uri,
        "version": table.version,
        "model_id": table.provenance.get(MODEL_ID_KEY),
    }
