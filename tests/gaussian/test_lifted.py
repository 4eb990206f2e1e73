"""Lifted vectors: their products are log-likelihoods."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from tests.support.tolerances import UNIT_FLOAT32, assert_within, gamma
from vaeudf.gaussian.lifted import lift_items, lift_queries, square_norms, with_equal_norms


@pytest.mark.parametrize("n", [1, 2, 10, 64])
@pytest.mark.parametrize("offset", [0.0, 3.0, 1000.0])
def test_products_are_log_likelihoods(n, offset):
    rng = np.random.default_rng(n)
    mu = offset + rng.normal(size=(30, n))
    log_var = rng.uniform(-6, 1, size=(30, n))
    z, center = offset + rng.normal(size=(7, n)), np.full(n, offset)
    right = norm.logpdf(z[:, None], mu, np.exp(log_var / 2)).sum(axis=2)
    items, queries = lift_items(mu, log_var, center), lift_queries(z, center)
    assert items.dtype == queries.dtype == np.float32
    assert items.shape == (30, 2 * n + 1) and queries.shape == (7, 2 * n + 1)
    wide = items.astype(np.float64), queries.astype(np.float64)
    # Both vectors are rounded once; float64 adds up what is left.
    bound = 2 * gamma(3, UNIT_FLOAT32) * (np.abs(wide[1]) @ np.abs(wide[0]).T)
    assert_within(wide[1] @ wide[0].T, right, bound, why="two roundings to float32 of each term")


def test_a_center_near_the_items_keeps_digits():
    rng = np.random.default_rng(0)
    mu, log_var = 1000 + rng.normal(size=(50, 4)), np.full((50, 4), -4.0)
    z = mu[:1] + 0.01
    right = norm.logpdf(z, mu, np.exp(-2.0)).sum(axis=1)

    def error(center: float) -> float:
        found = lift_queries(z, np.full(4, center)) @ lift_items(mu, log_var, np.full(4, center)).T
        return float(np.abs(found[0] - right).max())

    assert error(1000.0) < 0.01 < 1 < error(0.0)


def test_equal_norms_change_no_product():
    rng = np.random.default_rng(1)
    items = lift_items(rng.normal(size=(40, 3)), rng.uniform(-5, 0, size=(40, 3)))
    queries = lift_queries(rng.normal(size=(5, 3)))
    even = with_equal_norms(items, float(square_norms(items).max()))
    assert (even[:, :-1] == items).all() and even.shape == (40, 8)
    norms = square_norms(even)
    bound = gamma(4, UNIT_FLOAT32) * norms.max()
    assert_within(norms, np.full(40, norms.max()), 2 * bound, why="a root rounded to float32")
    assert (np.pad(queries, ((0, 0), (0, 1))) @ even.T).shape == (5, 40)
