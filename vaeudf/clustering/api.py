"""Cluster the posteriors of a table on Spark, by a divergence between Gaussians."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession

from vaeudf.clustering.divergences import Divergence, divergence_named
from vaeudf.clustering.lloyd import Fitted, Plan, Trial, fit
from vaeudf.clustering.portraits import Portrait, assign, portray
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.schema import ITEM_ID
from vaeudf.spark.passes import TablePasses
from vaeudf.table.delta import PosteriorTable, open_posteriors
from vaeudf.table.passes import Batch

CLUSTER = "cluster"
DIVERGENCE = "divergence"
_ITEM_SCHEMA = pa.schema(
    [(ITEM_ID, pa.string()), (CLUSTER, pa.int32()), (DIVERGENCE, pa.float64())]
)


@dataclass(frozen=True)
class Clustering:
    """Clusters of a table's items, numbered from 0, the largest first.

    Attributes:
        table: What was clustered.
        divergence: By what.
        trial: The centroids, and how they were found.
        portraits: What is known of each cluster.
        passes: Runs passes over the table.
    """

    table: PosteriorTable
    divergence: Divergence
    trial: Trial
    portraits: list[Portrait]
    passes: TablePasses

    @property
    def k(self) -> int:
        """How many clusters."""
        return self.trial.k

    @property
    def centroids(self) -> Gaussians:
        """The centroids, (k, n)."""
        return self.trial.centroids

    @property
    def silhouette(self) -> float:
        """The mean over all items of (b - a) / b; NaN for one cluster."""
        sizes = np.array([portrait.size for portrait in self.portraits], np.float64)
        widths = np.array([portrait.silhouette for portrait in self.portraits])
        return float(np.average(widths[sizes > 0], weights=sizes[sizes > 0]))

    def items(self) -> DataFrame:
        """Return ``item_id``, ``cluster`` and ``divergence`` from its centroid, of every item."""
        assigned = partial(
            _assigned,
            centroids=self.centroids,
            divergence=self.divergence,
            ranks=self.trial.ranks,
        )
        return self.passes.rows(assigned, _ITEM_SCHEMA)


def _assigned(
    batches: Iterator[Batch],
    centroids: Gaussians,
    divergence: Divergence,
    ranks: NDArray[np.int64] | None,
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        found, values = assign(batch.items, centroids, divergence, ranks)
        columns = [batch.names(np.arange(len(found))), pa.array(found), pa.array(values)]
        yield pa.RecordBatch.from_arrays(columns, schema=_ITEM_SCHEMA)


def cluster(
    posteriors: str | PosteriorTable,
    k: int,
    *,
    divergence: str = "kl",
    seed: int = 0,
    restarts: int = 3,
    max_iterations: int = 100,
    min_improvement: float = 1e-4,
    num_nearest: int = 12,
) -> Clustering:
    """Cluster a table's items into k clusters by a divergence between Gaussians.

    k-means with KL(item ‖ centroid) in place of the squared distance, and the Gaussian with the
    moments of a cluster's mixture in place of its mean (Davis and Dhillon, 2006): the mean
    divergence from the centroids falls at every iteration. Each iteration is one pass over the
    table; the result depends on the items and the seed, and not on how they are partitioned.

    Args:
        posteriors: A posterior table or its path, or that of a folder of plain Parquet.
        k: How many clusters.
        divergence: One of :data:`vaeudf.clustering.divergences.DIVERGENCES`.
        seed: Chooses the seeds.
        restarts: How often to try, with other seeds; the best counts.
        max_iterations: When to stop at the latest.
        min_improvement: Stop when an iteration lowers the mean divergence by no more than this part
            of it.
        num_nearest: How many items to name of each cluster.

    Raises:
        InputError: k < 1, more clusters than items that differ, an unknown divergence, or numbers
            that cannot be clustered.
        TableError: The path does not hold posteriors.
    """
    table = open_posteriors(posteriors) if isinstance(posteriors, str) else posteriors
    kind = divergence_named(divergence)
    plan = Plan(kind, (k,), restarts, seed, max_iterations, min_improvement)
    passes = TablePasses(SparkSession.builder.getOrCreate(), table)
    [found] = cluster_all(passes, table, plan, num_nearest)[1]
    return found


def cluster_all(
    passes: TablePasses,
    table: PosteriorTable,
    plan: Plan,
    num_nearest: int,
    tell: Callable[[list[Trial]], None] = lambda _: None,
) -> tuple[Fitted, list[Clustering]]:
    """Return all trials, and for each k the best of them with its portraits."""
    fitted = fit(passes, plan, tell)
    trials = fitted.best()
    portraits = portray(passes, fitted, trials, num_nearest)
    found = [
        Clustering(table, plan.divergence, trial, own, passes)
        for trial, own in zip(trials, portraits, strict=True)
    ]
    return fitted, found
