"""k-means of Gaussians against a plain float64 version that shares no code with it."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch.distributions import Normal, kl_divergence

from tests.support.passes import MemoryPasses
from vaeudf.clustering import kernels
from vaeudf.clustering import lloyd as clustering
from vaeudf.clustering.assignment import assign, nearest_centroids
from vaeudf.clustering.divergences import (
    DIVERGENCES,
    EUCLIDEAN,
    JEFFREYS,
    KL,
    WASSERSTEIN2,
    divergence_named,
)
from vaeudf.clustering.lloyd import (
    Kept,
    Plan,
    Scales,
    choose_seeds,
    draw_candidates,
    fit,
    survey,
    tally_all,
)
from vaeudf.clustering.portraits import portray
from vaeudf.clustering.ranges import Ranges
from vaeudf.errors import InputError
from vaeudf.gaussian.arrays import Gaussians

EVERY = pytest.mark.parametrize("divergence", DIVERGENCES.values(), ids=lambda d: d.name)


def oracle(name, mu, log_var, m, log_v):
    """D of every item from every centroid, (N, k), by torch.distributions or by its definition."""
    mu, s, m, v = (
        torch.as_tensor(np.asarray(x, np.float64)) for x in (mu, _sigma(log_var), m, _sigma(log_v))
    )
    mu, s, m, v = mu[:, None], s[:, None], m[None], v[None]
    if name == "euclidean":
        return ((mu - m) ** 2).sum(-1).numpy()
    if name == "wasserstein2":
        return ((mu - m) ** 2 + (s - v) ** 2).sum(-1).numpy()
    forward = kl_divergence(Normal(mu, s), Normal(m, v)).sum(-1)
    backward = kl_divergence(Normal(m, v), Normal(mu, s)).sum(-1)
    found = {"kl": forward, "reverse_kl": backward, "jeffreys": forward + backward}[name]
    return found.numpy()


def _sigma(log_var):
    return np.exp(0.5 * np.asarray(log_var, np.float64))


def draw(count=400, n=3, seed=0, clusters=4, spread=3.0):
    rng = np.random.default_rng(seed)
    which = rng.integers(clusters, size=count)
    mu = rng.normal(0, spread, (clusters, n))[which] + rng.normal(0, 0.5, (count, n))
    log_var = rng.normal(-2, 1, (clusters, n))[which] + rng.normal(0, 0.3, (count, n))
    return mu.astype(np.float32), log_var.astype(np.float32)


def centroid_by_search(name, mu, log_var):
    """The Gaussian with the least mean divergence, by a general minimiser."""
    found = []
    for i in range(mu.shape[1]):

        def cost(x, i=i):
            return oracle(name, mu[:, [i]], log_var[:, [i]], [[x[0]]], [[x[1]]]).mean()

        start = [mu[:, i].mean(), np.log(np.exp(log_var[:, i]).mean() + mu[:, i].var())]
        options = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 4000, "maxfev": 8000}
        found.append(minimize(cost, start, method="Nelder-Mead", options=options).x)
    return np.array(found).T


# ---- divergences and centroids


@EVERY
def test_nearest_centroids(divergence):
    mu, log_var = draw(301, 5)
    centroids = Gaussians(*(x.astype(float) for x in draw(17, 5, seed=3)))
    items = Gaussians(mu.astype(float), log_var.astype(float))
    found, best, second = nearest_centroids(divergence.prepare(items), centroids, divergence)
    expected = oracle(divergence.name, mu, log_var, centroids.mu, centroids.log_var)
    ordered = np.sort(expected, axis=1)
    np.testing.assert_array_equal(found, expected.argmin(axis=1))
    np.testing.assert_allclose(best, ordered[:, 0], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(second, ordered[:, 1], rtol=1e-11, atol=1e-12)
    of_pairs = divergence.of_pairs(items, centroids.take(found))
    np.testing.assert_allclose(of_pairs, ordered[:, 0], rtol=1e-11, atol=1e-12)


@EVERY
def test_an_item_does_not_see_what_stands_beside_it(divergence):
    items = Gaussians(*(x.astype(float) for x in draw(1000, 7)))
    centroids = items.take(np.arange(0, 100, 9))
    whole = nearest_centroids(divergence.prepare(items), centroids, divergence)
    for rows in (slice(0, 1), slice(3, 131), slice(777, 1000)):
        some = Gaussians(items.mu[rows], items.log_var[rows])
        part = nearest_centroids(divergence.prepare(some), centroids, divergence)
        for mine, all_of_them in zip(part, whole, strict=True):
            np.testing.assert_array_equal(mine, all_of_them[rows])


@EVERY
def test_ties_go_to_the_first_and_one_centroid_has_no_next(divergence):
    items = Gaussians(np.zeros((3, 2)), np.zeros((3, 2)))
    twins = Gaussians(np.ones((2, 2)), np.zeros((2, 2)))
    found, best, second = nearest_centroids(divergence.prepare(items), twins, divergence)
    assert found.tolist() == [0, 0, 0] and (best == second).all()
    alone = twins.take(np.array([0]))
    assert np.isinf(nearest_centroids(divergence.prepare(items), alone, divergence)[2]).all()


@EVERY
@pytest.mark.parametrize("seed", range(3))
def test_a_centroid_has_the_least_mean_divergence(divergence, seed):
    mu, log_var = draw(60, 2, seed=seed, clusters=2)
    got = centroid_of(divergence, mu, log_var)
    if divergence is EUCLIDEAN:
        np.testing.assert_allclose(got.mu[0], mu.mean(axis=0, dtype=float), rtol=1e-12)
        return
    expected = centroid_by_search(divergence.name, mu.astype(float), log_var.astype(float))
    np.testing.assert_allclose([got.mu[0], got.log_var[0]], expected, rtol=1e-4, atol=1e-4)
    costs = [
        oracle(divergence.name, mu, log_var, [m], [v]).mean()
        for m, v in ((got.mu[0], got.log_var[0]), expected)
    ]
    assert costs[0] <= costs[1] * (1 + 1e-12), "and a general minimiser finds no better"


def centroid_of(divergence, mu, log_var, pivot=0.0):
    """The centroid of all items, by a pass."""
    passes = MemoryPasses(mu, log_var)
    found = survey(passes, 0)
    n = mu.shape[1]
    start = Gaussians(np.full((1, n), pivot), np.zeros((1, n)))
    [told] = tally_all(passes, [start], divergence, Scales.of(divergence, found))
    return divergence.centroids(told.means(), start, found.ranges.low_log_var)


def test_moment_matching_is_that_of_the_mixture():
    mu, log_var = draw(500, 4)
    rng = np.random.default_rng(0)
    which = rng.integers(500, size=400_000)
    sample = mu[which] + np.exp(0.5 * log_var[which]) * rng.normal(size=(400_000, 4))
    got = centroid_of(KL, mu, log_var)
    np.testing.assert_allclose(got.mu[0], sample.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(got.log_var[0], np.log(sample.var(axis=0)), atol=0.02)


@EVERY
def test_means_far_from_zero_with_narrow_posteriors(divergence):
    rng = np.random.default_rng(0)
    mu = 1e4 + rng.normal(0, 1e-3, (200, 2))
    log_var = np.log(rng.uniform(1e-6, 2e-6, (200, 2)) ** 2)
    start = mu.mean(axis=0)
    got = centroid_of(divergence, mu, log_var, pivot=float(mu[0, 0]))
    shifted = centroid_of(divergence, mu - start, log_var)
    np.testing.assert_allclose(got.mu - start, shifted.mu, atol=1e-10)
    np.testing.assert_allclose(got.log_var, shifted.log_var, rtol=1e-7)


@EVERY
def test_bounds_hold(divergence):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scale = 10.0 ** rng.integers(-4, 5)
        mu = rng.normal(0, scale, (50, 2))
        log_var = rng.uniform(-20, 8, (50, 2))
        items = Gaussians(mu, log_var)
        ranges = Ranges.of(items)
        for centroids in (items, centroid_of(divergence, mu, log_var, pivot=mu[0, 0])):
            worst = oracle(divergence.name, mu, log_var, centroids.mu, centroids.log_var).max()
            assert worst <= divergence.bound(ranges)


# ---- the whole of it


def lloyd(name, mu, log_var, m, log_v, iterations):
    """Plain k-means from given centroids on; objectives, labels, centroids."""
    mu, log_var = np.asarray(mu, np.float64), np.asarray(log_var, np.float64)
    objectives = []
    for step in range(iterations):
        distances = oracle(name, mu, log_var, m, log_v)
        labels = distances.argmin(axis=1)
        objectives.append(distances.min(axis=1).mean())
        if step + 1 == iterations:
            return objectives, labels, m, log_v
        m, log_v = m.copy(), log_v.copy()
        for c in range(len(m)):
            own, s = mu[labels == c], np.exp(log_var[labels == c])
            if len(own) == 0:
                raise AssertionError("the plain version does not reseed")
            if name in ("kl", "euclidean"):
                m[c], log_v[c] = own.mean(0), np.log((s + own**2).mean(0) - own.mean(0) ** 2)
            elif name == "reverse_kl":
                v = 1 / (1 / s).mean(0)
                m[c], log_v[c] = v * (own / s).mean(0), np.log(v)
            elif name == "wasserstein2":
                m[c], log_v[c] = own.mean(0), 2 * np.log(np.sqrt(s).mean(0))
            else:
                m[c], log_v[c] = centroid_by_search(name, own, np.log(s))
    raise AssertionError


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "wasserstein2", "euclidean"])
def test_it_equals_a_plain_version(name, monkeypatch):
    mu, log_var = draw(600, 3, seed=5)
    start = Gaussians(mu[:5].astype(float), log_var[:5].astype(float))
    monkeypatch.setattr(clustering, "choose_seeds", lambda *_: start)
    plan = Plan(divergence_named(name), (5,), restarts=1, max_iterations=12, min_improvement=0.0)
    passes = MemoryPasses(mu, log_var, parts=4, rows=37)
    fitted = fit(passes, plan)
    [trial] = fitted.trials
    taken = len(trial.objectives)
    objectives, labels, m, log_v = lloyd(name, mu, log_var, start.mu, start.log_var, taken)
    np.testing.assert_allclose(trial.objectives, objectives, rtol=1e-10)
    np.testing.assert_allclose(trial.centroids.mu, m, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(trial.centroids.log_var, log_v, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(trial.tally.counts, np.bincount(labels, minlength=5))
    [best] = fitted.best()
    assert best.tally.counts.tolist() == sorted(np.bincount(labels).tolist(), reverse=True)


def test_jeffreys_equals_a_plain_version_with_a_general_minimiser(monkeypatch):
    mu, log_var = draw(80, 2, seed=1, clusters=2)
    start = Gaussians(mu[:2].astype(float), log_var[:2].astype(float))
    monkeypatch.setattr(clustering, "choose_seeds", lambda *_: start)
    plan = Plan(JEFFREYS, (2,), restarts=1, max_iterations=4, min_improvement=0.0)
    [trial] = fit(MemoryPasses(mu, log_var), plan).trials
    taken = len(trial.objectives)
    objectives, _, m, _ = lloyd("jeffreys", mu, log_var, start.mu, start.log_var, taken)
    np.testing.assert_allclose(trial.objectives, objectives, rtol=1e-5)
    np.testing.assert_allclose(trial.centroids.mu, m, atol=1e-3)


@EVERY
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 9), scale=st.sampled_from([1e-3, 1.0, 1e4]))
def test_the_objective_never_rises(divergence, seed, k, scale):
    rng = np.random.default_rng(seed)
    mu = rng.standard_t(2, (60, 2)) * scale
    log_var = rng.uniform(-27, 13, (60, 2))
    plan = Plan(divergence, (k,), restarts=2, seed=seed, min_improvement=0.0)
    for trial in fit(MemoryPasses(mu, log_var, parts=3), plan).trials:
        drops = -np.diff(trial.objectives)
        assert (drops >= -1e-9 * np.array(trial.objectives[1:]) - 1e-12).all()


def test_clusters_that_differ_only_in_variance():
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=900)
    mu = rng.normal(0, 0.05, (900, 4))
    levels = np.array([[-4, -4, 0, 0], [0, 0, -4, -4], [-2, -2, -2, -2]])
    log_var = levels[truth] + rng.normal(0, 0.2, (900, 4))
    agreement = {}
    for name in DIVERGENCES:
        plan = Plan(divergence_named(name), (3,), restarts=3)
        [trial] = fit(MemoryPasses(mu, log_var), plan).best()
        items = plan.divergence.prepare(Gaussians(mu, log_var))
        labels = nearest_centroids(items, trial.centroids, plan.divergence)[0]
        agreement[name] = adjusted_rand(truth, labels)
    assert min(agreement[name] for name in ("kl", "reverse_kl", "jeffreys", "wasserstein2")) == 1.0
    assert abs(agreement["euclidean"]) < 0.05, "which the means alone cannot tell"


def adjusted_rand(one, other):
    """Hubert and Arabie, 1985."""
    table = np.zeros((max(one) + 1, max(other) + 1))
    np.add.at(table, (one, other), 1)

    def pairs(x):
        return (x * (x - 1) / 2).sum()

    rows, columns = pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / pairs(np.array([len(one)]))
    return (pairs(table) - expected) / ((rows + columns) / 2 - expected)


@EVERY
def test_neither_partitions_nor_order_change_a_bit(divergence):
    mu, log_var = draw(500, 3, seed=2)
    mu[100:140], log_var[100:140] = mu[0], log_var[0]
    order = np.random.default_rng(0).permutation(500)
    plan = Plan(divergence, (2, 5), restarts=2, seed=3)
    one = MemoryPasses(mu, log_var)
    fitted = fit(one, plan)
    for other in (
        MemoryPasses(mu, log_var, parts=7, rows=13),
        MemoryPasses(mu, log_var, parts=[3, 4, 480], rows=100, order=order),
    ):
        again = fit(other, plan)
        for mine, yours in zip(fitted.trials, again.trials, strict=True):
            assert mine.objectives == yours.objectives
            np.testing.assert_array_equal(mine.centroids.mu, yours.centroids.mu)
            np.testing.assert_array_equal(mine.centroids.log_var, yours.centroids.log_var)
        portraits = portray(one, fitted, fitted.best(), 4)
        assert portraits == portray(other, again, again.best(), 4)
        assert [len(own) for own in portraits] == [2, 5]


@EVERY
def test_ties_among_far_items_go_by_their_numbers(divergence, monkeypatch):
    """More items equally far than a pass keeps, one cluster empty: the order must not tell."""
    angles = [(x, y) for x in range(-65, 66) for y in range(-65, 66) if x * x + y * y == 65**2]
    assert len(angles) == 36
    mu = np.vstack([np.zeros((200, 2)), angles]).astype(float)
    log_var = np.zeros_like(mu)
    start = Gaussians(np.array([[0.0, 0.0], [900.0, 900.0], [901.0, 901.0]]), np.zeros((3, 2)))
    monkeypatch.setattr(clustering, "choose_seeds", lambda *_: start)
    rng = np.random.default_rng(0)
    found = set()
    for rows in (3, 7, 50, 300):
        passes = MemoryPasses(mu, log_var, parts=3, rows=rows, order=rng.permutation(len(mu)))
        [trial] = fit(passes, Plan(divergence, (3,), restarts=1)).trials
        assert trial.reseeded == 2
        found.add((trial.objectives, trial.centroids.mu.tobytes()))
    assert len(found) == 1


@EVERY
@pytest.mark.parametrize(
    ("name", "value"), [("log_var", -80.0), ("log_var", 80.0), ("log_var", 60.0), ("mu", 1e15)]
)
def test_one_extreme_item_hides_no_other(divergence, name, value):
    mu, log_var = (x.astype(float) for x in draw(20_000, 2, spread=1.0))
    {"mu": mu, "log_var": log_var}[name][7, 1] = value
    passes = MemoryPasses(mu, log_var, parts=3)
    start = Gaussians(mu[:4].copy(), log_var[:4].copy())
    [told] = tally_all(passes, [start], divergence, Scales.of(divergence, survey(passes, 0)))
    expected = oracle(divergence.name, mu, log_var, start.mu, start.log_var)
    labels = expected.argmin(axis=1)
    assert told.objective() == pytest.approx(expected.min(axis=1).mean(), rel=1e-9)
    means = told.means()
    for c in range(4):
        if 7 in np.flatnonzero(labels == c):
            continue  # beside it, no float64 has room for the others
        own = np.flatnonzero(labels == c)
        alone = MemoryPasses(mu[own], log_var[own])
        one = Gaussians(start.mu[[c]], start.log_var[[c]])
        [by_itself] = tally_all(alone, [one], divergence, Scales.of(divergence, survey(alone, 0)))
        np.testing.assert_allclose(means[c], by_itself.means()[0], rtol=1e-9, atol=1e-12)


@EVERY
def test_as_many_items_as_there_can_be(divergence):
    """What sums know of an item does not suffer from how many there are."""
    rng = np.random.default_rng(0)
    mu = np.concatenate([rng.normal(0, 1, (500, 2)), [[1e4, -1e4]]])
    log_var = 2 * np.log(10.0) * rng.uniform(-6, 3, mu.shape)
    passes = MemoryPasses(mu, log_var)
    found = survey(passes, 0)
    many = dataclasses.replace(found, num_items=10**9)
    start = Gaussians(mu[:3].copy(), log_var[:3].copy())
    few, as_many = (
        tally_all(passes, [start], divergence, Scales.of(divergence, one))[0]
        for one in (found, many)
    )
    assert few.objective() == pytest.approx(as_many.objective(), rel=1e-12)
    np.testing.assert_allclose(few.means(), as_many.means(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("divergence", [KL, JEFFREYS], ids=lambda d: d.name)
def test_a_centroid_very_far_from_all_its_items(divergence, monkeypatch):
    rng = np.random.default_rng(0)
    mu = rng.normal(0, 1e-5, (30, 1))
    log_var = np.full_like(mu, np.log(1e-10))
    log_var[3] = np.log(1e-12)
    start = Gaussians(np.array([[1e4]]), np.array([[np.log(1e-10)]]))
    monkeypatch.setattr(clustering, "choose_seeds", lambda *_: start)
    plan = Plan(divergence, (1,), min_improvement=1e-6)
    [trial] = fit(MemoryPasses(mu, log_var), plan).trials
    expected = centroid_of(divergence, mu, log_var)
    np.testing.assert_allclose(trial.centroids.mu, expected.mu, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(trial.centroids.log_var, expected.log_var, rtol=1e-4)
    assert trial.converged


def test_items_that_a_divergence_cannot_tell_apart():
    rng = np.random.default_rng(0)
    mu = np.repeat([[0.0], [1.0], [9.0]], 100, axis=0)
    log_var = rng.normal(size=mu.shape)
    [trial] = fit(MemoryPasses(mu, log_var, parts=3), Plan(EUCLIDEAN, (3,))).best()
    assert trial.tally.counts.tolist() == [100] * 3 and trial.objective == 0.0
    assert trial.converged and trial.reseeded == 0
    message = (
        "k is 4, but the 300 items have only 3 posteriors that differ by euclidean; "
        "expected at most 3."
    )
    with pytest.raises(InputError, match=f"^{message}$"):
        fit(MemoryPasses(mu, log_var), Plan(EUCLIDEAN, (4,)))


def test_clusters_that_must_stay_empty_end_the_search(monkeypatch):
    mu = np.zeros((10, 1))
    start = Gaussians(np.zeros((2, 1)), np.zeros((2, 1)))
    monkeypatch.setattr(clustering, "choose_seeds", lambda *_: start)
    monkeypatch.setattr(clustering, "draw_candidates", lambda *_: (start, np.ones(2)))
    [trial] = fit(MemoryPasses(mu, mu), Plan(KL, (2,), restarts=1)).trials
    assert trial.converged and len(trial.objectives) == 2 and trial.reseeded == 0


def test_seeds_matter_and_repeat():
    passes = MemoryPasses(*draw(300, 2, clusters=12))
    first, again, other = (
        fit(passes, Plan(KL, (6,), restarts=1, seed=seed)).trials[0] for seed in (1, 1, 2)
    )
    assert first.objectives == again.objectives != other.objectives


def test_all_trials_share_the_passes():
    passes = MemoryPasses(*draw(300, 2))
    plan = Plan(KL, (2, 3, 4), restarts=2)
    fitted = fit(passes, plan)
    longest = max(len(trial.objectives) for trial in fitted.trials)
    assert [(t.k, t.restart) for t in fitted.trials] == [(k, r) for k in (2, 3, 4) for r in (0, 1)]
    # One to survey, four to draw, one to weigh, then one an iteration.
    assert passes.count == 6 + longest


def test_sums_that_do_not_fit_a_task_take_more_passes(monkeypatch):
    mu, log_var = draw(300, 2)
    plan = Plan(KL, (2, 3, 4), restarts=2, max_iterations=3, min_improvement=0.0)
    together, apart = MemoryPasses(mu, log_var), MemoryPasses(mu, log_var)
    expected = fit(together, plan).trials
    size = 4 * Scales.of(KL, survey(apart, 0)).features.nbytes
    monkeypatch.setattr(clustering, "_TALLIES_BYTES", size)
    found = fit(apart, plan).trials
    assert [trial.objectives for trial in found] == [trial.objectives for trial in expected]
    assert together.count == 6 + 3
    # Two sets of 2 centroids fit, and no other two do.
    assert apart.count == 1 + 6 + 3 * 5


def test_more_clusters_have_a_lower_objective():
    fitted = fit(MemoryPasses(*draw(400, 3)), Plan(KL, tuple(range(1, 9)), restarts=3))
    assert (np.diff([trial.objective for trial in fitted.best()]) < 0).all()


def test_candidates_are_drawn_by_their_divergence():
    """One far group of few items, one near group of many: k-means|| sees both."""
    rng = np.random.default_rng(0)
    mu = np.concatenate([rng.normal(0, 0.01, (2000, 2)), rng.normal(50, 0.01, (5, 2))])
    log_var = np.full_like(mu, -2.0)
    for seed in range(10):
        passes = MemoryPasses(mu, log_var)
        plan = Plan(KL, (2,), seed=seed)
        candidates, weights = draw_candidates(passes, plan, survey(passes, seed))
        assert ((candidates.mu > 40).all(axis=1)).any()
        assert weights.sum() == len(mu)
        assert len(np.unique(candidates.mu, axis=0)) == len(candidates) == len(weights)
        [trial] = fit(passes, plan).best()
        assert trial.tally.counts.tolist() == [2000, 5]


def test_the_chance_of_an_item_is_in_proportion_to_its_divergence():
    """Over many seeds the first draw takes an item twice as far twice as often."""
    mu = np.array([[0.0], [1.0], [np.sqrt(2.0)], [np.sqrt(3.0)]])
    log_var = np.zeros_like(mu)
    origin = Gaussians(np.zeros((1, 1)), np.zeros((1, 1)))
    passes = MemoryPasses(mu, log_var)
    counts = np.zeros(4)
    for seed in range(6000):
        kept = clustering._draw_batches(passes.batches(passes.order), origin, EUCLIDEAN, 1, seed)
        counts[np.flatnonzero(mu[:, 0] == kept.items.mu[0, 0])] += 1
    np.testing.assert_allclose(counts / 6000, [0, 1 / 6, 2 / 6, 3 / 6], atol=0.025)


def test_kept_items_are_the_lowest_and_differ():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 6, 50).astype(float)
    values = keys[:, None] + rng.integers(0, 2, (50, 1))
    items = Gaussians(values, np.zeros_like(values))
    whole = Kept.lowest(keys, items, 5)
    rows = np.unique(np.column_stack([keys, values]), axis=0)[:5]
    np.testing.assert_array_equal(np.column_stack([whole.keys, whole.items.mu]), rows)
    parts = [
        Kept.lowest(keys[part], items.take(part), 5) for part in np.array_split(np.arange(50), 4)
    ]
    joined = parts[2].join(parts[0], 5).join(parts[3].join(parts[1], 5), 5)
    np.testing.assert_array_equal(joined.keys, whole.keys)
    np.testing.assert_array_equal(joined.items.mu, whole.items.mu)


def test_empty_clusters_are_reseeded_and_that_is_said(monkeypatch, caplog):
    mu, log_var = draw(300, 2, clusters=3)
    far = np.full((2, 2), 500.0)
    start = Gaussians(
        np.vstack([mu[:2], far]).astype(float), np.vstack([log_var[:2], [[-9, -9]] * 2])
    )
    monkeypatch.setattr(clustering, "choose_seeds", lambda *_: start)
    with caplog.at_level(logging.INFO, "vaeudf"):
        [trial] = fit(MemoryPasses(mu, log_var, parts=3), Plan(KL, (4,), restarts=1)).trials
    assert (trial.tally.counts > 0).all() and trial.reseeded == 2
    assert "k = 4, restart 0, iteration 1: 2 empty clusters are reseeded" in caplog.text
    assert (np.diff(trial.objectives) <= 0).all()


# ---- portraits


@EVERY
def test_portraits(divergence):
    mu, log_var = draw(240, 2, seed=4, clusters=3)
    mu[50:54], log_var[50:54] = mu[0], log_var[0]  # items that only their names tell apart
    passes = MemoryPasses(mu, log_var, parts=3, rows=29)
    plan = Plan(divergence, (3,), min_improvement=0.0)
    fitted = fit(passes, plan)
    [trial] = fitted.best()
    [portraits] = portray(passes, fitted, [trial], 6)
    distances = oracle(divergence.name, mu, log_var, trial.centroids.mu, trial.centroids.log_var)
    labels = distances.argmin(axis=1)
    rooted = np.sqrt(distances) if divergence in (EUCLIDEAN, WASSERSTEIN2) else distances
    ordered = np.sort(rooted, axis=1)
    widths = 1 - ordered[:, 0] / ordered[:, 1]
    pairs = oracle(divergence.name, mu, log_var, mu, log_var)
    for c, portrait in enumerate(portraits):
        own = np.flatnonzero(labels == c)
        assert portrait.size == len(own)
        np.testing.assert_allclose(portrait.mean_divergence, distances[own, c].mean(), rtol=1e-9)
        np.testing.assert_allclose(portrait.silhouette, widths[own].mean(), rtol=1e-9)
        # The medoid by its definition: pairs[x, y] = D(x, y), as for a centroid y.
        total = pairs[np.ix_(own, own)].sum(axis=0)
        medoid = int(portrait.medoid[1:])
        np.testing.assert_allclose(total[own == medoid], total.min(), rtol=1e-6)
        names = sorted(own, key=lambda row: (round(rooted[row, c], 9), f"i{row:05}"))[:6]
        assert [name for name, _ in portrait.nearest] == [f"i{row:05}" for row in names]
        np.testing.assert_allclose(
            [value for _, value in portrait.nearest], rooted[names, c], rtol=1e-7, atol=1e-7
        )


@pytest.mark.parametrize("most", [1, 100])
def test_variances_of_euclidean_clusters_are_those_of_their_items(most):
    mu, log_var = draw(300, 3, seed=9)
    passes = MemoryPasses(mu, log_var)
    [trial] = fit(passes, Plan(EUCLIDEAN, (4,), 1, max_iterations=most)).best()
    labels, _ = assign(passes.items, trial.centroids, EUCLIDEAN, trial.ranks)
    for number in range(4):
        own = labels == number
        expected = mu[own].astype(float).var(axis=0) + np.exp(log_var[own].astype(float)).mean(0)
        np.testing.assert_allclose(np.exp(trial.centroids.log_var[number]), expected, rtol=1e-9)


def test_portraits_of_items_as_near_to_two_centroids():
    """They are told with the cluster that they were counted with, whatever it is called later."""
    mu = np.array([[-2.0], [0.0], [1.0], [1.0], [1.0]], np.float32)
    log_var = np.zeros_like(mu)
    ties = 0
    for seed in range(30):
        passes = MemoryPasses(mu, log_var)
        fitted = fit(passes, Plan(EUCLIDEAN, (2,), 1, seed))
        [trial] = fitted.best()
        [portraits] = portray(passes, fitted, [trial], 5)
        labels, values = assign(passes.items, trial.centroids, EUCLIDEAN, trial.ranks)
        assert [one.size for one in portraits] == np.bincount(labels, minlength=2).tolist()
        for number, one in enumerate(portraits):
            own = values[labels == number]
            assert one.mean_divergence == pytest.approx((own**2).mean(), abs=1e-12)
            assert len(one.nearest) == one.size
        distances = np.abs(mu[:, 0, None] - trial.centroids.mu[:, 0])
        ties += bool((distances[:, 0] == distances[:, 1]).any())
    assert ties, "no item was ever as near to both"


def test_one_cluster_has_no_silhouette():
    passes = MemoryPasses(*draw(30, 2))
    fitted = fit(passes, Plan(KL, (1,)))
    [[portrait]] = portray(passes, fitted, fitted.best(), 3)
    assert portrait.size == 30 and np.isnan(portrait.silhouette)


def test_medoid_targets_of_jeffreys_are_two():
    mu, log_var = draw(50, 2)
    passes = MemoryPasses(mu, log_var)
    start = Gaussians(np.zeros((1, 2)), np.zeros((1, 2)))
    found = survey(passes, 0)
    [told] = tally_all(passes, [start], JEFFREYS, Scales.of(JEFFREYS, found))
    targets = JEFFREYS.medoid_targets(told.means(), start, found.ranges.low_log_var)
    assert len(targets) == 2
    matched = centroid_of(KL, mu, log_var)
    np.testing.assert_allclose(targets[0].mu, matched.mu, rtol=1e-9)


# ---- degenerate and bad input


@EVERY
@pytest.mark.parametrize("k", [1, 2, 5])
def test_as_many_clusters_as_items(divergence, k):
    mu, log_var = draw(5, 2, seed=9, clusters=5)
    [trial] = fit(MemoryPasses(mu[:k], log_var[:k]), Plan(divergence, (k,))).best()
    assert trial.tally.counts.tolist() == [1] * k
    assert trial.objective == pytest.approx(0, abs=1e-9)


def test_many_copies_of_few_items():
    mu = np.repeat([[0.0], [1.0], [5.0]], [500, 300, 1], axis=0)
    log_var = np.zeros_like(mu)
    [trial] = fit(MemoryPasses(mu, log_var, parts=4), Plan(KL, (3,))).best()
    assert trial.tally.counts.tolist() == [500, 300, 1]
    message = (
        "k is 4, but the 801 items have only 3 posteriors that differ by kl; expected at most 3."
    )
    with pytest.raises(InputError, match=f"^{message}$"):
        fit(MemoryPasses(mu, log_var), Plan(KL, (4,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_clusters": (0,)}, "k is 0; expected at least 1."),
        ({"num_clusters": (3, -2)}, "k is -2; expected at least 1."),
        ({"restarts": 0}, "restarts is 0; expected at least 1."),
        ({"max_iterations": 0}, "max-iterations is 0; expected at least 1."),
        ({"min_improvement": 1.0}, "min-improvement is 1.0; expected a part, from 0 to below 1."),
        ({"min_improvement": float("nan")}, "min-improvement is nan; expected a part, from 0 to"),
        ({"seed": -1}, "seed is -1; expected 0 or more."),
    ],
)
def test_plans_that_make_no_sense(change, message):
    with pytest.raises(InputError) as error:
        Plan(**{"divergence": KL, "num_clusters": (3,), **change})
    assert message in str(error.value)


def test_more_clusters_than_items():
    with pytest.raises(InputError) as error:
        fit(MemoryPasses(*draw(6)), Plan(KL, (2, 7)))
    assert str(error.value) == "k is 7, but there are only 6 items; expected at most 6."


def test_no_items():
    with pytest.raises(InputError, match=r"^there are no items to cluster\.$"):
        fit(MemoryPasses(np.empty((0, 2)), np.empty((0, 2))), Plan(KL, (1,)))


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [("log_var", -200.0, 80), ("log_var", 90.0, 80), ("mu", 1e16, "1e+15")],
)
def test_numbers_that_cannot_be_clustered(name, value, most):
    arrays = dict(zip(("mu", "log_var"), (x.astype(float) for x in draw(20)), strict=True))
    arrays[name][7, 1] = value
    with pytest.raises(InputError) as error:
        fit(MemoryPasses(**arrays, parts=3), Plan(KL, (2,)))
    assert str(error.value).startswith(
        f"item 'i00007' has a {name} of {value:g}; "
        f"items can be clustered with |{name}| up to {most}"
    )


def test_an_unknown_divergence():
    with pytest.raises(InputError) as error:
        divergence_named("cosine")
    assert str(error.value) == (
        "divergence is 'cosine'; expected one of kl, reverse_kl, jeffreys, wasserstein2, euclidean."
    )


def test_codes_that_the_kernels_do_not_know():
    items = Gaussians(np.zeros((1, 1)), np.zeros((1, 1)))

    class Unknown(type(KL)):
        code = 99

    with pytest.raises(ValueError, match=r"^no divergence has this code$"):
        nearest_centroids(KL.prepare(items), items, Unknown())
    one, anchors = np.zeros((1, 1)), np.zeros((1, 1, 1))
    with pytest.raises(ValueError, match=r"^no feature has this code$"):
        kernels.add_features(
            codes=np.array([99]),
            mu=one,
            dispersion=one,
            groups=np.zeros(1, np.int32),
            pivots=one,
            anchors=anchors,
            sums=anchors[None].copy(),
        )


def test_seeds_where_no_candidate_has_weight():
    candidates = Gaussians(np.arange(4.0)[:, None], np.zeros((4, 1)))
    weights = np.array([10.0, 0.0, 0.0, 0.0])
    seeds = choose_seeds(candidates, weights, 3, KL, (0,))
    assert len(np.unique(seeds.mu)) == 3
