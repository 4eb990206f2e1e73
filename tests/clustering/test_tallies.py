"""What passes add up for centroids, by brute force; exact at the ends of what can be clustered."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.support.divergences import EVERY_DIVERGENCE, draw_clusters, reference
from tests.support.passes import MemoryPasses, surveyed
from tests.support.tolerances import (
    SCORE,
    assert_same_scores,
    assert_within,
    near_float64,
    near_score,
)
from vaeudf.clustering import lloyd, tallies
from vaeudf.clustering.divergences import KL
from vaeudf.clustering.lloyd import fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.tallies import Anchors, next_centroids, tally_all
from vaeudf.gaussian.arrays import Gaussians

# What exact sums leave out of each number, relative to the least sigma or variance there is.
MATTERS = 2.0**-40


@EVERY_DIVERGENCE
def test_a_tally(divergence):
    mu, log_var = draw_clusters(300, 3)
    passes = MemoryPasses(mu, log_var, parts=3, rows=41)
    sets = [passes.items.take(np.arange(first, first + 4)) for first in (0, 50)]
    anchors = Anchors.of(divergence, surveyed(passes))
    for tally, centroids in zip(tally_all(passes, sets, divergence, anchors), sets, strict=True):
        expected = reference(divergence.name, mu, log_var, centroids.mu, centroids.log_var)
        labels, nearest = expected.argmin(axis=1), expected.min(axis=1)
        np.testing.assert_array_equal(tally.counts, np.bincount(labels, minlength=4))
        logs = log_var, centroids.log_var
        assert tally.objective() == near_score(nearest.mean(), *logs, dims=3, items=300)
        farthest = np.sort(nearest)[::-1][: len(tally.farthest.keys)]
        assert_same_scores(-tally.farthest.keys, farthest, *logs, dims=3)


def test_empty_clusters_keep_their_centroids():
    items = Gaussians(np.array([[0.0], [1.0]]), np.zeros((2, 1)))
    passes = MemoryPasses(items.mu, items.log_var)
    start = Gaussians(np.array([[0.0], [90.0]]), np.array([[0.5], [7.0]]))
    [tally] = tally_all(passes, [start], KL, Anchors.of(KL, surveyed(passes)))
    assert tally.counts.tolist() == [2, 0] and np.isnan(tally.means()[1]).all()
    found = next_centroids(
        tally.means(), start, KL, least_log_var=np.zeros(1), filled=tally.counts > 0
    )
    assert found.mu.tolist() == [[0.5], [90.0]] and found.log_var[1] == 7.0
    assert found.log_var[0] == near_float64(np.log(1.25), terms=SCORE)


@EVERY_DIVERGENCE
@pytest.mark.parametrize(
    ("name", "value"), [("log_var", -80.0), ("log_var", 80.0), ("log_var", 60.0), ("mu", 1e15)]
)
def test_one_extreme_item_hides_no_other(divergence, name, value):
    mu, log_var = (x.astype(float) for x in draw_clusters(20_000, 2, scale=1.0))
    {"mu": mu, "log_var": log_var}[name][7, 1] = value
    passes = MemoryPasses(mu, log_var, parts=3)
    start = Gaussians(mu[:4].copy(), log_var[:4].copy())
    [tally] = tally_all(passes, [start], divergence, Anchors.of(divergence, surveyed(passes)))
    expected = reference(divergence.name, mu, log_var, start.mu, start.log_var)
    labels = expected.argmin(axis=1)
    items, mean = len(mu), expected.min(axis=1).mean()
    assert tally.objective() == near_score(mean, log_var, start.log_var, dims=2, items=items)
    means = tally.means()
    for c in range(4):
        if 7 in np.flatnonzero(labels == c):
            continue  # beside it, no float64 has room for the others
        own = np.flatnonzero(labels == c)
        alone = MemoryPasses(mu[own], log_var[own])
        one = Gaussians(start.mu[[c]], start.log_var[[c]])
        [by_itself] = tally_all(alone, [one], divergence, Anchors.of(divergence, surveyed(alone)))
        right = by_itself.means()[0]
        assert_within(means[c], right, MATTERS * (1 + np.abs(right)), why="what sums leave out")


@EVERY_DIVERGENCE
def test_as_many_items_as_there_can_be(divergence):
    """What sums know of an item does not suffer from how many there are."""
    rng = np.random.default_rng(0)
    mu = np.concatenate([rng.normal(0, 1, (500, 2)), [[1e4, -1e4]]])
    log_var = 2 * np.log(10.0) * rng.uniform(-6, 3, mu.shape)
    passes = MemoryPasses(mu, log_var)
    found = surveyed(passes)
    many = dataclasses.replace(found, num_items=10**9)
    start = Gaussians(mu[:3].copy(), log_var[:3].copy())
    few, as_many = (
        tally_all(passes, [start], divergence, Anchors.of(divergence, one))[0]
        for one in (found, many)
    )
    assert few.objective() == near_float64(as_many.objective(), terms=len(mu))
    right = as_many.means()
    assert_within(few.means(), right, MATTERS * np.abs(right), why="what sums leave out")


def test_sums_that_do_not_fit_a_task_take_more_passes(monkeypatch):
    mu, log_var = draw_clusters(300, 2)
    # Poor seeds: items, and others for each restart.
    monkeypatch.setattr(
        lloyd, "choose_seeds", lambda sample, k, *, seed: sample.items.take(np.arange(k) + seed[-1])
    )
    plan = Plan(KL, (2, 3, 4), restarts=2, max_iterations=3, min_improvement=0.0)
    together, apart = MemoryPasses(mu, log_var), MemoryPasses(mu, log_var)
    expected = fit(together, plan).trials
    size = 4 * Anchors.of(KL, surveyed(apart)).features.nbytes
    monkeypatch.setattr(tallies, "_TALLIES_BYTES", size)
    found = fit(apart, plan).trials
    assert [trial.objectives for trial in found] == [trial.objectives for trial in expected]
    assert together.count == 1 + 3
    # Two sets of 2 centroids fit, and no other two do.
    assert apart.count == 1 + 1 + 3 * 5
