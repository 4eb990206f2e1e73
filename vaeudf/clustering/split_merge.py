"""Ways out of a local minimum of k-means: clusters are split in two, and others merged.

What a split gains is known once the cluster's own items have been clustered into two. What a merger
costs follows from means over the clusters alone: for a Bregman divergence the items' total from
another Gaussian c exceeds that from their centroid by N D(centroid, c) (Banerjee et al., 2005,
equation 2.3), which is how medoids are found, too. Both leave all other clusters as they are, so
that a split and a merger together lower the cost by what they say, before k-means goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.weighted_items import Partition, WeightedItems
from vaeudf.gaussian.arrays import Gaussians

_Array = NDArray[np.float64]

# How often each cluster is split anew, and for how many steps of k-means.
_TRIES = 2
_STEPS = 3
# Mergers are looked for among this many of the clusters that are most like a cluster.
_NEIGHBOURS = 8
# What a move has to gain, as a part of the cost.
_LEAST_GAIN = 1e-7


@dataclass(frozen=True)
class Splits:
    """Every cluster in two.

    Attributes:
        first: The centroids of each cluster's one part, k of them.
        second: Those of its other part.
        gains: By how much each split alone would lower the cost, (k,).
    """

    first: Gaussians
    second: Gaussians
    gains: _Array

    @property
    def order(self) -> NDArray[np.int64]:
        """The clusters that gain by being split, the best first."""
        order = np.argsort(-self.gains, kind="stable")
        return np.asarray(order[self.gains[order] > 0.0])


@dataclass(frozen=True)
class Mergers:
    """Pairs of clusters, the cheapest first.

    Attributes:
        pairs: Two clusters each, (P, 2).
        costs: By how much each merger alone would raise the cost, (P,).
        merged: The centroids of both together, P of them.
    """

    pairs: NDArray[np.int64]
    costs: _Array
    merged: Gaussians


def standardised(gaussians: Gaussians) -> _Array:
    """Return mu and log_var, (N, 2n), each with mean 0 and spread 1."""
    rows = np.hstack([gaussians.mu, gaussians.log_var])
    spread = rows.std(axis=0)
    return np.asarray((rows - rows.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0))


def split_all(
    items: WeightedItems, points: _Array, partition: Partition, rng: np.random.Generator
) -> Splits:
    """Split every cluster, by k-means of its own items from two sides of a random plane.

    Args:
        items: M of them.
        points: The items, :func:`standardised`.
        partition: The items by cluster.
        rng: Chooses two items of each cluster; the plane is halfway between them.
    """
    centroids, clusters = partition.centroids, partition.nearest.clusters
    k = len(centroids)
    # Each cluster's items in one run.
    order = np.argsort(clusters, kind="stable")
    own, points = clusters[order], points[order]
    inside = items.take(order)
    counts = np.bincount(clusters, minlength=k)
    ends = np.cumsum(counts)
    before = np.bincount(own, inside.weights * partition.nearest.divergences[order], minlength=k)
    gains = np.zeros(k)
    parents = Gaussians(np.repeat(centroids.mu, 2, axis=0), np.repeat(centroids.log_var, 2, axis=0))
    best = parents
    for _ in range(_TRIES):
        one, other = _pairs(counts, ends, rng)
        direction, middle = points[other] - points[one], 0.5 * (points[other] + points[one])
        part = (((points - middle[own]) * direction[own]).sum(axis=1) > 0.0).astype(np.int32)
        children = parents
        for _ in range(_STEPS):
            children = inside.next_centroids(2 * own + part, children)
            part, divergences = _nearer_child(inside, children, ends)
        found = before - np.bincount(own, inside.weights * divergences, minlength=k)
        better = np.repeat(found > gains, 2)[:, None]
        gains = np.maximum(found, gains)
        best = Gaussians(
            np.where(better, children.mu, best.mu), np.where(better, children.log_var, best.log_var)
        )
    even = np.arange(0, 2 * k, 2)
    return Splits(best.take(even), best.take(even + 1), gains)


def _pairs(
    counts: NDArray[np.int64], ends: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of two random items of each run, (k,) each; different ones if there are two."""
    first, gap = rng.random((2, len(counts)))
    one = np.floor(first * counts).astype(np.int64)
    step = 1 + np.floor(gap * np.maximum(counts - 1, 1)).astype(np.int64)
    other = (one + step) % np.maximum(counts, 1)
    # An empty run gets any rows: no item of it is split by them.
    last = ends[-1] - 1
    starts = ends - counts
    return np.minimum(starts + one, last), np.minimum(starts + other, last)


