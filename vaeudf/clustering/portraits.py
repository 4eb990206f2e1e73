"""What is told of each cluster: its size, its medoid, the items nearest to its centroid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.assignment import nearest_centroids
from vaeudf.clustering.divergences import Divergence, Prepared
from vaeudf.clustering.lloyd import Fitted, Scales, Trial
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.numerics.exact_sums import totals
from vaeudf.table.passes import Batch, Passes

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


@dataclass(frozen=True)
class _Sitter:
    """What tasks need to know of the clusters that a portrait is made of."""

    centroids: Gaussians
    ranks: NDArray[np.int64] | None
    targets: tuple[Gaussians, ...]


def portray(
    passes: Passes, fitted: Fitted, trials: Sequence[Trial], num_nearest: int
) -> list[list[Portrait]]:
    """Return what one pass tells of each cluster of some trials.

    Args:
        passes: Runs passes over the items.
        fitted: What the trials are of.
        trials: Whose clusters.
        num_nearest: How many items to name of each cluster.
    """
    divergence, least = fitted.plan.divergence, fitted.survey.ranges.low_log_var
    tallies = [trial.tally for trial in trials if trial.tally is not None]
    sitters = [
        _Sitter(
            trial.centroids,
            trial.ranks,
            divergence.medoid_targets(tally.means(), trial.centroids, least),
        )
        for trial, tally in zip(trials, tallies, strict=True)
    ]
    work = partial(
        _sketch_batches,
        sitters=sitters,
        divergence=divergence,
        scales=fitted.scales,
        num_nearest=num_nearest,
    )
    sketches = passes(work, partial(_join, size=num_nearest))
    return [
        _portraits(sketch, tally.counts) for sketch, tally in zip(sketches, tallies, strict=True)
    ]


def _portraits(sketch: _Sketch, counts: NDArray[np.int64]) -> list[Portrait]:
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
                float(silhouettes[cluster]) if len(counts) > 1 else float("nan"),
                medoid[0][0] if medoid else None,
                tuple(sketch.nearest.of(cluster)),
            )
        )
    return portraits


def _join(one: list[_Sketch], other: list[_Sketch], size: int) -> list[_Sketch]:
    return [mine.join(yours, size) for mine, yours in zip(one, other, strict=True)]


def _sketch_batches(
    batches: Iterator[Batch],
    sitters: list[_Sitter],
    divergence: Divergence,
    scales: Scales,
    num_nearest: int,
) -> list[_Sketch]:
    sketches = [_no_sketch(len(sitter.centroids), scales) for sitter in sitters]
    for batch in batches:
        read = divergence.prepare(batch.items)
        for own, sitter in enumerate(sitters):
            added = _sketch_batch(batch, read, sitter, divergence, scales, num_nearest)
            sketches[own] = sketches[own].join(added, num_nearest)
    return sketches


def _no_sketch(k: int, scales: Scales) -> _Sketch:
    none = Ranked(np.empty(0, np.int32), np.empty(0), pa.array([], pa.string()))
    values, widths = (
        np.zeros((k, *scales.divergence.shape)),
        np.zeros((k, *scales.silhouette.shape)),
    )
    return _Sketch(values, widths, none, none)


def _sketch_batch(
    batch: Batch,
    read: Prepared,
    sitter: _Sitter,
    divergence: Divergence,
    scales: Scales,
    num_nearest: int,
) -> _Sketch:
    k = len(sitter.centroids)
    found, best, second = nearest_centroids(read, sitter.centroids, divergence, sitter.ranks)
    sketch = _no_sketch(k, scales)
    kernels.add_values(best, found, scales.divergence, sketch.divergences)
    a, b = divergence.reported(best), divergence.reported(second)
    if k > 1:
        # Of an item that is on two centroids at once neither is the nearer one.
        widths = np.divide(b - a, b, out=np.zeros_like(b), where=b > 0)
        kernels.add_values(widths, found, scales.silhouette, sketch.silhouettes)
    targets = tuple(target.take(found) for target in sitter.targets)
    return replace(
        sketch,
        medoids=_ranked(batch, found, divergence.medoid_cost(batch.items, targets), 1),
        nearest=_ranked(batch, found, a, num_nearest),
    )


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
