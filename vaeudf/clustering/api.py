"""Cluster the posteriors of a table on Spark, by a divergence between Gaussians."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from vaeudf.clustering.assignment import assign
from vaeudf.clustering.description.columns import Column
from vaeudf.clustering.description.contents import Contents
from vaeudf.clustering.description.describe import describe
from vaeudf.clustering.description.found import Description
from vaeudf.clustering.divergences import Divergence, divergence_named
from vaeudf.clustering.given import fit_given
from vaeudf.clustering.lloyd import Fitted, Trial, fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.responsibilities import responsibilities
from vaeudf.clustering.summaries import ClusterSummary, summarise
from vaeudf.errors import InputError
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.schema import ITEM_ID
from vaeudf.spark.cluster import current_session
from vaeudf.spark.passes import TablePasses, merge_in_place
from vaeudf.table.open import PosteriorTable, open_posteriors
from vaeudf.table.passes import Batch

CLUSTER = "cluster"
DIVERGENCE = "divergence"
OUTSIDE = "outside"
RESPONSIBILITIES = "responsibilities"
_ITEM_SCHEMA = pa.schema(
    [(ITEM_ID, pa.string()), (CLUSTER, pa.int32()), (DIVERGENCE, pa.float64())]
)


@dataclass(frozen=True)
class GivenClusters:
    """Clusters that an earlier run found.

    Attributes:
        divergence: What they were clustered by.
        centroids: k of them.
        numbers: Of the clusters, (k,).
        radii: The divergence of the farthest item that each was made of, (k,); NaN if not known.
    """

    divergence: Divergence
    centroids: Gaussians
    numbers: NDArray[np.int32]
    radii: NDArray[np.float64]


@dataclass(frozen=True)
class Clustering:
    """Clusters of a table's items, the largest first.

    Attributes:
        table: The items' table.
        divergence: What they were clustered by.
        trial: The centroids, and how they were found.
        clusters: A summary of each cluster.
        passes: Runs passes over the table.
        numbers: Of the clusters, (k,): from 0, unless they are numbered as those of another run.
        radii: Of clusters that are given, (k,): what is farther from its centroid is outside.
    """

    table: PosteriorTable
    divergence: Divergence
    trial: Trial
    clusters: list[ClusterSummary]
    passes: TablePasses
    numbers: NDArray[np.int32]
    radii: NDArray[np.float64] | None = None

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
        sizes = np.array([one.size for one in self.clusters], np.float64)
        silhouettes = np.array([one.silhouette for one in self.clusters])
        return float(np.average(silhouettes[sizes > 0], weights=sizes[sizes > 0]))

    def items(self, *, soft: bool = False) -> DataFrame:
        """Return every item's ``item_id``, ``cluster`` and ``divergence`` from its centroid.

        Where clusters are given, also whether it is ``outside``: farther from the centroid than
        every item that the cluster was made of; null where that is not known.

        Args:
            soft: Whether to add ``responsibilities``, one of each cluster, in the order of the
                centroids (:func:`vaeudf.clustering.responsibilities.responsibilities`).
        """
        assignment = self._assignment(soft=soft)
        return self.passes.rows(assignment.rows, assignment.schema)

    @contextmanager
    def described_items(
        self, columns: Sequence[Column], *, soft: bool = False
    ) -> Iterator[tuple[Description, DataFrame]]:
        """Do as :meth:`items`, and describe the clusters in the same pass.

        The items stay on the executors' disks until the block ends.

        Args:
            columns: What to describe them by.
            soft: As there.
        """
        assignment = self._assignment(soft=soft)
        work = partial(assignment.rows_and_contents, columns=tuple(columns))
        names = tuple(column.name for column in columns)
        with self.passes.result_and_rows(work, assignment.schema, merge_in_place, names) as found:
            contents, items = found
            yield describe(contents, self.numbers.tolist()), items

    def _assignment(self, *, soft: bool) -> _Assignment:
        schema = _ITEM_SCHEMA
        if self.radii is not None:
            schema = schema.append(pa.field(OUTSIDE, pa.bool_()))
        if soft:
            schema = schema.append(pa.field(RESPONSIBILITIES, pa.list_(pa.float64())))
        return _Assignment(
            centroids=self.centroids,
            divergence=self.divergence,
            ranks=self.trial.ranks,
            numbers=self.numbers,
            radii=self.radii,
            sizes=np.array([one.size for one in self.clusters]) if soft else None,
            schema=schema,
        )


@dataclass(frozen=True)
class _Assignment:
    """What tasks need to give items their clusters; as in :class:`Clustering`.

    Attributes:
        centroids: k of them.
        divergence: What to measure by.
        ranks: Of the centroids.
        numbers: Of the clusters, (k,).
        radii: Of clusters that are given, (k,).
        sizes: Of the clusters, (k,), if items get responsibilities.
        schema: Of the rows.
    """

    centroids: Gaussians
    divergence: Divergence
    ranks: NDArray[np.int64] | None
    numbers: NDArray[np.int32]
    radii: NDArray[np.float64] | None
    sizes: NDArray[np.int64] | None
    schema: pa.Schema

    def rows(self, batches: Iterator[Batch]) -> Iterator[pa.RecordBatch]:
        """Yield every item's row."""
        for batch in batches:
            yield self._rows_of(batch)[0]

    def rows_and_contents(
        self, batches: Iterator[Batch], columns: tuple[Column, ...]
    ) -> Generator[pa.RecordBatch, None, Contents]:
        """Yield every item's row, and return what the clusters contain."""
        contents = Contents.empty(columns, len(self.centroids))
        for batch in batches:
            rows, found = self._rows_of(batch)
            everything = np.arange(len(found))
            contents.add(found, rows.column(ITEM_ID), batch.payload(everything))
            yield rows
        contents.settle()
        return contents

    def _rows_of(self, batch: Batch) -> tuple[pa.RecordBatch, NDArray[np.int32]]:
        found, values = assign(batch.items, self.centroids, self.divergence, self.ranks)
        names = batch.names(np.arange(len(found)))
        columns = [names, pa.array(self.numbers[found]), pa.array(values)]
        if self.radii is not None:
            limits = self.radii[found]
            columns.append(pa.array(values > limits, mask=np.isnan(limits)))
        if self.sizes is not None:
            shares = responsibilities(batch.items, self.centroids, self.sizes)
            ends = np.arange(len(shares) + 1, dtype=np.int32) * shares.shape[1]
            columns.append(pa.ListArray.from_arrays(pa.array(ends), pa.array(shares.ravel())))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema), found


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
        restarts: How many sets of seeds to start from; the best result is kept.
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
    plan = Plan(
        divergence=divergence_named(divergence),
        num_clusters=(k,),
        restarts=restarts,
        seed=seed,
        max_iterations=max_iterations,
        min_improvement=min_improvement,
    )
    passes = TablePasses(current_session(), table)
    _, [clustering] = cluster_all(passes, table, plan, num_nearest=num_nearest)
    return clustering


