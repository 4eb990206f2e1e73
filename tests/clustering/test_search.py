"""The search in memory against all partitions there are, and against planted clusters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.support.divergences import (
    EVERY_DIVERGENCE,
    REFERENCES,
    centroid_by_search,
    draw_clusters,
    reference,
)
from tests.support.tolerances import assert_same_minimum, near_score
from vaeudf.clustering.divergences import DIVERGENCES, KL
from vaeudf.clustering.search import greedy_plus_plus, search
from vaeudf.clustering.split_merge import grown, mergers, shrunk, split_all, standardised
from vaeudf.clustering.weighted_items import WeightedItems
from vaeudf.gaussian.arrays import Gaussians

CLOSED = pytest.mark.parametrize("name", [n for n, one in REFERENCES.items() if one.centroid])


def weighted(mu, log_var, divergence, weights=None):
    items = Gaussians(np.asarray(mu, np.float64), np.asarray(log_var, np.float64))
    weights = np.ones(len(items)) if weights is None else np.asarray(weights, np.float64)
    return WeightedItems.of(divergence.as_measured(items), weights, divergence)


def cost_of(name, mu, log_var):
    """The total divergence of items from their own centroid, by the references."""
    if REFERENCES[name].centroid is None:
        m, log_v = centroid_by_search(name, mu, log_var)
    else:
        m, log_v = REFERENCES[name].centroid(mu, np.exp(log_var))
    return reference(name, mu, log_var, m[None], log_v[None]).sum()


@pytest.mark.parametrize("name", ["kl", "wasserstein2"])
def test_the_best_of_all_partitions(name):
    """No search is better, and of a few the best one is as good."""
    rng = np.random.default_rng(2)
    mu, log_var = rng.standard_t(2, (8, 2)), rng.normal(-1, 2, (8, 2))
    costs = {
        rows: cost_of(name, mu[list(rows)], log_var[list(rows)])
        for size in range(1, 7)
        for rows in itertools.combinations(range(8), size)
    }
    least = min(
        sum(costs[tuple(np.flatnonzero(np.array(labels) == c))] for c in range(3))
        for labels in itertools.product(range(3), repeat=8)
        if set(labels) == {0, 1, 2}
    )
    items = weighted(mu, log_var, DIVERGENCES[name])
    found = [search(items, 3, np.random.default_rng(seed), max_steps=10**5) for seed in range(6)]
    best = min(one.cost for one in found)
    assert best == near_score(least, log_var, dims=2 * 8, items=8)


def test_planted_variances_are_found_from_every_seed():
    """Four clusters of one mean, which plain k-means from greedy seeds rarely finds."""
    rng = np.random.default_rng(0)
    levels = rng.choice([0.0, -5.0, -6.0], (4, 8))
    truth = np.repeat(np.arange(4), 100)
    mu = rng.normal(0, 0.3, (400, 8))
    log_var = levels[truth] + rng.normal(0, 0.2, (400, 8))
    items = weighted(mu, log_var, KL)
    planted = sum(cost_of("kl", mu[truth == c], log_var[truth == c]) for c in range(4))
    for seed in range(6):
        rng = np.random.default_rng(seed)
        found = search(items, 4, rng, max_steps=1000)
        assert 0.99 * planted < found.cost < planted, "which k-means can still improve a little"
    plain = [items.lloyd(greedy_plus_plus(items, 4, rng), max_steps=100).cost for _ in range(9)]
    assert np.median(plain) > 1.02 * planted, "seeds alone find them"


@EVERY_DIVERGENCE
def test_a_weight_is_as_many_items(divergence):
    mu, log_var = draw_clusters(60, 2, seed=3)
    weights = np.random.default_rng(0).integers(1, 5, 60)
    start = Gaussians(mu[:4].astype(float), log_var[:4].astype(float))
    one = weighted(mu, log_var, divergence, weights).lloyd(start, max_steps=50)
    repeated = (np.repeat(x, weights, axis=0) for x in (mu, log_var))
    other = weighted(*repeated, divergence).lloyd(start, max_steps=50)
    assert_same_minimum([one.cost], [other.cost])
    np.testing.assert_array_equal(np.repeat(one.nearest.clusters, weights), other.nearest.clusters)


@CLOSED
def test_what_mergers_cost(name):
    mu, log_var = (x.astype(float) for x in draw_clusters(120, 2, seed=4))
    items = weighted(mu, log_var, DIVERGENCES[name])
    rng = np.random.default_rng(0)
    found = items.lloyd(items.items.take(rng.permutation(120)[:5]), max_steps=100)
    labels = found.nearest.clusters
    alone = [cost_of(name, mu[labels == c], log_var[labels == c]) for c in range(5)]
    merged = mergers(items, found)
    assert sorted(map(tuple, merged.pairs.tolist())) == list(itertools.combinations(range(5), 2))
    assert (np.diff(merged.costs) >= 0).all()
    for (one, other), cost in zip(merged.pairs, merged.costs, strict=True):
        own = np.isin(labels, [one, other])
        together = cost_of(name, mu[own], log_var[own])
        assert cost + alone[one] + alone[other] == near_score(
            together, log_var, dims=2 * 120, items=120
        )


@EVERY_DIVERGENCE
def test_splits_gain_what_they_say_and_mergers_bring_back_k(divergence):
    mu, log_var = draw_clusters(200, 3, seed=5, clusters=6)
    items = weighted(mu, log_var, divergence)
    rng = np.random.default_rng(1)
    found = items.lloyd(items.items.take(rng.permutation(200)[:3]), max_steps=100)
    splits = split_all(items, standardised(items.items), found, rng)
    assert (splits.gains[splits.order] > 0).all() and (splits.gains >= 0).all()
    labels = found.nearest.clusters
    for c in range(3):
        own = items.take(np.flatnonzero(labels == c))
        before = own.total(found.nearest.divergences[labels == c])
        two = Gaussians.concatenate([splits.first.take([c]), splits.second.take([c])])
        assert_same_minimum([before - splits.gains[c]], [own.partition(two).cost])
    larger = items.partition(grown(found, splits, 2))
    assert len(larger.centroids) == 5
    assert larger.cost <= found.cost - np.sort(splits.gains)[-2:].sum() * (1 - 1e-9)
    assert len(shrunk(items, larger, 3)) == 3


def test_greedy_seeds_are_different_items_even_where_rounding_hides_that():
    """As measured, items differ from each other no more than from themselves."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        mu = 1.0 + np.arange(6)[:, None] * [2.0**-52, 0.0]
        items = weighted(mu, np.repeat(rng.normal(size=(1, 2)), 6, axis=0), KL)
        seeds = greedy_plus_plus(items, 6, rng)
        assert sorted(seeds.mu[:, 0]) == mu[:, 0].tolist()


