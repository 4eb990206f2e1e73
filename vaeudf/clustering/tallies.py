"""Tallies: what a pass adds up for a set of centroids, to make the next centroids from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.assignment import nearest_centroids
from vaeudf.clustering.divergences import Divergence, Prepared
from vaeudf.clustering.features import RELATIVE_TOLERANCE
from vaeudf.clustering.sampling import BottomK
from vaeudf.clustering.survey import Survey
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.numerics.exact_sums import anchors, totals
from vaeudf.table.passes import Batch, Passes

_Array = NDArray[np.float64]

# How many of the farthest items a pass keeps, to reseed empty clusters with.
_NUM_FARTHEST = 16
# How many bytes the sums of the sets of centroids that share a pass may take, in a task and on the
# driver for each result that it merges.
_TALLIES_BYTES = 2**25


@dataclass(frozen=True)
class Anchors:
    """The anchors of the exact sums of each kind of number (:mod:`vaeudf.numerics.exact_sums`).

    Attributes:
        features: (L, F, n).
        divergence: (L,), with an L of its own.
        silhouette: (L,), with an L of its own.
    """

    features: _Array
    divergence: _Array
    silhouette: _Array

    @classmethod
    def of(cls, divergence: Divergence, survey: Survey) -> Anchors:
        """Return those for all items that were surveyed."""
        ranges, count = survey.ranges, survey.num_items
        return cls(
            features=anchors(
                divergence.feature_bounds(ranges), divergence.feature_tolerances(ranges), count
            ),
            divergence=anchors(divergence.bound(ranges), divergence.tolerance(ranges), count),
            silhouette=anchors(1.0, RELATIVE_TOLERANCE, count),
        )


@dataclass(frozen=True)
class Tally:
    """What a pass adds up for one set of centroids.

    Attributes:
        counts: Items per cluster, (k,).
        features: Exact sums of what the next centroids are made from, (k, L, F, n).
        divergence: Exact sum of all items' divergences, (1, L).
        farthest: The items farthest from their centroids; keys are minus the divergence.
    """

    counts: NDArray[np.int64]
    features: _Array
    divergence: _Array
    farthest: BottomK

    @classmethod
    def empty(cls, centroids: Gaussians, anchors: Anchors) -> Tally:
        """Return the tally of no items."""
        k, n = centroids.mu.shape
        return cls(
            counts=np.zeros(k, np.int64),
            features=np.zeros((k, *anchors.features.shape)),
            divergence=np.zeros((1, *anchors.divergence.shape)),
            farthest=BottomK.empty(_NUM_FARTHEST, n),
        )

    def merge(self, other: Tally) -> Tally:
        """Return the tally of both sets of items together."""
        return Tally(
            counts=self.counts + other.counts,
            features=self.features + other.features,
            divergence=self.divergence + other.divergence,
            farthest=self.farthest.merge(other.farthest),
        )

    def objective(self) -> float:
        """Return the mean divergence of the items from their centroids."""
        return float(totals(self.divergence)[0] / self.counts.sum())

    def means(self) -> _Array:
        """Return the mean features of each cluster, (k, F, n); NaN where it is empty."""
        with np.errstate(invalid="ignore"):
            means: _Array = totals(self.features) / self.counts[:, None, None]
        return means


def tally_all(
    passes: Passes, sets: Sequence[Gaussians], divergence: Divergence, anchors: Anchors
) -> list[Tally]:
    """Return the tally of each of several sets of centroids.

    One pass tallies as many of them as a task's memory has room for.

    Args:
        passes: Runs passes over the items.
        sets: The sets of centroids.
        divergence: What to measure by.
        anchors: Of the exact sums.
    """
    tallies: list[Tally] = []
    for group in _groups(sets, anchors):
        work = partial(_tally_batches, sets=group, divergence=divergence, anchors=anchors)
        found: list[Tally] = passes(work, _merge_each)
        tallies += found
    return tallies


def _groups(sets: Sequence[Gaussians], anchors: Anchors) -> list[list[Gaussians]]:
    """Return sets of centroids in groups whose tallies fit a task's memory together."""
    groups: list[list[Gaussians]] = []
    room = 0
    for centroids in sets:
        size = len(centroids) * anchors.features.nbytes
        if not groups or size > room:
            groups.append([])
            room = _TALLIES_BYTES
        groups[-1].append(centroids)
        room -= size
    return groups


def _tally_batches(
    batches: Iterator[Batch], sets: list[Gaussians], divergence: Divergence, anchors: Anchors
) -> list[Tally]:
    tallies = [Tally.empty(centroids, anchors) for centroids in sets]
    for batch in batches:
        prepared = divergence.prepare(batch.items)
        tallies = [
            _add_batch(tally, batch.items, prepared, centroids, divergence, anchors)
            for tally, centroids in zip(tallies, sets, strict=True)
        ]
    return tallies


def _add_batch(
    tally: Tally,
    items: Gaussians,
    prepared: Prepared,
    centroids: Gaussians,
    divergence: Divergence,
    anchors: Anchors,
) -> Tally:
    """Return the tally with a batch; its arrays of sums are added to in place."""
    nearest = nearest_centroids(prepared, centroids, divergence)
    add_features(
        prepared,
        nearest.clusters,
        pivots=centroids.mu,
        divergence=divergence,
        anchors=anchors.features,
        sums=tally.features,
    )
    kernels.add_values(
        values=nearest.divergences,
        groups=np.zeros(len(items), np.int32),
        anchors=anchors.divergence,
        sums=tally.divergence,
    )
    return Tally(
        counts=tally.counts + np.bincount(nearest.clusters, minlength=len(centroids)),
        features=tally.features,
        divergence=tally.divergence,
        farthest=tally.farthest.add(
            -nearest.divergences,
            divergence.as_measured(items),
            # An item that is equal to its centroid is no seed for another cluster.
            eligible=nearest.divergences > 0.0,
        ),
    )


def add_features(
    items: Prepared,
    clusters: NDArray[np.int32],
    *,
    pivots: _Array,
    divergence: Divergence,
    anchors: _Array,
    sums: _Array,
) -> None:
    """Add the features of items to exact sums, each to its own cluster's.

    Args:
        items: N of them.
        clusters: Each item's cluster, (N,).
        pivots: What each cluster's means are counted from, (k, n).
        divergence: Whose features.
        anchors: Of the exact sums, (L, F, n).
        sums: To add to, in place, (k, L, F, n).
    """
    kernels.add_features(
        codes=np.array([feature.code for feature in divergence.features]),
        mu=items.mu,
        dispersion=items.dispersion,
        groups=clusters,
        pivots=pivots,
        anchors=anchors,
        sums=sums,
    )


def next_centroids(
    means: _Array,
    centroids: Gaussians,
    divergence: Divergence,
    *,
    least_log_var: _Array,
    filled: NDArray[np.bool_],
) -> Gaussians:
    """Return the centroids of clusters that have items, and the others as they are.

    Args:
        means: Of the features over each cluster's items, (k, F, n).
        centroids: Which the items were assigned to, k of them.
        divergence: Whose centroids.
        least_log_var: The items' least log sigma², (n,).
        filled: Which clusters have items, (k,).
    """
    found = divergence.centroids(means, centroids, least_log_var)
    rows = filled[:, None]
    return Gaussians(
        np.where(rows, found.mu, centroids.mu), np.where(rows, found.log_var, centroids.log_var)
    )


def _merge_each(one: list[Tally], other: list[Tally]) -> list[Tally]:
    return [mine.merge(theirs) for mine, theirs in zip(one, other, strict=True)]
