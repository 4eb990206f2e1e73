"""All near pairs in memory, against float64 brute force by formulas of their own."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.cases import each_value_once
from tests.support.near_pairs import KINDS, ORACLES, certain_and_possible, pairs_of, scattered
from tests.support.tolerances import assert_same_scores
from vaeudf.copies import join
from vaeudf.copies.join import Coordinates, Items, divergences_of_pairs
from vaeudf.copies.threshold import DIVERGENCES, Threshold


def coordinates(threshold, mu, log_var):
    return Coordinates.of(threshold, mu, log_var, log_var.max(axis=0).astype(np.float64))


def joined(threshold, mu, log_var):
    """All pairs of rows, those of equal rows included; each must come once."""
    items = Items(coordinates(threshold, mu, log_var), mu, log_var)
    rows = [np.flatnonzero(items.firsts == place) for place in range(len(items.distinct))]
    found = [(a, b) for own in rows for i, a in enumerate(own.tolist()) for b in own[i + 1 :]]
    for pairs in items.near_pairs():
        for one, other in zip(pairs.one, pairs.other, strict=True):
            found += [(a, b) for a in rows[one].tolist() for b in rows[other].tolist()]
    as_set = pairs_of(*zip(*found, strict=True)) if found else set()
    assert len(as_set) == len(found)
    return as_set


@each_value_once(
    ("kind", KINDS),
    ("name", DIVERGENCES),
    ("n", (1, 2, 10, 64)),
    ("nats", (0.1, 0.0, 2.0)),
    ("dtype", (np.float32, np.float64)),
)
def test_the_pairs_are_those_of_brute_force(kind, name, n, nats, dtype):
    rng = np.random.default_rng([KINDS.index(kind), n])
    mu, log_var = (array.astype(dtype) for array in scattered(rng, 420, n, kind))
    certain, possible = certain_and_possible(name, nats, mu, log_var)
    found = joined(Threshold(name, nats), mu, log_var)
    assert certain <= found <= possible
    assert kind in ("apart", "outliers", "one dimension differs", "extreme") or nats == 0 or found


@pytest.mark.parametrize("name", DIVERGENCES)
def test_pairs_of_two_sets(name):
    rng = np.random.default_rng(7)
    mu, log_var = scattered(rng, 900, 6, "clumps")
    threshold = Threshold(name, 0.05)
    certain, possible = certain_and_possible(name, 0.05, mu, log_var)
    same = coordinates(threshold, mu, log_var)
    split = 250
    one = Items(same, mu[:split], log_var[:split])
    other = Items(same, mu[split:], log_var[split:])
    found = set()
    for pairs in one.near_pairs(other):
        new = pairs_of(one.distinct[pairs.one], split + other.distinct[pairs.other])
        assert len(new) == len(pairs.one) and not new & found
        found |= new

    def across(pairs):
        return {pair for pair in pairs if (pair[0] < split) != (pair[1] < split)}

    assert across(certain) <= found <= across(possible)
    assert len(found) > 100


@pytest.mark.parametrize("name", DIVERGENCES)
def test_values_are_the_divergences(name):
    rng = np.random.default_rng(1)
    mu, log_var = scattered(rng, 300, 5, "clumps")
    threshold = Threshold(name, 0.5)
    items = Items(coordinates(threshold, mu, log_var), mu, log_var)
    (pairs,) = items.near_pairs()
    one, other = items.distinct[pairs.one], items.distinct[pairs.other]
    wide = [array.astype(np.float64) for array in (mu, log_var)]
    expected = ORACLES[name](*wide, *wide)[one, other]
    assert_same_scores(pairs.values, expected, log_var, dims=5)
    rows = [array[side] for side in (one, other) for array in wide]
    assert np.array_equal(divergences_of_pairs(threshold, *rows), pairs.values)
    # A pair has one divergence, whichever of the two comes first.
    assert np.array_equal(divergences_of_pairs(threshold, *rows[2:], *rows[:2]), pairs.values)


def test_a_pair_at_the_threshold_is_one():
    """Of variance 1 at distance 1 the divergence is 1 nat, without rounding."""
    mu, log_var = np.array([[0.0], [1.0], [2.0 + 1e-9]]), np.zeros((3, 1))
    assert joined(Threshold("jeffreys", 1.0), mu, log_var) == {(0, 1)}
    assert joined(Threshold("jeffreys", np.nextafter(1.0, 0)), mu, log_var) == set()
    assert joined(Threshold("bhattacharyya", 0.125), mu, log_var) == {(0, 1)}
    assert joined(Threshold("bhattacharyya", np.nextafter(0.125, 0)), mu, log_var) == set()


def test_no_items_and_one():
    threshold = Threshold("jeffreys", 0.1)
    for count in (0, 1):
        mu = log_var = np.zeros((count, 3), np.float32)
        items = Items(Coordinates.of(threshold, mu, log_var, np.zeros(3)), mu, log_var)
        assert list(items.near_pairs()) == [] or sum(len(p.one) for p in items.near_pairs()) == 0


def test_zeros_of_both_signs_are_equal():
    mu = np.array([[0.0, 1.0], [-0.0, 1.0]], np.float32)
    assert joined(Threshold("jeffreys", 0.0), mu, np.zeros_like(mu)) == {(0, 1)}


def test_more_pairs_than_are_handed_on_at_a_time(monkeypatch):
    monkeypatch.setattr(join, "_PAIRS", 5_000)
    mu = np.random.default_rng(2).normal(0, 1e-6, (400, 3)).astype(np.float32)
    found = joined(Threshold("jeffreys", 0.1), mu, np.zeros_like(mu))
    assert len(found) == 400 * 399 // 2


def test_few_of_all_pairs_are_compared():
    rng = np.random.default_rng(3)
    mu, log_var = scattered(rng, 20_000, 8, "near")
    items = Items(coordinates(Threshold("jeffreys", 0.1), mu, log_var), mu, log_var)
    assert sum(pairs.compared for pairs in items.near_pairs()) < 40 * len(mu)


def test_an_outlier_does_not_decide_how_items_are_split():
    """By the variance alone, dimension 0 would be split again and again, in vain."""
    rng = np.random.default_rng(4)
    mu = rng.normal(size=(20_000, 3)).astype(np.float32)
    mu[:, 0] = 0.0
    mu[::50, 0] = 1e12
    log_var = np.full_like(mu, -8.0)
    items = Items(coordinates(Threshold("jeffreys", 0.1), mu, log_var), mu, log_var)
    assert sum(pairs.compared for pairs in items.near_pairs()) < 100 * len(mu)
