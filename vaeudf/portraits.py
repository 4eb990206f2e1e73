"""What is told of each cluster: its size, its medoid, the items nearest to its centroid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from vaeudf import cluster_kernels as kernels
from vaeudf.clustering import Batch, Fitted, Passes, Trial
from vaeudf.divergences import (
    EUCLIDEAN,
    WASSERSTEIN2,
    Divergence,
    Gaussians,
    divergence_of_pairs,
    medoid_targets,
    nearest_centroids,
    prepare,
)
from vaeudf.exact_sums import LEVELS, totals

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Portrait:
    """A cluster.

    Attributes:
        size: Items.
        mean_divergence: Of its items from the centroid; NaN if it is empty.
        silhouette: Mean of (b - a) / b over its items, with a the divergence (or distance) from the
            own centroid and b from the next one; NaN if it is empty, or there is no next one.
        medoid: The item from which its items diverge least in total; None if it is empty.
        nearest: The items nearest to the centroid and their divergences, nearest first.
    """

    size: int
    mean_divergence: float
    silhouette: float
    medoid: str | None
    nearest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Ranked:
    """The best items of each cluster by some value, ascending, then by item_id.

    Attributes:
        clusters: Shape (m,).
        values: Shape (m,).
        names: m item_ids.
    """

    clusters: NDArray[np.int32]
    values: _Array
    names: pa.Array

    @classmethod
    def best(
        cls, clusters: NDArray[np.int32], values: _Array, names: pa.Array, size: int
    ) -> Ranked:
        """Return up to so many of each cluster."""
        by_name = pa.compute.sort_indices(names).to_numpy()
        ranks = np.empty(len(by_name), np.int64)
        ranks[by_name] = np.arange(len(by_name))
        order = np.lexsort((ranks, values, clusters))
        kept = order[_places(clusters[order]) < size]
        return cls(clusters[kept], values[kept], names.take(pa.array(kept)))

    def join(self, other: Ranked, size: int) -> Ranked:
        """Return the best of both."""
        return Ranked.best(
            np.concatenate([self.clusters, other.clusters]),
            np.concatenate([self.values, other.values]),
            pa.concat_arrays([self.names, other.names]),
            size,
        )

    def of(self, cluster: int) -> list[tuple[str, float]]:
        """Return one cluster's items and values, best first."""
        rows = np.flatnonzero(self.clusters == cluster)
        names = self.names.take(pa.array(rows)).to_pylist()
        return list(zip(names, self.values[rows].tolist(), strict=True))


@dataclass(frozen=True)
class _Sketch:
    divergences: _Array
    silhouettes: _Array
    medoids: Ranked
    nearest: Ranked

    def join(self, other: _Sketch, size: int) -> _Sketch:
        return _Sketch(
            self.divergences + other.divergences,
            self.silhouettes + other.silhouettes,
            self.medoids.join(other.medoids, 1),
            self.nearest.join(other.nearest, size),
        )


def portray(passes: Passes, fitted: Fitted, trial: Trial, num_nearest: int) -> list[Portrait]:
    """Return what one pass tells of each cluster of a trial.

    Args:
        passes: Runs passes over the items.
        fitted: What the trial is one of.
        trial: Whose clusters.
        num_nearest: How many items to name of each cluster.
    """
    assert trial.tally is not None
    divergence, counts = fitted.plan.divergence, trial.tally.counts
    least = fitted.survey.ranges.low_log_var
    targets = medoid_targets(divergence, trial.tally.means(), trial.centroids, least)
    work = partial(
        _sketch_batches, fitted=fitted, trial=trial, targets=targets, num_nearest=num_nearest
    )
    sketch = passes(work, partial(_join, size=num_nearest))
    with np.errstate(invalid="ignore"):
        means = totals(sketch.divergences) / counts
        silhouettes = totals(sketch.silhouettes) / counts
    portraits = []
    for cluster, size in enumerate(counts.tolist()):
        medoid = sketch.medoids.of(cluster)
        portraits.append(
            Portrait(
                size,
                float(means[cluster]),
                float(silhouettes[cluster]) if trial.k > 1 else float("nan"),
                medoid[0][0] if medoid else None,
                tuple(sketch.nearest.of(cluster)),
            )
        )
    return portraits


def assign(
    items: Gaussians, centroids: Gaussians, divergence: Divergence
) -> tuple[NDArray[np.int32], _Array]:
    """Return each item's cluster and its divergence from the centroid; of distances no squares."""
    read = prepare(items, divergence)
    found, best, _ = nearest_centroids(read, centroids, divergence)
    return found, np.sqrt(best) if is_squared(divergence) else best


def is_squared(divergence: Divergence) -> bool:
    """Whether clustering measures the square of what people call by this name."""
    return divergence in (WASSERSTEIN2, EUCLIDEAN)


def _join(one: _Sketch, other: _Sketch, size: int) -> _Sketch:
    return one.join(other, size)


def _sketch_batches(
    batches: Iterator[Batch],
    fitted: Fitted,
    trial: Trial,
    targets: list[tuple[Divergence, Gaussians]],
    num_nearest: int,
) -> _Sketch:
    divergence, k = fitted.plan.divergence, trial.k
    none = Ranked(np.empty(0, np.int32), np.empty(0), pa.array([], pa.string()))
    sketch = _Sketch(np.zeros((k, LEVELS)), np.zeros((k, LEVELS)), none, none)
    for batch in batches:
        items = batch.items
        read = prepare(items, divergence)
        found, best, second = nearest_centroids(read, trial.centroids, divergence)
        kernels.add_values(best, found, fitted.scales.divergence, sketch.divergences)
        a, b = (np.sqrt(best), np.sqrt(second)) if is_squared(divergence) else (best, second)
        if k > 1:
            # Of an item that is on two centroids at once neither is the nearer one.
            widths = np.divide(b - a, b, out=np.zeros_like(b), where=b > 0)
            kernels.add_values(widths, found, fitted.scales.silhouette, sketch.silhouettes)
        totals_to_medoid = sum(
            divergence_of_pairs(items, centres.take(found), kind) for kind, centres in targets
        )
        sketch = sketch.join(
            _Sketch(
                np.zeros((k, LEVELS)),
                np.zeros((k, LEVELS)),
                _ranked(batch, found, np.asarray(totals_to_medoid), 1),
                _ranked(batch, found, a, num_nearest),
            ),
            num_nearest,
        )
    return sketch


def _ranked(batch: Batch, clusters: NDArray[np.int32], values: _Array, size: int) -> Ranked:
    order = np.lexsort((values, clusters))
    places = _places(clusters[order])
    # With the first ones all that are as good as the last of them: their ids decide.
    firsts = np.flatnonzero(places == 0)
    lengths = np.diff(firsts, append=len(order))
    last = values[order][firsts + np.minimum(size, lengths) - 1]
    rows = order[values[order] <= np.repeat(last, lengths)]
    return Ranked.best(clusters[rows], values[rows], batch.names(rows), size)


def _places(clusters: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return each row's place among those of its cluster; rows are in the order of clusters."""
    firsts = np.flatnonzero(np.diff(clusters, prepend=-1))
    lengths = np.diff(firsts, append=len(clusters))
    return np.asarray(np.arange(len(clusters)) - np.repeat(firsts, lengths))
