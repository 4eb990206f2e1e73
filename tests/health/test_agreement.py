"""Agreement of hits with pictures, against loops over all items."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.support.latent_space import curve
from tests.support.tolerances import assert_within
from vaeudf.decoding.sampled_pictures import PictureDistances
from vaeudf.health.agreement import (
    CANDIDATES,
    KINDS,
    Agreement,
    Estimates,
    choose_tau,
    draw_points,
    enough_candidates,
    measure_agreement,
)

TAUS = (0.0, 0.3)
QUERIES, STRUCTURED = 9, 4


class World:
    """Items, and how far their pictures are from what z's decode to: in another space than z."""

    def __init__(self, count=70, dims=2, seed=0):
        rng = np.random.default_rng(seed)
        self.mu = rng.normal(size=(count, dims))
        self.log_var = rng.normal(size=(count, dims)) - 2
        self.looks = self.mu + 0.5 * rng.normal(size=(count, dims))
        self.edges = rng.normal(size=(count, dims))
        self.ids = [f"item{i:03d}" for i in rng.permutation(count)]
        self.asked = []

    def compare(self, z, count):
        self.asked.append(z)
        errors = np.square(z[:, None] - self.looks).sum(axis=2)
        structure = np.square(z[:count, None] - self.edges).sum(axis=2)
        # A density that is not of the order of the error.
        return PictureDistances(errors, -np.abs(z[:, None] - self.looks).sum(axis=2), structure)

    def measured(self, **changed) -> Agreement:
        hubs = curve([[0.5, 0.5], [0.04, 0.02]], [0.01, 0.01], taus=TAUS)
        arguments = {
            "taus": TAUS, "hubs": hubs, "seed": 3, "queries": QUERIES, "structured": STRUCTURED,
        } | changed  # fmt: skip
        return measure_agreement(self.ids, self.mu, self.log_var, self.compare, **arguments)

    def log_q(self, z, row, tau):
        total = 0.0
        for value, mean, log_var in zip(z, self.mu[row], self.log_var[row], strict=True):
            variance = math.exp(log_var) + tau * tau
            total -= 0.5 * ((value - mean) ** 2 / variance + math.log(2 * math.pi * variance))
        return total

    def share(self, z, tau, candidates=None, by="looks"):
        """Of the ten nearest pictures to z, the share that is among its ten hits."""
        rows = range(len(self.ids))
        theirs = getattr(self, by)
        nearest = sorted(rows, key=lambda row: sum((z - theirs[row]) ** 2))[:10]
        hits = sorted(rows, key=lambda row: -self.log_q(z, row, tau))
        if candidates is not None:
            hits = sorted(hits[:candidates], key=lambda row: sum(abs(z - self.looks[row])))
        return len(set(nearest) & set(hits[:10])) / 10


def test_shares_are_those_of_loops():
    world = World()
    found = world.measured()
    assert (found.kinds, found.taus, found.candidates) == (KINDS, TAUS, (20, 50))
    assert (found.items, found.error.queries, found.structure.queries) == (70, QUERIES, STRUCTURED)
    for kind, points in enumerate(world.asked):
        for shares, by, z in (
            (found.error, "looks", points),
            (found.structure, "edges", points[:STRUCTURED]),
        ):
            for i, tau in enumerate(TAUS):
                expected = np.mean([world.share(one, tau, by=by) for one in z])
                assert round(shares.hits.mean[i, kind] - expected, 12) == 0
                for j, count in enumerate(found.candidates):
                    expected = np.mean([world.share(one, tau, count, by) for one in z])
                    assert round(shares.reranked.mean[i, j, kind] - expected, 12) == 0
        both = []
        for z in points[:STRUCTURED]:
            ten = [
                set(np.argsort(np.square(z - theirs).sum(axis=1))[:10].tolist())
                for theirs in (world.looks, world.edges)
            ]
            both.append(len(ten[0] & ten[1]) / 10)
        assert round(found.truths.mean[kind] - np.mean(both), 12) == 0


def test_the_order_of_the_items_does_not_matter():
    world, other = World(), World()
    order = np.random.default_rng(5).permutation(len(world.ids))
    other.ids = [world.ids[row] for row in order]
    for name in ("mu", "log_var", "looks", "edges"):
        setattr(other, name, getattr(world, name)[order])
    one, same, again = world.measured(), other.measured(), world.measured()
    for found in (same, again):
        for name in ("mean", "low", "high"):
            for of in ("hits", "reranked"):
                ours, theirs = (getattr(getattr(a.error, of), name) for a in (one, found))
                assert (ours == theirs).all()
        assert found.examples[0].reranked == one.examples[0].reranked
    other_seed = world.measured(seed=4)
    assert (other_seed.error.hits.mean != one.error.hits.mean).any()


def test_examples_are_the_first_hits_of_the_first_z():
    world = World()
    found = world.measured()
    assert [one.kind for one in found.examples] == list(KINDS)
    for one, points in zip(found.examples, world.asked, strict=True):
        assert (one.z == points[0]).all()
        rows = sorted(range(len(world.ids)), key=lambda row: -world.log_q(one.z, row, 0.0))
        assert one.literal == tuple(world.ids[row] for row in rows[:5])
        rows = sorted(rows, key=lambda row: -world.log_q(one.z, row, found.tau))
        assert one.tolerant == tuple(world.ids[row] for row in rows[:5])
        best = rows[: found.recommended_candidates]
        best = sorted(best, key=lambda row: sum(abs(one.z - world.looks[row])))
        assert one.reranked == tuple(world.ids[row] for row in best[:5])
        assert one.item_ids == {*one.literal, *one.tolerant, *one.reranked}


