"""Merged clusters against brute force over all items, and against SciPy's Ward linkage."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import minimize_scalar

from tests.support.divergences import (
    EVERY_DIVERGENCE,
    REFERENCES,
    draw_clusters,
    reference,
)
from tests.support.passes import MemoryPasses, surveyed
from tests.support.tolerances import assert_within, near_score
from vaeudf.clustering.divergences import EUCLIDEAN, KL
from vaeudf.clustering.hierarchy import hierarchy_of
from vaeudf.clustering.lloyd import Trial, fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.tallies import Anchors, tally_all
from vaeudf.gaussian.arrays import Gaussians

# What exact sums leave out of each number, relative to the least sigma or variance there is.
MATTERS = 2.0**-40


def trial_of(mu, log_var, centroids, divergence):
    """The centroids with what a pass adds up for them, and the items' least log variance."""
    passes = MemoryPasses(mu, log_var, parts=2, rows=37)
    survey = surveyed(passes, divergence)
    [tally] = tally_all(passes, [centroids], divergence, Anchors.of(divergence, survey))
    objectives = (tally.objective(),)
    trial = Trial(len(centroids), 0, centroids=centroids, objectives=objectives, tally=tally)
    return trial, survey.ranges.low_log_var


def cost_of(name, mu, log_var):
    """The least sum of the items' divergences from one centroid."""
    variances = np.exp(log_var.astype(float))
    if REFERENCES[name].centroid is None:
        m, log_v = least_of_jeffreys(mu.astype(float), variances)
    else:
        m, log_v = REFERENCES[name].centroid(mu.astype(float), variances)
    return reference(name, mu, log_var, m[None], log_v[None]).sum()


def least_of_jeffreys(mu, s):
    """The centroid by Brent's method on m, in each dimension: for a given m, v is known."""
    found = []
    for x, t in zip(mu.T, s.T, strict=True):

        def best_v(m, x=x, t=t):
            return np.sqrt((t + (x - m) ** 2).mean() / (1 / t).mean())

        def cost(m, x=x, t=t):
            v = best_v(m)
            return (((x - m) ** 2 + t) / v + ((x - m) ** 2 + v) / t).mean()

        # The mean lies between the items' own; near the least cost its square is what is lost.
        options = {"xatol": 1e-9, "maxiter": 1000}
        ends = x.min() - 1.0, x.max() + 1.0
        m = minimize_scalar(cost, bounds=ends, method="bounded", options=options).x
        found.append((m, np.log(best_v(m))))
    return np.array(found).T


def by_brute_force(name, mu, log_var, labels):
    """The partitions and objectives of greedy merging, from all items at every step."""
    groups = [frozenset({c}) for c in range(labels.max() + 1)]

    def cost(group):
        own = np.isin(labels, list(group))
        return cost_of(name, mu[own], log_var[own])

    costs = {group: cost(group) for group in groups}
    steps = [(set(groups), sum(costs.values()) / len(mu))]
    while len(groups) > 1:
        pairs = list(combinations(groups, 2))
        for one, other in pairs:
            if one | other not in costs:
                costs[one | other] = cost(one | other)
        one, other = min(pairs, key=lambda p: costs[p[0] | p[1]] - costs[p[0]] - costs[p[1]])
        groups = [group for group in groups if group not in (one, other)] + [one | other]
        steps.append((set(groups), sum(costs[group] for group in groups) / len(mu)))
    return steps


@EVERY_DIVERGENCE
def test_merges_as_all_items_say(divergence):
    k, n = 7, 3
    mu, log_var = draw_clusters(260, n, seed=5, clusters=k + 1)
    # Not at rest: the leaves' own centroids are others than those that items were assigned to.
    start = Gaussians(mu[:k].astype(float), log_var[:k].astype(float))
    trial, least = trial_of(mu, log_var, start, divergence)
    tree = hierarchy_of(trial, divergence, least_log_var=least)
    labels = reference(divergence.name, mu, log_var, start.mu, start.log_var).argmin(axis=1)
    steps = by_brute_force(divergence.name, mu, log_var, labels)
    bound = near_score(steps[-1][1], log_var, dims=n, items=len(mu))
    assert tree.objective == near_score(steps[0][1], log_var, dims=n, items=len(mu))
    heights = [tree.objective, *(merge.objective for merge in tree.merges)]
    for merged, (groups, objective) in enumerate(steps):
        cut = tree.cut(k - merged)
        found = {frozenset(np.flatnonzero(cut == group).tolist()) for group in range(cut.max() + 1)}
        assert found == groups
        assert_within(heights[merged], objective, MATTERS * (1 + objective), why="exact sums")
    assert heights[-1] == bound and heights == sorted(heights)
    m, log_v = tree.centroids.mu[-1], tree.centroids.log_var[-1]
    everything = reference(divergence.name, mu, log_var, m[None], log_v[None]).mean()
    assert everything == bound


