"""The folder that cluster_catalog writes: items, centroids, trials, and a record of the run."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from vaeudf.clustering.api import OUTSIDE, Clustering, GivenClusters
from vaeudf.clustering.description.columns import Column
from vaeudf.clustering.description.found import Description
from vaeudf.clustering.divergences import divergence_named
from vaeudf.clustering.hierarchy import Hierarchy
from vaeudf.clustering.lloyd import Fitted
from vaeudf.errors import InputError, root_cause
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, QUERY_ID
from vaeudf.spark.frames import write_parquet
from vaeudf.storage.locations import absolute, exists, filesystem, spark_literal
from vaeudf.workflows.cluster_tree import hierarchy_files

ITEMS, CENTROIDS, TRIALS = "items", "centroids.parquet", "trials.parquet"
RECORD = "clustering.json"
RADIUS, NEXT_NUMBER = "radius", "next_number"


def write_clusters(
    folder: str,
    best: Clustering,
    trials: pa.Table | None,
    record: dict[str, Any],
    *,
    soft: bool,
    columns: Sequence[Column] = (),
    tree: Hierarchy | None = None,
) -> Description | None:
    """Write what a run found into a folder that is empty, and describe the clusters.

    Args:
        folder: Where to.
        best: The clusters to keep.
        trials: What else was tried (:func:`trial_rows`), if anything was.
        record: Of the run.
        soft: Whether items get the responsibilities of all clusters.
        columns: What to describe clusters by.
        tree: The clusters merged, if they are.

    Returns:
        What they are made of; None if no columns are given.
    """
    description = None
    items = posixpath.join(folder, ITEMS)
    if columns:
        with best.described_items(columns, soft=soft) as (description, rows):
            write_parquet(rows, items)
        record = {**record, **description.as_json(best.numbers.tolist())}
    else:
        write_parquet(best.items(soft=soft), items)
    system, inner = filesystem(folder)
    tables = {CENTROIDS: _centroid_rows(best, description)}
    if trials is not None:
        tables[TRIALS] = trials
    for name, rows in tables.items():
        pq.write_table(rows, posixpath.join(inner, name), filesystem=system)
    texts = {}
    if tree is not None:
        names = None if description is None else [one.name for one in description.clusters]
        texts = hierarchy_files(tree, best, names)
    texts[RECORD] = json.dumps({"format": 1, **record}, indent=2, allow_nan=False) + "\n"
    for name, text in texts.items():
        with system.open_output_stream(posixpath.join(inner, name)) as stream:
            stream.write(text.encode())
    return description


@dataclass(frozen=True)
class EarlierRun:
    """What an earlier run wrote.

    Attributes:
        folder: Where it is, an absolute path or URI.
        clusters: Its clusters.
        model_id: The model whose encodings they are made of, if that is known.
        next_number: What a cluster that it does not have is called, at least.
    """

    folder: str
    clusters: GivenClusters
    model_id: str | None
    next_number: int

    def check_items(self) -> None:
        """Raise InputError unless its items are there, which are read when a run has ended."""
        if not exists(posixpath.join(self.folder, ITEMS)):
            raise InputError(
                f"{self.folder} has no {ITEMS}, by which clusters are matched; expected a folder "
                "as cluster_catalog writes it."
            )

    def items(self, spark: SparkSession) -> DataFrame:
        """Return its items and their clusters."""
        return spark.read.parquet(spark_literal(posixpath.join(self.folder, ITEMS)))


def read_clusters(path: str) -> EarlierRun:
    """Return what a run wrote.

    Raises:
        InputError: The folder is not one that cluster_catalog has written, or is damaged.
    """
    folder = absolute(path)
    system, inner = filesystem(folder)
    try:
        with system.open_input_stream(posixpath.join(inner, RECORD)) as stream:
            record = json.loads(stream.read())
        rows = pq.read_table(posixpath.join(inner, CENTROIDS), filesystem=system)
        clusters = _clusters_of(record, rows)
    except FileNotFoundError:
        raise InputError(
            f"{path} has no {RECORD} and {CENTROIDS}; expected a folder that cluster_catalog has "
            "written with --output."
        ) from None
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InputError(
            f"{path} is not as cluster_catalog writes it ({root_cause(error)}); cluster anew."
        ) from None
    return EarlierRun(
        folder=folder,
        clusters=clusters,
        model_id=record.get("model_id"),
        next_number=max(record.get(NEXT_NUMBER, 0), int(clusters.numbers.max()) + 1),
    )


def _clusters_of(record: dict[str, Any], rows: pa.Table) -> GivenClusters:
    mu, log_var = (np.array(rows[name].to_pylist(), np.float64) for name in (MU, LOG_VAR))
    numbers = rows["cluster"].to_numpy().astype(np.int32)
    if not (mu.ndim == 2 and mu.shape == log_var.shape and mu.size):
        raise ValueError("its centroids have no means and variances of one shape")
    if not (np.isfinite(mu).all() and np.isfinite(log_var).all()):
        raise ValueError("a centroid has numbers that are not finite")
    if len(set(numbers.tolist())) < len(numbers):
        raise ValueError("two clusters have one number")
    # An older run has not noted how far its items were.
    known = RADIUS in rows.column_names
    radii = rows[RADIUS].to_numpy() if known else np.full(len(rows), np.nan)
    return GivenClusters(
        divergence=divergence_named(record["divergence"]),
        centroids=Gaussians(mu, log_var),
        numbers=numbers,
        radii=np.asarray(radii, np.float64),
    )


def _centroid_rows(best: Clustering, description: Description | None) -> pa.Table:
    clusters = best.clusters
    # Those of given clusters stay, so that who is outside is told alike after each assignment.
    radii = [cluster.radius for cluster in clusters] if best.radii is None else best.radii
    outside = {}
    if best.radii is not None:
        counts = [
            None if np.isnan(radius) else cluster.num_outside
            for cluster, radius in zip(clusters, best.radii, strict=True)
        ]
        outside = {OUTSIDE: pa.array(counts, pa.int64())}
    names = {}
    if description is not None:
        names = {"name": pa.array([one.name for one in description.clusters], pa.string())}
    return pa.table(
        {
            # The file can be given to query_topk as its queries.
            QUERY_ID: [f"cluster {number}" for number in best.numbers],
            "cluster": pa.array(best.numbers, pa.int32()),
            **names,
            "size": pa.array([cluster.size for cluster in clusters], pa.int64()),
            "mean_divergence": pa.array(
                [cluster.mean_divergence for cluster in clusters], from_pandas=True
            ),
            "silhouette": pa.array(
                [cluster.silhouette for cluster in clusters], pa.float64(), from_pandas=True
            ),
            "medoid": pa.array([cluster.medoid for cluster in clusters], pa.string()),
            "nearest": _item_lists([cluster.nearest for cluster in clusters]),
            "farthest": _item_lists([cluster.farthest for cluster in clusters]),
            RADIUS: pa.array(radii, pa.float64(), from_pandas=True),
            **outside,
            MU: pa.array(best.centroids.mu.tolist(), pa.list_(pa.float64())),
            LOG_VAR: pa.array(best.centroids.log_var.tolist(), pa.list_(pa.float64())),
        }
    )


def _item_lists(lists: Sequence[Sequence[tuple[str, float]]]) -> pa.Array:
    kind = pa.list_(pa.struct([(ITEM_ID, pa.string()), ("divergence", pa.float64())]))
    rows = [[{ITEM_ID: item, "divergence": value} for item, value in one] for one in lists]
    return pa.array(rows, kind)


def trial_rows(fitted: Fitted, clusterings: Sequence[Clustering], best: Clustering) -> pa.Table:
    """Return a row for each k and restart.

    Args:
        fitted: All trials.
        clusterings: The best of each k.
        best: The one that is kept.
    """
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
