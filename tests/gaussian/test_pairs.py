"""Divergences row by row: as for all pairs, and as torch.distributions has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from tests.support.tolerances import SCORE, assert_same_float64, assert_same_scores, assert_within
from vaeudf import gaussian
from vaeudf.gaussian.pairs import kl_of_pairs, sum_over_dims


def draw(count, n, seed=0):
    rng = np.random.default_rng(seed)
    mu, log_var = rng.normal(size=(count, n)), rng.normal(-3, 1, size=(count, n))
    return mu, log_var, mu + rng.normal(size=mu.shape), log_var + rng.normal(size=mu.shape)


def test_as_torch_has_it():
    mu, log_var, other_mu, other_log_var = draw(500, 4)
    one, other = (
        Normal(torch.from_numpy(m), torch.from_numpy(np.exp(0.5 * v)))
        for m, v in ((mu, log_var), (other_mu, other_log_var))
    )
    found = kl_of_pairs(mu, log_var, other_mu, other_log_var)
    expected = kl_divergence(one, other).sum(dim=1)
    assert_same_scores(found, expected, log_var, other_log_var, dims=4)


@pytest.mark.parametrize("n", [1, 3, 17])
def test_the_same_bits_as_for_all_pairs(n):
    pairs = draw(60, n)
    expected = np.diagonal(gaussian.kl_divergence(*pairs))
    np.testing.assert_array_equal(kl_of_pairs(*pairs), expected)


@pytest.mark.parametrize("n", [1, 3, 17, 200])
def test_a_row_does_not_depend_on_the_others(n):
    pairs = draw(40, n)
    whole = kl_of_pairs(*pairs)
    for row in range(40):
        [alone] = kl_of_pairs(*(array[row : row + 1] for array in pairs))
        assert alone == whole[row]


def test_zero_at_itself_and_never_below():
    mu, log_var, *_ = draw(1000, 2)
    assert (kl_of_pairs(mu, log_var, mu, log_var) == 0).all()
    nearly = np.nextafter(log_var, np.inf)
    assert (kl_of_pairs(mu, log_var, mu, nearly) >= 0).all()


def test_nearly_equal_gaussians_lose_no_digits():
    """For d → 0, KL is d² / 4 of a log variance's, and half the square of a mean's in sigmas."""
    d = 1e-5
    zero, small = np.zeros((1, 1)), np.full((1, 1), d)
    assert_within(kl_of_pairs(zero, small, zero, zero), [d**2 / 4], d**3 / 8, why="the next order")
    assert_same_float64(kl_of_pairs(small, zero, zero, zero), [d**2 / 2], terms=SCORE)


def test_beyond_float64_is_infinite():
    values = (1e200, 0.0, -1e200, -1e3)
    assert kl_of_pairs(*(np.array([[value]]) for value in values)) == np.inf


def test_no_rows_and_no_dimensions():
    assert kl_of_pairs(*np.empty((4, 0, 3))).shape == (0,)
    assert sum_over_dims(np.empty((2, 0))).tolist() == [0.0, 0.0]