def test_where_hits_are_the_nearest_pictures():
    """With pictures as far apart as the posteriors' means, and equal variances."""
    world = World(300)
    world.log_var[:] = -1.0
    world.looks = world.mu
    found = world.measured(queries=30)
    for estimates in (found.error.hits,):
        for values in (estimates.mean, estimates.low, estimates.high):
            assert (values == 1).all()
    assert found.candidates == (20, 50, 100, 200)
    assert found.chance == 10 / 300 and found.tau == 0.3  # 0 is not even
    world.edges = world.mu
    assert (world.measured().truths.mean == 1).all()


def test_what_is_even_is_what_the_hubs_say():
    world = World()
    assert world.measured().even == (False, True)
    uneven = curve([[0.5, 0.5], [0.5, 0.02]], [0.01, 0.01], taus=TAUS)
    assert world.measured(hubs=uneven).even == (False, False)
    # The literal rule is always measured, but not recommended unless it was asked for.
    only = world.measured(taus=(0.3,), hubs=curve([[0.04, 0.02]], [0.01, 0.01], taus=(0.3,)))
    assert (only.taus, only.even, only.literal) == ((0.0, 0.3), (False, True), 0)


def test_points_are_of_their_kinds():
    mu = 100.0 * np.arange(40.0)[:, None] + np.zeros(3)
    near, prior, three, five = draw_points(mu, 2_000, seed=1)
    assert_within(near, 100 * np.rint(near / 100), 5 * 0.5, why="five sigmas of the noise")
    noise = near - 100 * np.rint(near / 100)
    for z, spread in ((noise, 0.5), (prior, 1.0), (three, 3 / 3**0.5), (five, 5 / 3**0.5)):
        bound = 5 * spread / 6_000**0.5
        assert_within(z.mean(), 0.0, bound, why="five standard errors")
        assert_within(z.std(), spread, bound, why="five standard errors")
    assert np.abs(three).max() <= 3 < np.abs(five).max() <= 5
    assert len(np.unique(np.rint(draw_points(mu, 40, seed=1)[0][:, 0] / 100))) == 40


def test_intervals_are_those_of_the_bootstrap():
    world = World(120, seed=2)
    found = world.measured(queries=80)
    rng = np.random.default_rng(0)
    shares = np.array([world.share(z, 0.3) for z in world.asked[1]])
    means = [rng.choice(shares, len(shares)).mean() for _ in range(4_000)]
    low, high = np.percentile(means, [2.5, 97.5])
    # The ends of two bootstraps differ by their own sampling: √(p(1-p)/B) by the density there,
    # which is 0.058 / sigma of the mean.
    error = shares.std() / 80**0.5 * (0.025 * 0.975 / 2_000) ** 0.5 / 0.058
    bound = 5 * 2 * error + 0.1 / 80
    assert_within(found.error.hits.low[1, 1], low, bound, why="two bootstraps")
    assert_within(found.error.hits.high[1, 1], high, bound, why="two bootstraps")


def estimates(low):
    low = np.array(low, np.float64)
    return Estimates(low, low, low)


@pytest.mark.parametrize(
    ("low", "expected"),
    [
        ([[0.5, 0.95], [0.91, 0.97], [0.99, 0.99]], 1),
        ([[0.5, 0.95], [0.7, 0.6], [0.7, 0.65]], 2),
        ([[0.5, 0.6], [0.7, 0.5], [0.6, 0.5]], 0),
        ([[0.95, 0.95], [0.99, 0.99], [1.0, 1.0]], 0),
    ],
)
def test_enough_candidates(low, expected):
    assert enough_candidates(estimates([low]), 0) == expected


def test_the_smallest_tolerance_that_is_as_good():
    rng = np.random.default_rng(0)
    common = 0.5 + 0.1 * rng.normal(size=1000)
    # What all have in common says nothing of which is best.
    shares = np.stack([common - 0.2, common - 0.05, common, common - 0.001])
    shares[2] += 0.004 * rng.normal(size=1000)
    shares[3] += 0.004 * rng.normal(size=1000)
    assert choose_tau(shares, [True] * 4) == 2
    assert choose_tau(shares, [False, True, False, True]) == 3
    assert choose_tau(shares, [False, True, False, False]) == 1
    assert choose_tau(shares, [False] * 4) == 2
    assert choose_tau(np.ones((3, 50)), [True] * 3) == 0


def test_candidates_in_a_larger_table():
    found = World().measured()
    share = found.recommended_candidates / 70
    assert found.candidates_among(70) == found.recommended_candidates
    assert found.candidates_among(7_000_000) == round(7_000_000 * share)
    assert found.candidates_among(71) == math.ceil(71 * share)
    assert all(count < 70 for count in found.candidates) and CANDIDATES[0] in found.candidates
