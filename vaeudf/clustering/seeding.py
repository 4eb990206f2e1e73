"""Seeds: the centroids that k-means starts from, found in a weighted sample of the items.

The sample is a coreset: its weighted cost of any centroids estimates that of all items, without
bias. The first pass draws uniformly. If that takes every item, nothing is left to draw, and the
search is one among all items. Otherwise two further passes draw again, with higher chances for
items that are far from the centroids found so far, or in small clusters (Lucic, Bachem and Krause,
2016, "Strong coresets for hard and soft Bregman clustering"): a few items far from all others are
in it, however many these are.

A draw takes the items with the lowest keys u / chance, with u a hash of the item's own numbers
(priority sampling; Duffield, Lund and Thorup, 2007). For a given threshold each item is in it with
a known probability, independently of all others. So one pass suffices, and partitions cannot
matter. Equal items are drawn as one, and each of them counts in its weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering.assignment import Nearest, nearest_centroids
from vaeudf.clustering.divergences import Divergence
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.sampling import BottomK, uniform_hashes
from vaeudf.clustering.search import greedy_plus_plus, search
from vaeudf.clustering.survey import Survey
from vaeudf.clustering.weighted_items import WeightedItems, by_numbers
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.table.passes import Batch, Passes

_Array = NDArray[np.float64]

# How many items the first pass draws: at least so many, and more for more clusters. Each of the
# other draws takes half as many.
_LEAST_SAMPLE, _ITEMS_PER_CLUSTER = 8_192, 40
# What a task holds of a sample, in bytes, if that leaves several items for each cluster.
_SAMPLE_BYTES = 2**25
_LEAST_PER_CLUSTER = 4
_DRAWS = 2
# The centroids that a draw goes by: so many at most, after so many steps of k-means.
_MOST_CENTROIDS, _STEPS = 256, 5
# About how many multiplications a search may take: some seconds of one core.
_WORK = 10**10
# A chance above it could leave float64; it is as good as certain.
_LARGEST_CHANCE = 1e100


def first_sample_size(latent_dim: int, *, k: int) -> int:
    """Return how many items the first pass has to keep for k clusters.

    The last of them is only a threshold: that of the others' chances.
    """
    wanted = max(_LEAST_SAMPLE, _ITEMS_PER_CLUSTER * k)
    return 1 + max(min(wanted, _SAMPLE_BYTES // (16 * latent_dim)), _LEAST_PER_CLUSTER * k)


@dataclass(frozen=True)
class Chances:
    """In proportion to what an item is drawn: how far it is, and how small its cluster.

    Attributes:
        divergence: What is measured by.
        centroids: k of them.
        mean_divergence: Of all items from their nearest centroid, about; above 0.
        of_clusters: What an item of each cluster gets in any case, (k,); 1 in the mean over items.
    """

    divergence: Divergence
    centroids: Gaussians
    mean_divergence: float
    of_clusters: _Array

    @classmethod
    def of(cls, sample: WeightedItems, k: int, rng: np.random.Generator) -> Chances:
        """Return those that a sample so far gives for k clusters."""
        seeds = greedy_plus_plus(sample, k, rng)
        found = sample.lloyd(seeds, max_steps=_STEPS)
        mass = np.bincount(found.nearest.clusters, sample.weights, minlength=k)
        total = mass.sum()
        return cls(
            divergence=sample.divergence,
            centroids=found.centroids,
            mean_divergence=max(found.cost / total, np.finfo(np.float64).tiny),
            of_clusters=total / (k * np.maximum(mass, 1.0)),
        )

    def __call__(self, items: Gaussians) -> _Array:
        """Return the chances of items, (N,); above 0."""
        nearest: Nearest = nearest_centroids(
            self.divergence.prepare(items), self.centroids, self.divergence
        )
        with np.errstate(over="ignore"):
            far = nearest.divergences / self.mean_divergence
        return np.asarray(np.minimum(far + self.of_clusters[nearest.clusters], _LARGEST_CHANCE))


def draw_sample(passes: Passes, plan: Plan, survey: Survey) -> WeightedItems:
    """Draw items that stand for all.

    Args:
        passes: Runs passes over the items.
        plan: What to fit.
        survey: What the first pass found; of its sample the last item is only a threshold.

    Returns:
        Different items in the order of their numbers, and how many items each stands for; all
        different items that there are if these are fewer than the survey draws.
    """
    drawn = survey.lowest
    size = drawn.size - 1
    if len(drawn.keys) <= size:
        order = by_numbers(drawn.items)
        return WeightedItems.of(
            drawn.items.take(order), drawn.counts[order].astype(np.float64), plan.divergence
        )
    items, counts = _without_threshold(drawn)
    missed = np.full(len(items), 1.0 - min(drawn.keys[-1], 1.0))
    sample = _weighted(items, counts, missed, plan.divergence)
    k = min(max(plan.num_clusters), _MOST_CENTROIDS)
    draws: list[tuple[Chances, float]] = []
    for number in range(1, _DRAWS + 1):
        chances = Chances.of(sample, k, np.random.default_rng((plan.seed, number)))
        # Every draw has other hashes than those before and the survey.
        work = partial(
            _draw_batches, chances=chances, size=size // 2 + 1, seed=plan.seed + number * 2**40
        )
        more = passes(work, BottomK.merge)
        draws.append((chances, float(more.keys[-1])))
        more_items, more_counts = _without_threshold(more)
        items = Gaussians.concatenate([items, more_items])
        counts = np.concatenate([counts, more_counts])
        _, firsts = np.unique(np.hstack([items.mu, items.log_var]), axis=0, return_index=True)
        items, counts = items.take(firsts), counts[firsts]
        missed = np.full(len(items), 1.0 - min(drawn.keys[-1], 1.0))
        for each, threshold in draws:
            missed *= 1.0 - np.minimum(each(items) * threshold, 1.0)
        sample = _weighted(items, counts, missed, plan.divergence)
    return sample


def _weighted(
    items: Gaussians, counts: NDArray[np.int64], missed: _Array, divergence: Divergence
) -> WeightedItems:
    """Return items that all draws missed with some probability, weighted by the inverse of hits."""
    return WeightedItems.of(items, counts / (1.0 - missed), divergence)


def _without_threshold(drawn: BottomK) -> tuple[Gaussians, NDArray[np.int64]]:
    kept = np.arange(len(drawn.keys) - 1)
    return drawn.items.take(kept), drawn.counts[kept]


def _draw_batches(batches: Iterator[Batch], chances: Chances, size: int, seed: int) -> BottomK:
    drawn = BottomK.empty(size, chances.centroids.mu.shape[1])
    for batch in batches:
        items = chances.divergence.as_measured(batch.items)
        keys = uniform_hashes(items, seed) / chances(items)
        drawn = drawn.add(keys, items, eligible=np.ones(len(items), np.bool_))
    return drawn


def choose_seeds(sample: WeightedItems, k: int, *, seed: tuple[int, ...]) -> Gaussians:
    """Return the best k centroids that a search in the sample finds, in the order of their numbers.

    Args:
        sample: At least k different items.
        k: How many.
        seed: Of the search's random numbers.
    """
    latent_dim = sample.items.mu.shape[1]
    max_steps = _WORK // (len(sample) * k * latent_dim)
    found = search(sample, k, np.random.default_rng(seed), max_steps=max_steps)
    return sample.centroids_of(found)
