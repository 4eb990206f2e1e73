"""Divergences of pairs of Gaussians, row by row; :mod:`vaeudf.gaussian` has them for all pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]

# exp(±700) is still a normal float64.
_MAX_LOG_SIGMA = 700.0


def kl_of_pairs(mu: _Array, log_var: _Array, other_mu: _Array, other_log_var: _Array) -> _Array:
    """Return KL(one ‖ other) of each pair of rows.

    ½ Σ_i [ (mu_i - mu'_i)² / s'_i + expm1(d_i) - d_i ],  d_i = log s_i - log s'_i:
    :func:`vaeudf.gaussian.kl_divergence` has the same formula for every row with every other, and
    gives the same bits.

    Args:
        mu: Means of the first Gaussian of each pair, shape (N, n).
        log_var: Its log sigma², shape (N, n).
        other_mu: Means of the second one, shape (N, n).
        other_log_var: Its log sigma², shape (N, n).

    Returns:
        Divergences in nats, shape (N,), never below 0; infinite where they exceed float64.
    """
    inverse_sigma = np.exp(-np.clip(0.5 * other_log_var, -_MAX_LOG_SIGMA, _MAX_LOG_SIGMA))
    log_ratio = log_var - other_log_var
    with np.errstate(over="ignore"):
        gap = np.square((mu - other_mu) * inverse_sigma)
        # expm1 may err by its last digit, and no divergence is below 0.
        excess = np.maximum(np.expm1(log_ratio) - log_ratio, 0.0)
        return 0.5 * sum_over_dims(gap + excess)


def sum_over_dims(terms: _Array) -> _Array:
    """Return the sum of each row of (N, n) numbers, dimension by dimension; shape (N,).

    NumPy's ``sum(axis=1)`` may add up in another order for another N, and change the last bit.
    """
    total = np.zeros(len(terms))
    for i in range(terms.shape[1]):
        total += terms[:, i]
    return total
