"""Summaries of clusters: size, silhouette, medoid, the items nearest to the centroid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.assignment import nearest_centroids
from vaeudf.clustering.divergences import Divergence, Prepared
from vaeudf.clustering.lloyd import Fitted, Trial
from vaeudf.clustering.ranked_items import RankedItems
from vaeudf.clustering.tallies import Anchors
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.numerics.exact_sums import totals
from vaeudf.table.passes import Batch, Passes

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class ClusterSummary:
    """A cluster.

    Attributes:
        size: Items.
        mean_divergence: Of its items from the centroid; NaN if it is empty.
        silhouette: Mean of (b - a) / b over its items, with a the divergence (or distance) from the
            own centroid and b from the next one; NaN if it is empty, or there is no next one.
        medoid: The item from which its items diverge least in total; None if it is empty.
        nearest: The items nearest to the centroid and their divergences, nearest first.
        farthest: Those farthest from it, farthest first.
        num_outside: How many of its items are beyond the cluster's radius; None if none was given.
    """

    size: int
    mean_divergence: float
    silhouette: float
    medoid: str | None
    nearest: tuple[tuple[str, float], ...]
    farthest: tuple[tuple[str, float], ...] = ()
    num_outside: int | None = None

    @property
    def radius(self) -> float:
        """The divergence of its farthest item from the centroid; NaN if it is empty."""
        return self.farthest[0][1] if self.farthest else float("nan")


@dataclass(frozen=True)
class _Clusters:
    """What tasks need to know of a trial's clusters.

    Attributes:
        centroids: k of them.
        ranks: As in :class:`vaeudf.clustering.lloyd.Trial`.
        medoid_targets: Of each cluster, k Gaussians each.
        radii: Beyond them, items are counted as outside, (k,); infinite where no cluster has one.
    """

    centroids: Gaussians
    ranks: NDArray[np.int64] | None
    medoid_targets: tuple[Gaussians, ...]
    radii: _Array


@dataclass(frozen=True)
class _Partial:
    """What some of the items add to the summaries.

    Attributes:
        divergences: Exact sums over each cluster's items, (k, L).
        silhouettes: Exact sums over each cluster's items, (k, L).
        medoids: The item with the least medoid cost of each cluster.
        nearest: The items nearest to each centroid.
        farthest: Those farthest from it; the values are minus the divergences.
        outside: How many items are beyond their cluster's radius, (k,).
    """

    divergences: _Array
    silhouettes: _Array
    medoids: RankedItems
    nearest: RankedItems
    farthest: RankedItems
    outside: NDArray[np.int64]

    @classmethod
    def empty(cls, k: int, anchors: Anchors, num_nearest: int) -> _Partial:
        return cls(
            divergences=np.zeros((k, *anchors.divergence.shape)),
            silhouettes=np.zeros((k, *anchors.silhouette.shape)),
            medoids=RankedItems.empty(1),
            nearest=RankedItems.empty(num_nearest),
            farthest=RankedItems.empty(num_nearest),
            outside=np.zeros(k, np.int64),
        )

    def merge(self, other: _Partial) -> _Partial:
        return _Partial(
            divergences=self.divergences + other.divergences,
            silhouettes=self.silhouettes + other.silhouettes,
            medoids=self.medoids.merge(other.medoids),
            nearest=self.nearest.merge(other.nearest),
            farthest=self.farthest.merge(other.farthest),
            outside=self.outside + other.outside,
        )


def summarise(
    passes: Passes,
    fitted: Fitted,
    trials: Sequence[Trial],
    *,
    num_nearest: int,
    radii: _Array | None = None,
) -> list[list[ClusterSummary]]:
    """Return summaries of all clusters of some trials, from one pass.

    Args:
        passes: Runs passes over the items.
        fitted: The fit that the trials belong to.
        trials: Whose clusters.
        num_nearest: How many items to name of each cluster: the nearest, and the farthest.
        radii: Of the clusters of every trial, (k,), NaN where one has none: how many items are
            beyond them is counted.
    """
    divergence, least = fitted.plan.divergence, fitted.survey.ranges.low_log_var
    tallies = [trial.tally for trial in trials if trial.tally is not None]
    clusters = [
        _Clusters(
            centroids=trial.centroids,
            ranks=trial.ranks,
            medoid_targets=divergence.medoid_targets(tally.means(), trial.centroids, least),
            radii=np.full(trial.k, np.inf) if radii is None else np.nan_to_num(radii, nan=np.inf),
        )
        for trial, tally in zip(trials, tallies, strict=True)
    ]
    work = partial(
        _summarise_batches,
        clusters=clusters,
        divergence=divergence,
        anchors=fitted.anchors,
        num_nearest=num_nearest,
    )
    partials = passes(work, _merge_each)
    return [
        _summaries(one, tally.counts, counts_outside=radii is not None)
        for one, tally in zip(partials, tallies, strict=True)
    ]


def _summaries(
    whole: _Partial, counts: NDArray[np.int64], *, counts_outside: bool
) -> list[ClusterSummary]:
    with np.errstate(invalid="ignore"):
        means = totals(whole.divergences) / counts
        silhouettes = totals(whole.silhouettes) / counts
    summaries = []
    for cluster, size in enumerate(counts.tolist()):
        medoid = whole.medoids.of_cluster(cluster)
        summaries.append(
            ClusterSummary(
                size=size,
                mean_divergence=float(means[cluster]),
                silhouette=float(silhouettes[cluster]) if len(counts) > 1 else float("nan"),
                medoid=medoid[0][0] if medoid else None,
                nearest=tuple(whole.nearest.of_cluster(cluster)),
                farthest=tuple(
                    (item_id, -value) for item_id, value in whole.farthest.of_cluster(cluster)
                ),
                num_outside=int(whole.outside[cluster]) if counts_outside else None,
            )
        )
    return summaries


def _summarise_batches(
    batches: Iterator[Batch],
    clusters: list[_Clusters],
    divergence: Divergence,
    anchors: Anchors,
    num_nearest: int,
) -> list[_Partial]:
    partials = [_Partial.empty(len(one.centroids), anchors, num_nearest) for one in clusters]
    for batch in batches:
        prepared = divergence.prepare(batch.items)
        added = [
            _summarise_batch(batch, prepared, one, divergence, anchors, num_nearest)
            for one in clusters
        ]
        partials = _merge_each(partials, added)
    return partials


def _summarise_batch(
    batch: Batch,
    prepared: Prepared,
    clusters: _Clusters,
    divergence: Divergence,
    anchors: Anchors,
    num_nearest: int,
) -> _Partial:
    k = len(clusters.centroids)
    nearest = nearest_centroids(prepared, clusters.centroids, divergence, clusters.ranks)
    found = nearest.clusters
    sums = _Partial.empty(k, anchors, num_nearest)
    kernels.add_values(
        values=nearest.divergences,
        groups=found,
        anchors=anchors.divergence,
        sums=sums.divergences,
    )
    a = divergence.reported(nearest.divergences)
    if k > 1:
        b = divergence.reported(nearest.next_divergences)
        # An item that is equal to two centroids has b = 0, and is as near to both.
        silhouettes = np.divide(b - a, b, out=np.zeros_like(b), where=b > 0)
        kernels.add_values(
            values=silhouettes, groups=found, anchors=anchors.silhouette, sums=sums.silhouettes
        )
    targets = tuple(target.take(found) for target in clusters.medoid_targets)
    costs = divergence.medoid_cost(batch.items, targets)
    return _Partial(
        divergences=sums.divergences,
        silhouettes=sums.silhouettes,
        medoids=RankedItems.of_batch(1, found, costs, batch),
        nearest=RankedItems.of_batch(num_nearest, found, a, batch),
        farthest=RankedItems.of_batch(num_nearest, found, -a, batch),
        outside=np.bincount(found[a > clusters.radii[found]], minlength=k),
    )


def _merge_each(one: list[_Partial], other: list[_Partial]) -> list[_Partial]:
    return [mine.merge(theirs) for mine, theirs in zip(one, other, strict=True)]
