"""Densities of diagonal Gaussians, in nats and float64.

Notation: a posterior q(z|x) = N(mu, diag sigma²) is stated by ``mu`` and ``log_var`` = log sigma².
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError

LOG_2PI = math.log(2.0 * math.pi)

# exp(709.8) overflows float64, and exp(-745.2) is 0. A posterior this narrow or wide (sigma beyond
# 1e±304) only meets z == mu or the end of float64's range; 1 / sigma kept within it, a distance of
# 0 or infinity never becomes 0 * inf = NaN.
_MAX_LOG_SIGMA = 700.0


def log_prob(z: ArrayLike, mu: ArrayLike, log_var: ArrayLike) -> NDArray[np.float64]:
    """Return log q(z|x) of every query under every item, by the direct formula.

    log q(z|x) = Σ_i -½ [ (z_i - mu_i)² / sigma_i² + log sigma_i² + log 2π ]
    (the log density of a multivariate normal with diagonal covariance).

    Each number depends on its own query and item alone: cutting the queries or the items into
    blocks changes no bit of it.

    Args:
        z: Queries, shape (Q, n), or (n,) for one.
        mu: Means, shape (N, n).
        log_var: log sigma², shape (N, n).

    Returns:
        Log densities in nats, shape (Q, N); higher is nearer.

    Raises:
        InputError: The shapes do not fit each other.
    """
    queries, means, log_vars = check_shapes(z, mu, log_var)
    # One row per dimension: the loop below then streams over contiguous memory.
    means_by_dim = np.ascontiguousarray(means.T)
    log_vars_by_dim = np.ascontiguousarray(log_vars.T)
    inverse_sigmas_by_dim = np.exp(-np.clip(0.5 * log_vars_by_dim, -_MAX_LOG_SIGMA, _MAX_LOG_SIGMA))

    total = np.zeros((queries.shape[0], means.shape[0]))
    term = np.empty_like(total)
    with np.errstate(over="ignore"):  # a z that far away has log density -inf, which is right
        for i in range(means.shape[1]):
            np.subtract(queries[:, i, None], means_by_dim[i], out=term)
            # Scaled before it is squared: the square of a far z alone would overflow.
            term *= inverse_sigmas_by_dim[i]
            np.square(term, out=term)
            term += log_vars_by_dim[i]
            total += term
    total += means.shape[1] * LOG_2PI
    total *= -0.5
    return total


def check_shapes(
    z: ArrayLike, mu: ArrayLike, log_var: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the arguments as float64 arrays of shapes (Q, n), (N, n) and (N, n).

    Raises:
        InputError: They do not have these shapes, with n ≥ 1.
    """
    queries = np.atleast_2d(np.asarray(z, dtype=np.float64))
    means = np.asarray(mu, dtype=np.float64)
    log_vars = np.asarray(log_var, dtype=np.float64)
    if means.ndim != 2 or means.shape[1] == 0 or means.shape != log_vars.shape:
        raise InputError(
            f"mu has shape {means.shape} and log_var {log_vars.shape}; "
            "expected the same shape (N, n) for both, n ≥ 1."
        )
    if queries.ndim != 2 or queries.shape[1] != means.shape[1]:
        raise InputError(
            f"z has shape {np.shape(z)}; expected (Q, {means.shape[1]}), "
            f"because mu and log_var have {means.shape[1]} latent dimensions."
        )
    return queries, means, log_vars
