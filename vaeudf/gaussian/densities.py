"""Densities of diagonal Gaussians at points, and distances of points from them, in float64.

Notation: a posterior q(z|x) = N(mu, diag sigma²) is stated by ``mu`` and ``log_var`` = log sigma².
Sums run over the n latent dimensions. Between two Gaussians: :mod:`vaeudf.gaussian.divergences`.

These are the reference forms: every other way to compute a score is measured against them. All of
them return (Q, N) numbers, each of which depends on its own query and item alone: cutting the
queries or the items into blocks changes no bit of it. They take memory for a few arrays (Q, N).

**Tolerance.** A z that is meant up to N(0, tau² I) is scored with ``tolerance`` = tau > 0. The
likelihood of what is meant is ∫ q(z'|x) N(z'|z, tau²) dz' = N(z; mu, sigma² + tau²), so the items'
variances become sigma² + tau². Zero is the exact rule. A tolerance for each dimension is added
dimension by dimension in the same way.

**Open dimensions.** A z that is NaN in some dimensions says nothing of them. These are integrated
out, which for a diagonal Gaussian leaves the density over the other dimensions: the sums run over
those alone. It is the limit of a tolerance that grows in the open dimensions, but for a constant
that is the same for all items.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.gaussian.checks import check_mean_shapes, check_shapes, check_tolerance
from vaeudf.gaussian.sums import sum_over_dims
from vaeudf.gaussian.variances import blurred, inverse_sigma

_Array = NDArray[np.float64]

LOG_2PI = math.log(2.0 * math.pi)


def log_prob(
    z: ArrayLike, mu: ArrayLike, log_var: ArrayLike, tolerance: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Return log q(z|x) of every query under every item, by the direct formula.

    log q(z|x) = Σ_i -½ [ (z_i - mu_i)² / sigma_i² + log sigma_i² + log 2π ]
    (the log density of a multivariate normal with diagonal covariance).

    Args:
        z: Queries, shape (Q, n), or (n,) for one; NaN in a dimension that is left open.
        mu: Means, shape (N, n).
        log_var: log sigma², shape (N, n).
        tolerance: tau ≥ 0, in units of z: how precisely z is meant. sigma² + tau² takes the place
            of sigma²; the result is then the log density at z of the item's posterior convolved
            with N(0, tau² I).

    Returns:
        Log densities in nats, shape (Q, N); higher is nearer.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is invalid.
    """
    queries, means, log_vars = check_shapes(z, mu, log_var)
    # One row per dimension: the loop below then streams over contiguous memory.
    means_by_dim = np.ascontiguousarray(means.T)
    log_vars_by_dim = np.ascontiguousarray(blurred(log_vars, tolerance).T)
    inverse_sigmas_by_dim = inverse_sigma(log_vars_by_dim)

    total = np.zeros((queries.shape[0], means.shape[0]))
    term = np.empty_like(total)
    is_open = np.isnan(queries)
    with np.errstate(over="ignore"):  # a z that far away has log density -inf, which is right
        for i in range(means.shape[1]):
            np.subtract(queries[:, i, None], means_by_dim[i], out=term)
            # Scaled before it is squared: the square of a far z alone would overflow.
            term *= inverse_sigmas_by_dim[i]
            np.square(term, out=term)
            term += log_vars_by_dim[i]
            term[is_open[:, i]] = 0.0
            total += term
    total += (~is_open).sum(axis=1, keepdims=True) * LOG_2PI
    total *= -0.5
    return total


def mahalanobis_distance(
    z: ArrayLike, mu: ArrayLike, log_var: ArrayLike, tolerance: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Return how many sigma every query lies from every item's mean.

    sqrt( Σ_i (z_i - mu_i)² / sigma_i² )
    (Mahalanobis, 1936, for a diagonal covariance): log q(z|x) without its log sigma² terms.

    Args:
        z: Queries, shape (Q, n), or (n,) for one; NaN in a dimension that is left open.
        mu: Means, shape (N, n).
        log_var: log sigma², shape (N, n).
        tolerance: tau ≥ 0, in units of z; sigma² + tau² takes the place of sigma², as in
            :func:`log_prob`.

    Returns:
        Distances without a unit, shape (Q, N); lower is nearer, and infinite where the square
        exceeds float64.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is invalid.
    """
    queries, means, log_vars = check_shapes(z, mu, log_var)

    def term(z: _Array, mu: _Array, by_sigma: _Array) -> _Array:
        return np.where(np.isnan(z), 0.0, np.square((z - mu) * by_sigma))

    inverse_sigmas = inverse_sigma(blurred(log_vars, tolerance))
    return np.sqrt(sum_over_dims(term, (queries,), (means, inverse_sigmas)))


def euclidean_distance(
    z: ArrayLike, mu: ArrayLike, tolerance: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Return ‖z - mu‖ of every query and every item's mean.

    Args:
        z: Queries, shape (Q, n), or (n,) for one; NaN in a dimension that is left open.
        mu: Means, shape (N, n).
        tolerance: Changes nothing, as no variance enters; it is checked and taken so that all
            scores can be called alike.

    Returns:
        Distances in units of z, shape (Q, N); lower is nearer, and infinite where the square
        exceeds float64.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is invalid.
    """
    queries, means = check_mean_shapes(z, mu)
    check_tolerance(tolerance)

    def term(z: _Array, mu: _Array) -> _Array:
        return np.where(np.isnan(z), 0.0, np.square(z - mu))

    return np.sqrt(sum_over_dims(term, (queries,), (means,)))
