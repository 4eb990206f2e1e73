"""Seeds: the centroids that k-means starts from.

They are found as by k-means|| (Bahmani et al., 2012): a few rounds, each of which draws some items
with chances in proportion to their divergence from those drawn before; then k of them, weighted by
how many items are nearest to each, by k-means++ (Arthur and Vassilvitskii, 2007), with the
divergence in place of the squared distance. A round draws a fixed number of items without
replacement (Efraimidis and Spirakis, 2006). That takes one pass; deciding for each item on its own
takes two, because the sum of all divergences must be known. Equal items are drawn as one, and each
of them counts in its weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering.assignment import nearest_centroids
from vaeudf.clustering.divergences import Divergence
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.ranges import Ranges
from vaeudf.clustering.sampling import BottomK, distinct, uniform_hashes
from vaeudf.clustering.survey import Survey
from vaeudf.clustering.tallies import add_features, next_centroids
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.numerics.exact_sums import anchors, totals
from vaeudf.table.passes import Batch, Passes

_Array = NDArray[np.float64]

# Each of these rounds draws this many times k items.
_ROUNDS = 4
_OVERSAMPLING = 2
# The driver takes them while the executors wait.
_STEPS_ON_CANDIDATES = 20


def draw_candidates(passes: Passes, plan: Plan, survey: Survey) -> tuple[Gaussians, _Array]:
    """Draw items that seeds can be chosen from, as k-means|| does.

    Args:
        passes: Runs passes over the items.
        plan: What to fit.
        survey: What the first pass found.

    Returns:
        Up to 1 + 8 k items for the largest k, all different, and how many items are nearest to each
        of them.
    """
    candidates = plan.divergence.as_measured(survey.first)
    if max(plan.num_clusters) > 1:
        for number in range(_ROUNDS):
            drawn = draw_round(
                passes,
                candidates,
                plan.divergence,
                size=_OVERSAMPLING * max(plan.num_clusters),
                # Every round has other hashes than the rounds before and the survey.
                seed=plan.seed + (number + 1) * 2**40,
            )
            if len(drawn) == 0:
                break
            candidates = distinct(Gaussians.concatenate([candidates, drawn]))
    count = partial(_count_batches, candidates=candidates, divergence=plan.divergence)
    return candidates, passes(count, np.add).astype(np.float64)


def draw_round(
    passes: Passes, candidates: Gaussians, divergence: Divergence, *, size: int, seed: int
) -> Gaussians:
    """Draw items with chances in proportion to their divergence from the nearest candidate.

    Args:
        passes: Runs passes over the items.
        candidates: The items drawn before.
        divergence: What to measure by.
        size: How many items to draw; fewer if fewer differ from all candidates.
        seed: Of the hashes.
    """
    draw = partial(
        _draw_batches, candidates=candidates, divergence=divergence, size=size, seed=seed
    )
    return passes(draw, BottomK.merge).items


def _draw_batches(
    batches: Iterator[Batch], candidates: Gaussians, divergence: Divergence, size: int, seed: int
) -> BottomK:
    drawn = BottomK.empty(size, candidates.mu.shape[1])
    for batch in batches:
        items = divergence.as_measured(batch.items)
        divergences = nearest_centroids(
            divergence.prepare(items), candidates, divergence
        ).divergences
        # The items with the lowest keys are as if drawn one by one with these chances.
        with np.errstate(divide="ignore"):
            keys = -np.log(uniform_hashes(items, seed)) / divergences
        drawn = drawn.add(keys, items, eligible=divergences > 0.0)
    return drawn


def _count_batches(
    batches: Iterator[Batch], candidates: Gaussians, divergence: Divergence
) -> NDArray[np.int64]:
    counts = np.zeros(len(candidates), np.int64)
    for batch in batches:
        nearest = nearest_centroids(divergence.prepare(batch.items), candidates, divergence)
        counts += np.bincount(nearest.clusters, minlength=len(candidates))
    return counts


def choose_seeds(
    candidates: Gaussians,
    weights: _Array,
    k: int,
    divergence: Divergence,
    *,
    seed: tuple[int, ...],
) -> Gaussians:
    """Choose k seeds from weighted candidates: k-means++, then k-means, on the candidates alone.

    Args:
        candidates: At least k Gaussians, all different.
        weights: How much each counts, shape (M,).
        k: How many seeds.
        divergence: What to measure by.
        seed: Of the random numbers.
    """
    seeds = _plus_plus(candidates, weights, k, divergence, np.random.default_rng(seed))
    prepared = divergence.prepare(candidates)
    least_log_var = candidates.log_var.min(axis=0)
    before = np.inf
    for _ in range(_STEPS_ON_CANDIDATES):
        nearest = nearest_centroids(prepared, seeds, divergence)
        # BLAS would add up in an order that depends on the arrays' addresses.
        cost = math.fsum(weights * nearest.divergences)
        if not cost < before:
            break
        before = cost
        means, mass = _weighted_means(candidates, weights, nearest.clusters, seeds, divergence)
        seeds = next_centroids(
            means, seeds, divergence, least_log_var=least_log_var, filled=mass > 0
        )
    return seeds


def _plus_plus(
    candidates: Gaussians,
    weights: _Array,
    k: int,
    divergence: Divergence,
    rng: np.random.Generator,
) -> Gaussians:
    """Return k candidates, drawn one by one as by k-means++."""
    prepared = divergence.prepare(candidates)
    chosen = [int(rng.choice(len(candidates), p=weights / weights.sum()))]
    from_nearest = np.full(len(candidates), np.inf)
    for _ in range(k - 1):
        last = candidates.take(np.array(chosen[-1:]))
        from_last = nearest_centroids(prepared, last, divergence).divergences
        from_nearest = np.minimum(from_nearest, from_last)
        from_nearest[chosen] = 0.0
        costs = weights * from_nearest
        if not costs.any():
            # No candidate is left that has weight: any that was not chosen yet will do.
            costs = np.ones(len(candidates))
            costs[chosen] = 0.0
        chosen.append(int(rng.choice(len(candidates), p=costs / costs.sum())))
    return candidates.take(np.array(chosen))


def _weighted_means(
    items: Gaussians,
    weights: _Array,
    clusters: NDArray[np.int32],
    centroids: Gaussians,
    divergence: Divergence,
) -> tuple[_Array, _Array]:
    """Return the weighted mean features of each cluster, (k, F, n), and its weight, (k,)."""
    k, n = len(centroids), items.mu.shape[1]
    # Each item's features, by the kernel that the passes use: one item per group.
    ranges = Ranges.of(items)
    scale = anchors(divergence.feature_bounds(ranges), divergence.feature_tolerances(ranges), 1)
    sums = np.zeros((len(items), *scale.shape))
    add_features(
        divergence.prepare(items),
        np.arange(len(items), dtype=np.int32),
        pivots=centroids.mu[clusters],
        divergence=divergence,
        anchors=scale,
        sums=sums,
    )
    features = totals(sums) * weights[:, None, None]
    added = np.zeros((k, len(divergence.features), n))
    np.add.at(added, clusters, features)
    mass = np.bincount(clusters, weights, minlength=k).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return added / mass[:, None, None], mass