@EVERY_DIVERGENCE
def test_the_same_partition_has_the_same_centroids_to_the_last_bit(divergence):
    mu, log_var = draw_clusters(90, 2, seed=6)
    items = weighted(mu, log_var, divergence)
    one = items.lloyd(items.items.take(np.array([3, 50, 70])), max_steps=100)
    order = np.array([2, 0, 1])
    other = one._replace(
        centroids=Gaussians(one.centroids.mu[order] + 1e-9, one.centroids.log_var[order] - 1e-9),
        nearest=one.nearest._replace(clusters=np.argsort(order)[one.nearest.clusters]),
    )
    found, again = items.centroids_of(one), items.centroids_of(other)
    assert found.mu.tobytes() == again.mu.tobytes()
    assert found.log_var.tobytes() == again.log_var.tobytes()
    assert_same_minimum([items.partition(found).cost], [one.cost])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_as_few_items_as_clusters_with_the_largest_numbers(k):
    mu = np.array([[1e15, 0.0], [-1e15, 1.0], [0.0, 0.0]])[:k]
    log_var = np.array([[80.0, -80.0], [-80.0, 80.0], [0.0, 0.0]])[:k]
    for divergence in DIVERGENCES.values():
        items = weighted(mu, log_var, divergence)
        found = search(items, k, np.random.default_rng(0), max_steps=100)
        assert found.cost == 0.0 and sorted(found.nearest.clusters) == list(range(k))
