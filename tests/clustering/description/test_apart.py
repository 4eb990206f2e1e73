"""G against SciPy's log-likelihood ratio of the same table."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2, chi2_contingency

from tests.support.tolerances import assert_within
from vaeudf.clustering.description.apart import SIGNIFICANT, log_likelihood_ratio


def scipy_g(a, size, column, total):
    table = np.array([[a, size - a], [column - a, total - size - column + a]])
    kept = table[:, table.sum(axis=0) > 0][table.sum(axis=1) > 0]
    if kept.shape != (2, 2):
        return 0.0
    g = chi2_contingency(kept, correction=False, lambda_="log-likelihood").statistic
    return g if a * total >= size * column else -g


def test_g():
    rng = np.random.default_rng(0)
    for _ in range(300):
        total = int(rng.integers(1, 2000))
        size = int(rng.integers(1, total + 1))
        column = rng.integers(0, total + 1, 5)
        low, high = np.maximum(0, size + column - total), np.minimum(size, column)
        inside = rng.integers(low, high + 1)
        found = log_likelihood_ratio(inside, size, column, total)
        expected = [scipy_g(a, size, c, total) for a, c in zip(inside, column, strict=True)]
        # A sum of terms of up to N log N each, of either sign.
        bound = 1e-14 * total * (1 + np.log(total))
        assert_within(found, expected, bound, why="terms of either sign")


def test_a_value_that_all_have_or_none_tells_nothing():
    assert log_likelihood_ratio(np.array([5, 0]), 5, np.array([9, 0]), 9).tolist() == [0.0, 0.0]
    assert log_likelihood_ratio(np.array([3]), 9, np.array([3]), 9).tolist() == [0.0]


def test_frequent_values_tell_more_than_rare_ones_of_the_same_lift():
    often, once = log_likelihood_ratio(np.array([400, 1]), 1000, np.array([400, 1]), 10_000)
    assert often > 1000 * SIGNIFICANT / 10 > SIGNIFICANT > once > 0


def test_what_is_significant():
    assert abs(chi2.sf(SIGNIFICANT, 1) - 0.001) < 1e-6