def cluster_all(
    passes: TablePasses,
    table: PosteriorTable,
    plan: Plan,
    *,
    num_nearest: int,
    on_iteration: Callable[[list[Trial]], None] = lambda _: None,
) -> tuple[Fitted, list[Clustering]]:
    """Return all trials, and the clustering that the best of each k gives.

    Args:
        passes: Runs passes over the table.
        table: What to cluster.
        plan: What to fit.
        num_nearest: How many items to name of each cluster.
        on_iteration: Called with all trials after each iteration.
    """
    fitted = fit(passes, plan, on_iteration)
    trials = fitted.best()
    summaries = summarise(passes, fitted, trials, num_nearest=num_nearest)
    clusterings = [
        Clustering(
            table=table,
            divergence=plan.divergence,
            trial=trial,
            clusters=clusters,
            passes=passes,
            numbers=np.arange(trial.k, dtype=np.int32),
        )
        for trial, clusters in zip(trials, summaries, strict=True)
    ]
    return fitted, clusterings


def assign_all(
    passes: TablePasses, table: PosteriorTable, given: GivenClusters, *, num_nearest: int
) -> tuple[Fitted, Clustering]:
    """Return the clustering that clusters which are there already give: their centroids stay.

    Args:
        passes: Runs passes over the table.
        table: Whose items to assign.
        given: The clusters.
        num_nearest: How many items to name of each cluster.

    Raises:
        InputError: The items have another number of dimensions than the centroids, or numbers that
            cannot be clustered.
    """
    if given.centroids.mu.shape[1] != table.latent_dim:
        raise InputError(
            f"the items have {table.latent_dim} dimensions, and the centroids "
            f"{given.centroids.mu.shape[1]}; expected the encodings of one model."
        )
    fitted = fit_given(passes, given.centroids, given.divergence)
    [trial] = fitted.trials
    assert trial.ranks is not None
    radii = given.radii[trial.ranks]
    [clusters] = summarise(passes, fitted, [trial], num_nearest=num_nearest, radii=radii)
    clustering = Clustering(
        table=table,
        divergence=given.divergence,
        trial=trial,
        clusters=clusters,
        passes=passes,
        numbers=given.numbers[trial.ranks],
        radii=radii,
    )
    return fitted, clustering