def test_squared_distances_as_scipy_merges_them():
    """With a point for each cluster, as often as the cluster has items."""
    rng = np.random.default_rng(3)
    points, sizes = rng.normal(size=(12, 2)), rng.integers(1, 9, 12)
    mu = np.repeat(points, sizes, axis=0)
    start = Gaussians(points, np.zeros_like(points))
    trial, least = trial_of(mu, np.zeros_like(mu), start, EUCLIDEAN)
    tree = hierarchy_of(trial, EUCLIDEAN, least_log_var=least)
    expected = linkage(mu, method="ward")[-11:]
    rises = expected[:, 2] ** 2 / 2 / len(mu)
    found = [merge.rise for merge in tree.merges]
    assert_within(found, rises, MATTERS * (1 + rises), why="what sums leave out")
    assert [merge.size for merge in tree.merges] == expected[:, 3].astype(int).tolist()
    for k in range(1, 13):
        theirs = fcluster(linkage(mu, method="ward"), k, criterion="maxclust")
        theirs = theirs[np.cumsum(sizes) - 1]
        pairs = set(zip(tree.cut(k).tolist(), theirs.tolist(), strict=True))
        assert len(pairs) == k
        totals = np.bincount(tree.cut(k), weights=sizes)
        assert (np.diff(totals) <= 0).all() and tree.size_of(tree.roots(k)[0]) == totals[0]


def test_an_empty_cluster_is_no_leaf():
    mu, log_var = draw_clusters(90, 2, clusters=3)
    some = fit(MemoryPasses(mu, log_var), Plan(KL, (3,))).best()[0].centroids
    far = Gaussians(np.full((1, 2), 1e6), np.zeros((1, 2)))
    both = Gaussians.concatenate([far, some])
    trial, least = trial_of(mu, log_var, both, KL)
    tree = hierarchy_of(trial, KL, least_log_var=least)
    assert tree.leaves.tolist() == [1, 2, 3] and len(tree.merges) == 2
    alone, least = trial_of(mu, log_var, some, KL)
    assert tree.merges == hierarchy_of(alone, KL, least_log_var=least).merges


def test_one_cluster():
    mu, log_var = draw_clusters(20, 2, clusters=1)
    [trial] = fit(MemoryPasses(mu, log_var), Plan(KL, (1,))).best()
    tree = hierarchy_of(trial, KL, least_log_var=log_var.min(axis=0).astype(float))
    assert tree.merges == () and tree.cut(1).tolist() == [0] and tree.sizes.tolist() == [20]
    assert tree.objective == near_score(trial.objective, log_var, dims=2, items=20)
    with pytest.raises(ValueError, match=r"^k is 2; expected 1 to 1\.$"):
        tree.cut(2)


@EVERY_DIVERGENCE
def test_equal_clusters_are_merged_first_and_for_nothing(divergence):
    """Two centroids between the same items, and items far apart: nothing is lost to rounding."""
    mu = np.array([[0.0], [0.0], [1e6], [1e6 + 1]])
    log_var = np.array([[-20.0], [-20.0], [-20.0], [3.0]])
    start = Gaussians(mu[[0, 2, 3]], log_var[[0, 2, 3]])
    trial, least = trial_of(mu, log_var, start, divergence)
    tree = hierarchy_of(trial, divergence, least_log_var=least)
    first, last = tree.merges
    assert (first.left, first.right) == (1, 2) and first.size == 2 and last.size == 4
    near = cost_of(divergence.name, mu[2:], log_var[2:]) / 4
    assert_within(first.rise, near, 1e-9 * near, why="a centroid that is looked for")
    assert first.rise < last.rise


def test_as_many_merges_as_clusters_and_pairs_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 2))
    start = Gaussians(points, rng.normal(size=(60, 2)))
    trial, least = trial_of(points, start.log_var, start, KL)
    whole = hierarchy_of(trial, KL, least_log_var=least)
    assert sorted(whole.leaves_below(118)) == list(range(60))
    monkeypatch.setattr("vaeudf.clustering.hierarchy._NUMBERS_AT_ONCE", 20)
    assert hierarchy_of(trial, KL, least_log_var=least).merges == whole.merges


@EVERY_DIVERGENCE
def test_the_ends_of_what_can_be_clustered(divergence):
    mu = np.array([[0.0, 1.0], [1e15, -1e15], [0.0, 0.0], [-1e15, 3.0], [2.0, 2.0]])
    log_var = np.array([[-80.0, 80.0], [80.0, -80.0], [0.0, 0.0], [-80.0, -80.0], [1.0, 2.0]])
    start = Gaussians(mu, log_var)
    trial, least = trial_of(mu, log_var, start, divergence)
    tree = hierarchy_of(trial, divergence, least_log_var=least)
    heights = [merge.objective for merge in tree.merges]
    assert len(heights) == 4 and np.isfinite(heights).all() and heights == sorted(heights)
    assert sorted(tree.leaves_below(8)) == [0, 1, 2, 3, 4]
