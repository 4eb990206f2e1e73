"""k-means of Gaussians against a plain float64 version that shares no code with it."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.divergences import (
    EVERY_DIVERGENCE,
    REFERENCES,
    centroid_by_search,
    centroid_of,
    draw_clusters,
    reference,
)
from tests.support.passes import MemoryPasses
from tests.support.tolerances import (
    ROOT_FLOAT64,
    SCORE,
    assert_same_float64,
    assert_same_minimum,
    assert_same_scores,
    assert_within,
    near_score,
)
from vaeudf.clustering import lloyd, seeding
from vaeudf.clustering.assignment import assign, nearest_centroids
from vaeudf.clustering.divergences import DIVERGENCES, EUCLIDEAN, JEFFREYS, KL, divergence_named
from vaeudf.clustering.lloyd import fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.summaries import summarise
from vaeudf.clustering.tallies import tally_all
from vaeudf.clustering.weighted_items import WeightedItems
from vaeudf.errors import InputError
from vaeudf.gaussian.arrays import Gaussians


def plain_kmeans(name, mu, log_var, m, log_v, iterations):
    """Plain k-means from given centroids on; objectives, labels, centroids."""
    mu, log_var = np.asarray(mu, np.float64), np.asarray(log_var, np.float64)
    objectives = []
    for step in range(iterations):
        distances = reference(name, mu, log_var, m, log_v)
        labels = distances.argmin(axis=1)
        objectives.append(distances.min(axis=1).mean())
        if step + 1 == iterations:
            return objectives, labels, m, log_v
        m, log_v = m.copy(), log_v.copy()
        for c in range(len(m)):
            own, s = mu[labels == c], np.exp(log_var[labels == c])
            if len(own) == 0:
                raise AssertionError("the plain version does not reseed")
            if REFERENCES[name].centroid is not None:
                m[c], log_v[c] = REFERENCES[name].centroid(own, s)
            else:
                m[c], log_v[c] = centroid_by_search(name, own, np.log(s))
    raise AssertionError


@pytest.mark.parametrize("name", [n for n, one in REFERENCES.items() if one.centroid])
def test_it_equals_a_plain_version(name, monkeypatch):
    mu, log_var = draw_clusters(600, 3, seed=5)
    start = Gaussians(mu[:5].astype(float), log_var[:5].astype(float))
    monkeypatch.setattr(lloyd, "choose_seeds", lambda *_, **__: start)
    plan = Plan(divergence_named(name), (5,), restarts=1, max_iterations=12, min_improvement=0.0)
    passes = MemoryPasses(mu, log_var, parts=4, rows=37)
    fitted = fit(passes, plan)
    [trial] = fitted.trials
    taken = len(trial.objectives)
    objectives, labels, m, log_v = plain_kmeans(name, mu, log_var, start.mu, start.log_var, taken)
    logs = log_var, trial.centroids.log_var
    assert_same_scores(trial.objectives, objectives, *logs, dims=3, items=600)
    largest = np.abs(mu).max()
    assert_same_float64(trial.centroids.mu, m, terms=600 + SCORE, magnitude=largest)
    # The square of a mean is taken from the mean of squares.
    cancelled = np.maximum(largest**2 * np.exp(-log_v), 1)
    assert_same_float64(trial.centroids.log_var, log_v, terms=600 + SCORE, magnitude=cancelled)
    np.testing.assert_array_equal(trial.tally.counts, np.bincount(labels, minlength=5))
    [best] = fitted.best()
    assert best.tally.counts.tolist() == sorted(np.bincount(labels).tolist(), reverse=True)


def test_jeffreys_equals_a_plain_version_with_a_general_minimiser(monkeypatch):
    mu, log_var = draw_clusters(80, 2, seed=1, clusters=2)
    start = Gaussians(mu[:2].astype(float), log_var[:2].astype(float))
    monkeypatch.setattr(lloyd, "choose_seeds", lambda *_, **__: start)
    plan = Plan(JEFFREYS, (2,), restarts=1, max_iterations=4, min_improvement=0.0)
    [trial] = fit(MemoryPasses(mu, log_var), plan).trials
    taken = len(trial.objectives)
    objectives, _, m, _ = plain_kmeans("jeffreys", mu, log_var, start.mu, start.log_var, taken)
    assert_same_minimum(trial.objectives, objectives)
    assert_same_minimum(trial.centroids.mu, m)


def poor_seeds(sample, k, *, seed):
    """Items, others for each restart: from there k-means has a long way to go."""
    return sample.items.take(np.random.default_rng(seed).permutation(len(sample))[:k])


@EVERY_DIVERGENCE
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 9), scale=st.sampled_from([1e-3, 1.0, 1e4]))
def test_the_objective_never_rises(divergence, seed, k, scale):
    rng = np.random.default_rng(seed)
    mu = rng.standard_t(2, (60, 2)) * scale
    log_var = rng.uniform(-27, 13, (60, 2))
    plan = Plan(divergence, (k,), restarts=2, seed=seed, min_improvement=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lloyd, "choose_seeds", poor_seeds)
        trials = fit(MemoryPasses(mu, log_var, parts=3), plan).trials
    for trial in trials:
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
    for name, divergence in DIVERGENCES.items():
        if divergence.measures_variances:
            assert agreement[name] == 1.0, name
        else:
            assert abs(agreement[name]) < 0.05, f"{name}: which the means alone cannot tell"


def adjusted_rand(one, other):
    """Hubert and Arabie, 1985."""
    table = np.zeros((max(one) + 1, max(other) + 1))
    np.add.at(table, (one, other), 1)

    def pairs(x):
        return (x * (x - 1) / 2).sum()

    rows, columns = pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / pairs(np.array([len(one)]))
    return (pairs(table) - expected) / ((rows + columns) / 2 - expected)


@EVERY_DIVERGENCE
def test_neither_partitions_nor_order_change_a_bit(divergence, monkeypatch):
    if divergence is KL:
        # With a sample of some of the items, and all that is done to find seeds in it.
        monkeypatch.setattr(seeding, "_LEAST_SAMPLE", 100)
        monkeypatch.setattr(seeding, "_ITEMS_PER_CLUSTER", 1)
    else:
        monkeypatch.setattr(lloyd, "choose_seeds", poor_seeds)
    mu, log_var = draw_clusters(500, 3, seed=2)
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
        summaries = summarise(one, fitted, fitted.best(), num_nearest=4)
        assert summaries == summarise(other, again, again.best(), num_nearest=4)
        assert [len(own) for own in summaries] == [2, 5]


@EVERY_DIVERGENCE
def test_ties_among_far_items_go_by_their_numbers(divergence, monkeypatch):
    """More items equally far than a pass keeps, one cluster empty: the order must not matter."""
    angles = [(x, y) for x in range(-65, 66) for y in range(-65, 66) if x * x + y * y == 65**2]
    assert len(angles) == 36
    mu = np.vstack([np.zeros((200, 2)), angles]).astype(float)
    log_var = np.zeros_like(mu)
    start = Gaussians(np.array([[0.0, 0.0], [900.0, 900.0], [901.0, 901.0]]), np.zeros((3, 2)))
    monkeypatch.setattr(lloyd, "choose_seeds", lambda *_, **__: start)
    rng = np.random.default_rng(0)
    found = set()
    for rows in (3, 7, 50, 300):
        passes = MemoryPasses(mu, log_var, parts=3, rows=rows, order=rng.permutation(len(mu)))
        [trial] = fit(passes, Plan(divergence, (3,), restarts=1)).trials
        assert trial.reseeded == 2
        found.add((trial.objectives, trial.centroids.mu.tobytes()))
    assert len(found) == 1


@pytest.mark.parametrize("divergence", [KL, JEFFREYS], ids=lambda d: d.name)
def test_a_centroid_very_far_from_all_its_items(divergence, monkeypatch):
    rng = np.random.default_rng(0)
    mu = rng.normal(0, 1e-5, (30, 1))
    log_var = np.full_like(mu, np.log(1e-10))
    log_var[3] = np.log(1e-12)
    start = Gaussians(np.array([[1e4]]), np.array([[np.log(1e-10)]]))
    monkeypatch.setattr(lloyd, "choose_seeds", lambda *_, **__: start)
    plan = Plan(divergence, (1,), min_improvement=1e-6)
    [trial] = fit(MemoryPasses(mu, log_var), plan).trials
    expected = centroid_of(divergence, mu, log_var)
    for found, right in zip(
        (trial.centroids.mu, trial.centroids.log_var), (expected.mu, expected.log_var), strict=True
    ):
        assert_within(found, right, ROOT_FLOAT64 * np.abs(right), why="the last improvement")
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
    monkeypatch.setattr(lloyd, "choose_seeds", lambda *_, **__: start)
    sample = WeightedItems.of(start, np.ones(2), KL)
    monkeypatch.setattr(lloyd, "draw_sample", lambda *_: sample)
    [trial] = fit(MemoryPasses(mu, mu), Plan(KL, (2,), restarts=1)).trials
    assert trial.converged and len(trial.objectives) == 2 and trial.reseeded == 0


def test_seeds_matter_and_repeat():
    rng = np.random.default_rng(0)
    passes = MemoryPasses(rng.uniform(size=(300, 4)), np.full((300, 4), -6.0))
    first, again, other = (
        fit(passes, Plan(KL, (12,), restarts=1, seed=seed)).trials[0] for seed in (1, 1, 2)
    )
    assert first.objectives == again.objectives != other.objectives


@pytest.mark.parametrize(("sample", "draws"), [(1000, 0), (60, 2)])
def test_all_trials_share_the_passes(sample, draws, monkeypatch):
    monkeypatch.setattr(seeding, "_LEAST_SAMPLE", sample)
    monkeypatch.setattr(seeding, "_ITEMS_PER_CLUSTER", 1)
    passes = MemoryPasses(*draw_clusters(300, 2))
    fitted = fit(passes, Plan(KL, (2, 3, 4), restarts=2))
    longest = max(len(trial.objectives) for trial in fitted.trials)
    assert [(t.k, t.restart) for t in fitted.trials] == [(k, r) for k in (2, 3, 4) for r in (0, 1)]
    # One to survey and, where that does not take all items, two to draw; then one an iteration.
    assert passes.count == 1 + draws + longest


def test_a_set_that_cannot_win_is_dropped(monkeypatch):
    """Three groups: two seeds in one of them stay there, and are given up once they rest."""
    rng = np.random.default_rng(0)
    mu = np.repeat([[0.0], [10.0], [100.0]], 50, axis=0) + rng.normal(0, 1, (150, 1))
    good, bad = ([[0.0], [10.0], [100.0]], [[5.0], [99.0], [101.0]])

    def choose(sample, k, *, seed):
        seeds = np.array(bad if seed[-1] == 0 else good)
        return Gaussians(seeds, np.zeros_like(seeds))

    monkeypatch.setattr(lloyd, "choose_seeds", choose)
    plan = Plan(EUCLIDEAN, (3,), restarts=2, min_improvement=0.0)
    fitted = fit(MemoryPasses(mu, np.zeros_like(mu)), plan)
    assert [trial.dropped for trial in fitted.trials] == [True, False]
    lost, won = fitted.trials
    assert not lost.converged and won.converged and lost.objective > 5 * won.objective
    assert fitted.best()[0].restart == 1


def test_equal_seeds_are_counted_once(monkeypatch):
    counted = []

    def count(passes, sets, *others):
        counted.append(len(sets))
        return tally_all(passes, sets, *others)

    monkeypatch.setattr(lloyd, "tally_all", count)
    mu = np.repeat([[0.0], [50.0]], 40, axis=0) + np.arange(80)[:, None] / 80
    fitted = fit(MemoryPasses(mu, np.zeros_like(mu)), Plan(KL, (2,), restarts=3))
    assert set(counted) == {1}
    assert len(fitted.trials) == 3 and len({trial.objectives for trial in fitted.trials}) == 1


def test_more_clusters_have_a_lower_objective():
    fitted = fit(MemoryPasses(*draw_clusters(400, 3)), Plan(KL, tuple(range(1, 9)), restarts=1))
    assert (np.diff([trial.objective for trial in fitted.best()]) < 0).all()


def test_empty_clusters_are_reseeded_and_that_is_said(monkeypatch, caplog):
    mu, log_var = draw_clusters(300, 2, clusters=3)
    far = np.full((2, 2), 500.0)
    start = Gaussians(
        np.vstack([mu[:2], far]).astype(float), np.vstack([log_var[:2], [[-9, -9]] * 2])
    )
    monkeypatch.setattr(lloyd, "choose_seeds", lambda *_, **__: start)
    with caplog.at_level(logging.INFO, "vaeudf"):
        [trial] = fit(MemoryPasses(mu, log_var, parts=3), Plan(KL, (4,), restarts=1)).trials
    assert (trial.tally.counts > 0).all() and trial.reseeded == 2
    assert "k = 4, restart 0, iteration 1: 2 empty clusters are reseeded" in caplog.text
    assert (np.diff(trial.objectives) <= 0).all()


@pytest.mark.parametrize("most", [1, 100])
def test_variances_of_euclidean_clusters_are_those_of_their_items(most):
    mu, log_var = draw_clusters(300, 3, seed=9)
    passes = MemoryPasses(mu, log_var)
    [trial] = fit(passes, Plan(EUCLIDEAN, (4,), restarts=1, max_iterations=most)).best()
    labels, _ = assign(passes.items, trial.centroids, EUCLIDEAN, trial.ranks)
    for number in range(4):
        own = labels == number
        expected = mu[own].astype(float).var(axis=0) + np.exp(log_var[own].astype(float)).mean(0)
        added = (mu[own].astype(float) ** 2).mean(axis=0) + expected
        found = np.exp(trial.centroids.log_var[number])
        assert_same_float64(found, expected, terms=2 * own.sum(), magnitude=added)


@EVERY_DIVERGENCE
@pytest.mark.parametrize("k", [1, 2, 5])
def test_as_many_clusters_as_items(divergence, k):
    mu, log_var = draw_clusters(5, 2, seed=9, clusters=5)
    [trial] = fit(MemoryPasses(mu[:k], log_var[:k]), Plan(divergence, (k,))).best()
    assert trial.tally.counts.tolist() == [1] * k
    assert trial.objective == near_score(0.0, log_var, log_var, dims=2, items=k)


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


def test_more_clusters_than_items():
    with pytest.raises(InputError) as error:
        fit(MemoryPasses(*draw_clusters(6)), Plan(KL, (2, 7)))
    assert str(error.value) == "k is 7, but there are only 6 items; expected at most 6."