def _nearer_child(
    items: WeightedItems, children: Gaussians, ends: NDArray[np.int64]
) -> tuple[NDArray[np.int32], _Array]:
    """Return which of its cluster's two children is nearer to each item, and its divergence."""
    divergence, count = items.divergence, len(items)
    part, divergences, others = np.empty(count, np.int32), np.empty(count), np.empty(count)
    dispersion = divergence.dispersion(children.log_var)
    kernels.nearest_in_runs(
        code=divergence.code,
        factor=divergence.factor,
        log_var_weight=divergence.log_var_weight,
        inverts_items=divergence.inverts_items,
        mu=items.prepared.mu,
        dispersion=items.prepared.dispersion,
        log_var=items.prepared.log_var,
        centroids=np.stack([children.mu, dispersion, 1.0 / dispersion]),
        offsets=divergence.offsets(children),
        ends=ends,
        found=part,
        best=divergences,
        second=others,
    )
    return part, divergences


def mergers(items: WeightedItems, partition: Partition) -> Mergers:
    """Return what it costs to merge clusters that are alike."""
    centroids, divergence, least = partition.centroids, items.divergence, items.least_log_var
    k = len(centroids)
    pivots = np.repeat(items.items.mu.mean(axis=0)[None], k, axis=0)
    means, mass = items.means(partition.nearest.clusters, pivots)
    # An empty cluster costs nothing, and leaves the other one as it is.
    means = np.where(mass[:, None, None] > 0.0, means, 0.0)
    one, other = _alike(centroids)
    both = mass[one] + mass[other]
    share = np.divide(mass[one], both, out=np.full(len(both), 0.5), where=both > 0.0)
    share = share[:, None, None]
    merged = divergence.centroids(
        share * means[one] + (1.0 - share) * means[other],
        Gaussians(pivots[one], centroids.log_var[one]),
        least,
    )
    targets = divergence.medoid_targets(means, Gaussians(pivots, centroids.log_var), least)
    now = divergence.medoid_cost(centroids, targets)
    costs = np.zeros(len(one))
    for side in (one, other):
        own = tuple(target.take(side) for target in targets)
        with np.errstate(invalid="ignore"):
            added = mass[side] * (divergence.medoid_cost(merged, own) - now[side])
        costs += np.where(mass[side] > 0.0, added, 0.0)
    order = np.argsort(costs, kind="stable")
    return Mergers(np.stack([one, other], axis=1)[order], costs[order], merged.take(order))


def _alike(centroids: Gaussians) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of centroids that are alike, the lower number first."""
    k = len(centroids)
    if k <= 2 * _NEIGHBOURS:
        one, other = np.triu_indices(k, 1)
        return one, other
    points = standardised(centroids)
    near = np.empty((k, _NEIGHBOURS), np.int64)
    for c in range(k):
        gaps = np.square(points - points[c]).sum(axis=1)
        gaps[c] = np.inf
        near[c] = np.argsort(gaps, kind="stable")[:_NEIGHBOURS]
    ends = np.stack([np.repeat(np.arange(k), _NEIGHBOURS), near.ravel()], axis=1)
    pairs = np.unique(np.sort(ends, axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def better_split(partition: Partition, splits: Splits, found: Mergers) -> Gaussians | None:
    """Return centroids after all splits that gain more than a merger elsewhere costs; or None."""
    mu, log_var = partition.centroids.mu.copy(), partition.centroids.log_var.copy()
    touched = np.zeros(len(mu), np.bool_)
    for split in splits.order:
        if touched[split]:
            continue
        free = ~touched[found.pairs].any(axis=1) & (found.pairs != split).all(axis=1)
        if not free.any():
            break
        at = int(free.argmax())
        # A cost that is no number is none to pay.
        if not splits.gains[split] - found.costs[at] > _LEAST_GAIN * partition.cost:
            break
        kept, given = found.pairs[at]
        for place, centroids, row in (
            (kept, found.merged, at),
            (split, splits.first, split),
            (given, splits.second, split),
        ):
            mu[place], log_var[place] = centroids.mu[row], centroids.log_var[row]
            touched[place] = True
    return Gaussians(mu, log_var) if touched.any() else None


def grown(partition: Partition, splits: Splits, count: int) -> Gaussians:
    """Return the centroids with the best splits made: up to a count more of them."""
    which = splits.order[:count]
    mu, log_var = partition.centroids.mu.copy(), partition.centroids.log_var.copy()
    mu[which], log_var[which] = splits.first.mu[which], splits.first.log_var[which]
    return Gaussians.concatenate([Gaussians(mu, log_var), splits.second.take(which)])


def shrunk(items: WeightedItems, partition: Partition, k: int) -> Gaussians:
    """Return k of more centroids, by the cheapest mergers."""
    centroids = partition.centroids
    while True:
        found = mergers(items, partition)
        mu, log_var = centroids.mu.copy(), centroids.log_var.copy()
        touched, gone = np.zeros((2, len(mu)), np.bool_)
        for at, pair in enumerate(found.pairs):
            if len(mu) - gone.sum() == k:
                break
            if touched[pair].any():
                continue
            touched[pair] = True
            mu[pair[0]], log_var[pair[0]] = found.merged.mu[at], found.merged.log_var[at]
            gone[pair[1]] = True
        centroids = Gaussians(mu[~gone], log_var[~gone])
        if len(centroids) == k:
            return centroids
        partition = items.partition(centroids)
