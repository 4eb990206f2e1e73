"""The mutual likelihood against its integral, and what it ranks like."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

import vaeudf
from tests.support.tolerances import assert_same_scores
from vaeudf.gaussian import mutual_log_likelihood


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_integral_of_the_product(seed):
    rng = np.random.default_rng(seed)
    (m, mu), (log_v, log_s) = rng.normal(size=(2, 3)), rng.normal(-1, 1, size=(2, 3))
    expected = 0.0
    for i in range(3):
        first = stats.norm(m[i], np.exp(log_v[i] / 2))
        second = stats.norm(mu[i], np.exp(log_s[i] / 2))

        def product(z, first=first, second=second):
            return first.pdf(z) * second.pdf(z)

        value, _ = integrate.quad(
            product, -30, 30, points=[m[i], mu[i]], epsabs=0, epsrel=1e-11, limit=500
        )
        expected += np.log(value)
    found = mutual_log_likelihood(m, log_v, mu[None], log_s[None])
    np.testing.assert_allclose(found, [[expected]], rtol=1e-9)


def test_a_tolerance_blurs_both():
    rng = np.random.default_rng(0)
    m, mu = rng.normal(size=(2, 4, 3))
    log_v, log_s = rng.normal(-1, 1, size=(2, 4, 3))
    blurred = [np.log(np.exp(log_var) + 0.3**2) for log_var in (log_v, log_s)]
    found = mutual_log_likelihood(m, log_v, mu, log_s, tolerance=0.3)
    expected = mutual_log_likelihood(m, blurred[0], mu, blurred[1])
    assert_same_scores(found, expected, *blurred, dims=3)


def test_it_is_symmetric():
    rng = np.random.default_rng(1)
    m, mu, log_v, log_s = rng.normal(size=(4, 6, 5))
    there = mutual_log_likelihood(m, log_v, mu, log_s)
    back = mutual_log_likelihood(mu, log_s, m, log_v)
    assert_same_scores(there, back.T, log_v, log_s, dims=5)


def test_with_one_sigma_for_all_it_ranks_as_the_distance_of_the_means():
    rng = np.random.default_rng(2)
    mu, z = rng.normal(size=(500, 6)), rng.normal(size=(20, 6))
    log_var, query_log_var = np.full((500, 6), -1.5), np.full((20, 6), 0.4)
    by_mls, _ = vaeudf.nearest(z, mu, log_var, k=50, query_log_var=query_log_var, score="mls")
    by_distance, _ = vaeudf.nearest(z, mu, log_var, k=50, score="euclidean")
    np.testing.assert_array_equal(by_mls, by_distance)


def test_an_item_need_not_be_its_own_nearest():
    mu, log_var = np.array([[0.0], [0.1]]), np.array([[2.0], [-6.0]])
    found, _ = vaeudf.nearest(mu[:1], mu, log_var, k=1, query_log_var=log_var[:1], score="mls")
    assert found.tolist() == [[1]]
