"""The sample that seeds are searched for in."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.divergences import draw_clusters, reference
from tests.support.passes import MemoryPasses, surveyed
from tests.support.tolerances import assert_sampled
from vaeudf.clustering import seeding
from vaeudf.clustering.divergences import EUCLIDEAN, KL
from vaeudf.clustering.lloyd import fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.seeding import choose_seeds, draw_sample
from vaeudf.clustering.weighted_items import WeightedItems
from vaeudf.gaussian.arrays import Gaussians


@pytest.fixture
def small_sample(monkeypatch):
    """Samples of some hundred items in place of thousands."""
    monkeypatch.setattr(seeding, "_LEAST_SAMPLE", 200)
    monkeypatch.setattr(seeding, "_ITEMS_PER_CLUSTER", 1)


def drawn(passes, plan, size=200):
    return draw_sample(
        passes, plan, surveyed(passes, plan.divergence, size=size + 1, seed=plan.seed)
    )


def test_few_items_are_all_in_it_and_equal_ones_weigh_more():
    mu = np.array([[3.0], [1.0], [3.0], [3.0], [-2.0]])
    log_var = np.array([[0.0], [0.0], [0.0], [1.0], [0.0]])
    for divergence, expected in (
        (KL, [(-2.0, 1), (1.0, 1), (3.0, 2), (3.0, 1)]),
        (EUCLIDEAN, [(-2.0, 1), (1.0, 1), (3.0, 3)]),
    ):
        passes = MemoryPasses(mu, log_var, parts=2)
        found = drawn(passes, Plan(divergence, (2,)), size=5)
        assert list(zip(found.items.mu[:, 0], found.weights, strict=True)) == expected
        assert passes.count == 1


def test_its_cost_of_any_centroids_estimates_that_of_all_items():
    """Over many seeds the weighted cost, and the weight itself, have the right mean."""
    rng = np.random.default_rng(0)
    mu, log_var = draw_clusters(3000, 2)
    mu[:4] += 300.0  # a few that most of the cost is in
    mu[100:140], log_var[100:140] = mu[99], log_var[99]
    centroids = Gaussians(rng.normal(0, 3, (3, 2)), rng.normal(-2, 1, (3, 2)))
    passes = MemoryPasses(mu, log_var, rows=3000)
    right = reference("kl", mu, log_var, centroids.mu, centroids.log_var).min(axis=1).sum()
    costs, totals = [], []
    for seed in range(40):
        sample = drawn(passes, Plan(KL, (3,), seed=seed))
        assert len(sample) < 450
        costs.append(sample.partition(centroids).cost)
        totals.append(sample.weights.sum())
    for found, expected in ((costs, right), (totals, 3000.0)):
        error = np.std(found) / np.sqrt(len(found))
        assert_sampled(np.mean(found), expected, standard_error=error)
        # Of a uniform sample of as many items, one would be this far off.
        assert np.std(found) < 0.2 * expected


@pytest.mark.parametrize("copies", [1, 300])
def test_few_items_far_from_all_others_are_in_it(copies, small_sample):
    rng = np.random.default_rng(0)
    far = np.repeat(rng.normal(50, 0.01, (5, 2)), copies, axis=0)
    mu = np.concatenate([rng.normal(0, 0.01, (2000, 2)), far])
    log_var = np.full_like(mu, -2.0)
    for seed in range(10):
        passes = MemoryPasses(mu, log_var)
        plan = Plan(KL, (2,), seed=seed)
        sample = drawn(passes, plan)
        is_far = (sample.items.mu > 40).all(axis=1)
        assert is_far.any() and (copies > 1 or sample.weights[is_far].tolist() == [1.0] * 5)
        assert len(np.unique(sample.items.mu, axis=0)) == len(sample) < 500
        [trial] = fit(passes, plan).best()
        assert trial.tally.counts.tolist() == [2000, 5 * copies]


def test_neither_partitions_nor_order_change_the_sample():
    mu, log_var = draw_clusters(1500, 3, seed=2)
    mu[100:140], log_var[100:140] = mu[0], log_var[0]
    order = np.random.default_rng(0).permutation(1500)
    plan = Plan(KL, (4,), seed=3)
    one = drawn(MemoryPasses(mu, log_var), plan)
    for other in (
        MemoryPasses(mu, log_var, parts=7, rows=13),
        MemoryPasses(mu, log_var, parts=[3, 4, 480], rows=100, order=order),
    ):
        again = drawn(other, plan)
        np.testing.assert_array_equal(again.items.mu, one.items.mu)
        np.testing.assert_array_equal(again.items.log_var, one.items.log_var)
        np.testing.assert_array_equal(again.weights, one.weights)


def test_seeds_are_in_the_order_of_their_numbers():
    sample = WeightedItems.of(
        Gaussians(*(x.astype(float) for x in draw_clusters(100, 2))), np.ones(100), KL
    )
    seeds = choose_seeds(sample, 4, seed=(0,))
    assert (np.diff(seeds.mu[:, 0]) > 0).all()
