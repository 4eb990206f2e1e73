"""Each divergence against torch.distributions, its centroid against a general minimiser."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from tests.support.divergences import (
    EVERY_DIVERGENCE,
    REFERENCES,
    centroid_by_search,
    centroid_of,
    draw_clusters,
    reference,
)
from tests.support.jobs import ROOT
from tests.support.passes import MemoryPasses, surveyed
from tests.support.tolerances import (
    SCORE,
    assert_same_float64,
    assert_same_minimum,
    assert_same_scores,
    assert_sampled,
    assert_within,
    score_bound,
)
from vaeudf.clustering.divergences import (
    DIVERGENCES,
    JEFFREYS,
    KL,
    REVERSE_KL,
    divergence_named,
)
from vaeudf.clustering.ranges import Ranges
from vaeudf.clustering.tallies import Anchors, tally_all
from vaeudf.errors import InputError
from vaeudf.gaussian.arrays import Gaussians


def test_every_divergence_has_a_reference_and_a_code_of_its_own():
    assert list(REFERENCES) == list(DIVERGENCES)
    assert len({divergence.code for divergence in DIVERGENCES.values()}) == len(DIVERGENCES)


@EVERY_DIVERGENCE
def test_what_pages_say_of_it(divergence):
    assert divergence.meaning
    assert divergence.unit == ("" if divergence.squared else "nats")


def test_the_documentation_has_a_row_for_every_divergence():
    text = (ROOT / "docs" / "clustering.md").read_text()
    section = text.split("\n## Divergences, and their centroids\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", section, re.M)
    assert rows == list(DIVERGENCES), "the table of divergences in docs/clustering.md"


@EVERY_DIVERGENCE
def test_of_pairs(divergence):
    one, other = (
        Gaussians(*(x.astype(float) for x in draw_clusters(40, 5, seed=seed))) for seed in (0, 1)
    )
    expected = reference(divergence.name, one.mu, one.log_var, other.mu, other.log_var)
    found = divergence.of_pairs(one, other)
    assert_same_scores(found, np.diagonal(expected), one.log_var, other.log_var, dims=5)
    for row in range(40):
        at = np.array([row])
        assert divergence.of_pairs(one.take(at), other.take(at))[0] == found[row]
    assert (divergence.of_pairs(one, one) == 0).all()


@EVERY_DIVERGENCE
def test_what_people_see_of_squares_is_their_root(divergence):
    squared = REFERENCES[divergence.name].squared
    assert divergence.squared is squared
    assert divergence.reported(np.array([4.0, 0.0])).tolist() == ([2, 0] if squared else [4, 0])


@EVERY_DIVERGENCE
def test_items_as_they_are_measured(divergence):
    items, other = (
        Gaussians(*(x.astype(float) for x in draw_clusters(9, 2, seed=s))) for s in (0, 1)
    )
    measured = divergence.as_measured(items)
    np.testing.assert_array_equal(
        divergence.of_pairs(measured, other), divergence.of_pairs(items, other)
    )
    assert (measured.log_var == items.log_var).all() == divergence.measures_variances


@EVERY_DIVERGENCE
def test_it_can_be_sent_to_a_task(divergence):
    assert pickle.loads(pickle.dumps(divergence)).name == divergence.name
    assert divergence.name in repr(divergence)


@EVERY_DIVERGENCE
@pytest.mark.parametrize("seed", range(3))
def test_a_centroid_has_the_least_mean_divergence(divergence, seed):
    mu, log_var = draw_clusters(60, 2, seed=seed, clusters=2)
    got = centroid_of(divergence, mu, log_var)
    if not divergence.measures_variances:
        mean = mu.mean(axis=0, dtype=float)
        added = np.abs(mu).mean(axis=0, dtype=float)
        assert_same_float64(got.mu[0], mean, terms=len(mu), magnitude=added)
        return
    expected = centroid_by_search(divergence.name, mu.astype(float), log_var.astype(float))
    assert_same_minimum([got.mu[0], got.log_var[0]], expected)
    costs = [
        reference(divergence.name, mu, log_var, [m], [v]).mean()
        for m, v in ((got.mu[0], got.log_var[0]), expected)
    ]
    assert costs[0] <= costs[1] * (1 + 1e-12), "and a general minimiser finds no better"


def test_moment_matching_is_that_of_the_mixture():
    mu, log_var = draw_clusters(500, 4)
    rng = np.random.default_rng(0)
    which = rng.integers(500, size=400_000)
    sample = mu[which] + np.exp(0.5 * log_var[which]) * rng.normal(size=(400_000, 4))
    got = centroid_of(KL, mu, log_var)
    error = sample.std(axis=0) / np.sqrt(400_000)
    assert_sampled(got.mu[0], sample.mean(axis=0), standard_error=error)
    squares = (sample - sample.mean(axis=0)) ** 2
    error = squares.std(axis=0) / squares.mean(axis=0) / np.sqrt(400_000)
    assert_sampled(got.log_var[0], np.log(sample.var(axis=0)), standard_error=error)


@EVERY_DIVERGENCE
def test_means_far_from_zero_with_narrow_posteriors(divergence):
    rng = np.random.default_rng(0)
    mu = 1e4 + rng.normal(0, 1e-3, (200, 2))
    log_var = np.log(rng.uniform(1e-6, 2e-6, (200, 2)) ** 2)
    start = mu.mean(axis=0)
    got = centroid_of(divergence, mu, log_var, pivot=float(mu[0, 0]))
    shifted = centroid_of(divergence, mu - start, log_var)
    assert_same_float64(got.mu - start, shifted.mu, terms=SCORE, magnitude=1e4)
    # mu, beside its spread, has seven digits fewer.
    assert_same_float64(got.log_var, shifted.log_var, terms=SCORE, magnitude=1e4 / 1e-3)


@EVERY_DIVERGENCE
def test_the_medoid_has_the_least_total(divergence):
    mu, log_var = (x.astype(float) for x in draw_clusters(70, 3, seed=6))
    items, passes = Gaussians(mu, log_var), MemoryPasses(mu, log_var)
    start, found = items.take(np.array([5])), surveyed(passes)
    [tally] = tally_all(passes, [start], divergence, Anchors.of(divergence, found))
    least = found.ranges.low_log_var
    targets = divergence.medoid_targets(tally.means(), start, least)
    own = np.zeros(70, int)
    costs = divergence.medoid_cost(items, tuple(target.take(own) for target in targets))
    totals = reference(divergence.name, mu, log_var, mu, log_var).sum(axis=0)
    # What a total exceeds the least one by is N times what the cost does.
    # Both are differences of totals, each of which adds 70 divergences in 3 dimensions.
    bound = 2 * score_bound(totals.max(), log_var, log_var, dims=3 * 70, items=70)
    assert_within(
        (costs - costs.min()) * 70, totals - totals.min(), bound, why="differences of totals"
    )


@EVERY_DIVERGENCE
def test_bounds_hold(divergence):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scale = 10.0 ** rng.integers(-4, 5)
        mu = rng.normal(0, scale, (50, 2))
        log_var = rng.uniform(-20, 8, (50, 2))
        items = Gaussians(mu, log_var)
        ranges = Ranges.of(items)
        for centroids in (items, centroid_of(divergence, mu, log_var, pivot=mu[0, 0])):
            worst = reference(divergence.name, mu, log_var, centroids.mu, centroids.log_var).max()
            assert worst <= divergence.bound(ranges)


def test_medoid_targets_of_jeffreys_are_two():
    mu, log_var = draw_clusters(50, 2)
    passes = MemoryPasses(mu, log_var)
    start = Gaussians(np.zeros((1, 2)), np.zeros((1, 2)))
    first = surveyed(passes)
    [tally] = tally_all(passes, [start], JEFFREYS, Anchors.of(JEFFREYS, first))
    targets = JEFFREYS.medoid_targets(tally.means(), start, first.ranges.low_log_var)
    for target, divergence in zip(targets, (KL, REVERSE_KL), strict=True):
        expected = centroid_of(divergence, mu, log_var)
        largest = np.abs(mu).max()
        assert_same_float64(target.mu, expected.mu, terms=50 + SCORE, magnitude=largest)
        cancelled = np.maximum(largest**2 * np.exp(-expected.log_var), 1)
        found = target.log_var
        assert_same_float64(found, expected.log_var, terms=50 + SCORE, magnitude=cancelled)


def test_an_unknown_divergence():
    with pytest.raises(InputError) as error:
        divergence_named("cosine")
    names = ", ".join(DIVERGENCES)
    assert str(error.value) == f"divergence is 'cosine'; expected one of {names}."
