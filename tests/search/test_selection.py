"""Rules that choose hits from candidates, against the same by plain loops over SciPy's formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.selections import distances, greedily, marginal_gains
from tests.support.tolerances import assert_within
from vaeudf.search.selection import Distinct, Diversified, relevance

# Items a grid apart: distances are equal or differ by far more than rounding.
CELLS = st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2)), min_size=0, max_size=40)


def items(cells):
    mu = np.array([[x, 2.0 * x] for x, _ in cells], float).reshape(-1, 2)
    log_var = np.array([[0.5 * y, -0.25 * y] for _, y in cells], float).reshape(-1, 2)
    return mu, log_var


@settings(deadline=None)
@given(CELLS, st.integers(1, 12), st.sampled_from([1e-3, 0.0817, 0.31, 1.03, 50.0]))
def test_hits_are_distinct(cells, k, nats):
    mu, log_var = items(cells)
    for tau in (0.0, 0.7):
        expected = greedily(distances(mu, log_var, tau), k, nats)
        chosen = Distinct(k, nats, tau).choose(mu, log_var, np.zeros(len(mu)))
        assert (chosen.rows.tolist(), chosen.hidden.tolist()) == expected


@settings(deadline=None)
@given(CELLS, st.integers(1, 12), st.sampled_from([0.03, 0.313, 0.5, 0.771, 1.0]))
def test_each_hit_gains_most(cells, k, weight):
    mu, log_var = items(cells)
    merits = -np.array([1.7 * x + abs(y) for x, y in cells], float).reshape(-1)
    order = np.argsort(-merits, kind="stable")
    cells = [cells[place] for place in order]
    mu, log_var, merits = mu[order], log_var[order], merits[order]
    for tau in (0.0, 0.7):
        hits = Diversified(k, weight, tau).choose(mu, log_var, merits).rows.tolist()
        assert len(hits) == len(set(hits)) == min(k, len(cells))
        between = distances(mu, log_var, tau)
        for place, hit in enumerate(hits):
            gains = marginal_gains(between, merits, hits[:place], weight)
            # Other items may gain the same but for rounding.
            assert_within(gains[hit], max(gains.values()), 1e-11, why="the rounding of a gain")
            copies = [row for row in gains if cells[row] == cells[hit]]
            assert hit == min(copies), "of equal items the first is taken"


def test_what_is_as_far_as_asked_is_distinct():
    mu, log_var = np.array([[0.0], [2.0], [4.0]]), np.zeros((3, 1))
    # ⅛ · 2² = ½, without rounding.
    assert Distinct(3, 0.5).choose(mu, log_var, np.zeros(3)).rows.tolist() == [0, 1, 2]
    assert Distinct(3, 0.500001).choose(mu, log_var, np.zeros(3)).rows.tolist() == [0, 2]


def test_what_comes_after_the_last_hit_is_not_counted():
    mu, log_var = np.array([[0.0], [0.0], [9.0], [0.0], [9.0]]), np.zeros((5, 1))
    chosen = Distinct(2, 0.1).choose(mu, log_var, np.zeros(5))
    assert (chosen.rows.tolist(), chosen.hidden.tolist()) == ([0, 2], [1, 0])
    chosen = Distinct(3, 0.1).choose(mu, log_var, np.zeros(5))
    assert (chosen.rows.tolist(), chosen.hidden.tolist()) == ([0, 2], [2, 1])


def test_an_extreme_weight_prefers_what_is_unlike_the_hits():
    mu, log_var = np.array([[0.0], [0.0], [0.1], [9.0]]), np.zeros((4, 1))
    merits = np.array([4.0, 3.0, 2.0, 1.0])
    assert Diversified(4, 1.0).choose(mu, log_var, merits).rows.tolist() == [0, 3, 2, 1]
    assert Diversified(4, 1e-9).choose(mu, log_var, merits).rows.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("merits", "scaled"),
    [
        ([], []),
        ([3.0, 3.0], [1, 1]),
        ([3.0, 2.0, 1.0], [1, 0.5, 0]),
        ([3.0, 1.0, -np.inf], [1, 0, 0]),
        ([3.0, -np.inf], [1, 0]),
        ([-np.inf, -np.inf], [1, 1]),
        ([1.7e308, 0.0, -1.7e308], [1, 0.5, 0]),
    ],
)
def test_relevance_is_scaled_within_the_candidates(merits, scaled):
    assert relevance(np.array(merits)).tolist() == scaled
