"""A search for the centroids of weighted items with the least cost, in memory.

It has three stages: greedy k-means++ (Arthur and Vassilvitskii, 2007), several times, each followed
by k-means, and by splits and mergers while they gain; then, from the best of them, breathing
(Fritzke, 2020, "Breathing k-means"): some clusters more, k-means, as many fewer, k-means, while
that lowers the cost.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering.split_merge import (
    better_split,
    grown,
    mergers,
    shrunk,
    split_all,
    standardised,
)
from vaeudf.clustering.weighted_items import Partition, WeightedItems
from vaeudf.gaussian.arrays import Gaussians

_Array = NDArray[np.float64]

# From how many sets of seeds a search starts at least and at most, and one for so many steps that
# it may take: few items cost nothing. It goes on with the best.
_LEAST_STARTS, _MOST_STARTS, _STEPS_PER_START = 2, 10, 2_500
# How many clusters more it tries at first.
_BREATH = 5
_STEPS_OF_A_BREATH = 5
# k-means within the search stops at steps that gain less than this part, and at its end at none.
_MIN_IMPROVEMENT = 1e-4
_MAX_STEPS = 100
_LAST_STEPS = 300
# What a breath has to gain to be worth another one of its size.
_LEAST_GAIN = 1e-5


def search(items: WeightedItems, k: int, rng: np.random.Generator, *, max_steps: int) -> Partition:
    """Return the best partition of the items that was found.

    Args:
        items: At least k of them, all different.
        k: How many clusters.
        rng: Its random numbers.
        max_steps: About how often all items may be compared with k centroids; at least one set of
            seeds is brought to rest.
    """
    points = standardised(items.divergence.as_measured(items.items))
    best, steps = None, 0
    starts = min(max(max_steps // _STEPS_PER_START, _LEAST_STARTS), _MOST_STARTS) if k > 1 else 1
    for _ in range(starts):
        seeds = greedy_plus_plus(items, k, rng)
        found = items.lloyd(seeds, max_steps=_MAX_STEPS, min_improvement=_MIN_IMPROVEMENT)
        found = _split_while_it_gains(items, points, found, rng, max_steps - steps)
        steps += found.steps
        if best is None or found.cost < best.cost:
            best = found
        if steps > max_steps / 2:
            break
    assert best is not None
    size = min(_BREATH, k - 1)
    while size > 0 and steps < max_steps:
        found = _breathe(items, points, best, size, rng)
        steps += found.steps
        if best.cost - found.cost > _LEAST_GAIN * best.cost:
            best = found
        else:
            size //= 2
    return items.lloyd(best.centroids, max_steps=_LAST_STEPS)


def greedy_plus_plus(items: WeightedItems, k: int, rng: np.random.Generator) -> Gaussians:
    """Return k different items, drawn as by k-means++: the best of several at each step.

    Args:
        items: At least k of them, all different.
        k: How many.
        rng: Its random numbers.
    """
    tries = 2 + int(math.log(k))
    chosen = [int(_draw(items.weights, 1, rng)[0])]
    nearest = items.divergences_from(items.items.take(np.array(chosen)))
    for _ in range(k - 1):
        nearest[chosen] = 0.0
        chances = items.weights * nearest
        if not chances.any():
            # Rounding has put every item on a seed: any that was not chosen yet will do.
            chances = np.ones(len(items))
            chances[chosen] = 0.0
        best_cost, best, best_nearest = math.inf, -1, nearest
        for drawn in np.unique(_draw(chances, tries, rng)).tolist():
            closer = np.minimum(
                nearest, items.divergences_from(items.items.take(np.array([drawn])))
            )
            cost = items.total(closer)
            if best < 0 or cost < best_cost:
                best_cost, best, best_nearest = cost, drawn, closer
        chosen.append(best)
        nearest = best_nearest
    return items.items.take(np.array(chosen))


def _draw(chances: _Array, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return rows drawn with chances in proportion to these, which are not all 0."""
    ends = np.cumsum(chances / chances.max())
    rows = np.searchsorted(ends, rng.random(count) * ends[-1], side="right")
    return np.asarray(np.minimum(rows, np.flatnonzero(chances)[-1]))


def _split_while_it_gains(
    items: WeightedItems,
    points: _Array,
    best: Partition,
    rng: np.random.Generator,
    max_steps: int,
) -> Partition:
    steps = best.steps
    while steps < max_steps:
        splits = split_all(items, points, best, rng)
        steps += 1
        centroids = better_split(best, splits, mergers(items, best))
        if centroids is None:
            break
        found = items.lloyd(centroids, max_steps=_MAX_STEPS, min_improvement=_MIN_IMPROVEMENT)
        steps += found.steps
        if not found.cost < best.cost:
            break
        best = found
    return best._replace(steps=steps)


def _breathe(
    items: WeightedItems, points: _Array, best: Partition, size: int, rng: np.random.Generator
) -> Partition:
    more = grown(best, split_all(items, points, best, rng), size)
    larger = items.lloyd(more, max_steps=_STEPS_OF_A_BREATH)
    fewer = shrunk(items, larger, len(best.centroids))
    found = items.lloyd(fewer, max_steps=_MAX_STEPS, min_improvement=_MIN_IMPROVEMENT)
    return found._replace(steps=1 + larger.steps + found.steps)
