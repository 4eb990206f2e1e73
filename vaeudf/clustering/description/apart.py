"""How far a value sets a cluster apart from the other clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

_Array = NDArray[np.float64]

SIGNIFICANT = 10.828
"""G of one degree of freedom reaches this by chance once in 1,000 times (chi-squared)."""


def log_likelihood_ratio(
    inside: NDArray[np.int64], size: int, everywhere: NDArray[np.int64], total: int
) -> _Array:
    """Return G of the table (has the value or not) × (in the cluster or not).

    G = 2 Σ O log(O / E) over its four fields, with O the items there are and E those that there
    would be if the value were as frequent in the cluster as outside it (Dunning 1993, "Accurate
    methods for the statistics of surprise and coincidence", Computational Linguistics 19). It is
    2 N times the mutual information of both, in nats. Unlike the lift, which is largest for what
    occurs once, it weighs by how many items there are; and unlike Pearson's chi-squared it holds
    for rare values, too. Here it is negative where the value is rarer in the cluster than outside.

    Args:
        inside: How many items of a cluster have each of some values, (m,).
        size: Items of the cluster.
        everywhere: How many of all items have the values, (m,).
        total: N, all items.
    """
    a, column = np.asarray(inside, np.float64), np.asarray(everywhere, np.float64)
    rest = total - size
    g = np.zeros(a.shape)
    for observed, height, width in (
        (a, size, column),
        (size - a, size, total - column),
        (column - a, rest, column),
        (rest - column + a, rest, total - column),
    ):
        # Where nothing was observed, the expected number may be 0, too.
        expected = np.where(observed > 0, height * width / total, 1.0)
        g += xlogy(observed, np.where(observed > 0, observed, 1.0) / expected)
    sign = np.sign(a * total - size * column)
    return np.asarray(2.0 * np.maximum(g, 0.0) * sign)
