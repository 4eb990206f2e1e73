"""Densities of diagonal Gaussians and divergences between them, in float64.

Notation: a posterior q(z|x) = N(mu, diag sigma²) is stated by ``mu`` and ``log_var`` = log sigma².
A query is a point z, or itself a Gaussian, stated by ``query_mu`` and ``query_log_var``. In the
formulas m and v are the query's means and variances, mu and s the item's, and sums run over the n
latent dimensions.

These are the reference forms: every other way to compute a score is measured against them. All of
them return (Q, N) numbers, each of which depends on its own query and item alone: cutting the
queries or the items into blocks changes no bit of it. They take memory for a few arrays (Q, N).

**Tolerance.** A query that is meant up to N(0, tau² I) is scored with ``tolerance`` = tau > 0. For
a point z the likelihood of what is meant is ∫ q(z'|x) N(z'|z, tau²) dz' = N(z; mu, s + tau²), so
the items' variances become s + tau². Of two Gaussians both are blurred, v + tau² against s + tau²:
an item then stays at distance 0 from itself. Zero is the exact rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.gaussian.checks import (
    check_gaussian_shapes,
    check_mean_shapes,
    check_shapes,
    check_tolerance,
)

_Array = NDArray[np.float64]

LOG_2PI = math.log(2.0 * math.pi)

# exp(709.8) overflows float64, and exp(-745.2) is 0. A posterior this narrow or wide (sigma beyond
# 1e±304) only meets z == mu or the end of float64's range; 1 / sigma kept within it, a distance of
# 0 or infinity never becomes 0 * inf = NaN.
_MAX_LOG_SIGMA = 700.0


def log_prob(
    z: ArrayLike, mu: ArrayLike, log_var: ArrayLike, tolerance: float = 0.0
) -> NDArray[np.float64]:
    """Return log q(z|x) of every query under every item, by the direct formula.

    log q(z|x) = Σ_i -½ [ (z_i - mu_i)² / sigma_i² + log sigma_i² + log 2π ]
    (the log density of a multivariate normal with diagonal covariance).

    Each number depends on its own query and item alone: cutting the queries or the items into
    blocks changes no bit of it.

    Args:
        z: Queries, shape (Q, n), or (n,) for one.
        mu: Means, shape (N, n).
        log_var: log sigma², shape (N, n).
        tolerance: tau ≥ 0, in units of z: how precisely z is meant. sigma² + tau² takes the place
            of sigma²; the result is then the log density at z of the item's posterior convolved
            with N(0, tau² I).

    Returns:
        Log densities in nats, shape (Q, N); higher is nearer.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is none.
    """
    queries, means, log_vars = check_shapes(z, mu, log_var)
    # One row per dimension: the loop below then streams over contiguous memory.
    means_by_dim = np.ascontiguousarray(means.T)
    log_vars_by_dim = np.ascontiguousarray(_blurred(log_vars, tolerance).T)
    inverse_sigmas_by_dim = _inverse_sigma(log_vars_by_dim)

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


def expected_log_prob(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: float = 0.0,
) -> NDArray[np.float64]:
    """Return E_{z ~ query}[log q(z|x)] of every Gaussian query under every item.

    E[log q(z|x)] = -½ Σ_i [ ((m_i - mu_i)² + v_i) / s_i + log s_i + log 2π ]
    (minus the cross-entropy of the query and the item, from E[(z - mu)²] = (m - mu)² + v).
    As KL(query‖item) = -H(query) - E[log q(z|x)], and H(query) is the same for all items, ranking
    by this *is* ranking by KL(query‖item). For v → 0 it is ``log_prob(query_mu, mu, log_var)``.

    Args:
        query_mu: Means of the queries, shape (Q, n), or (n,) for one.
        query_log_var: log sigma² of the queries, the same shape.
        mu: Means of the items, shape (N, n).
        log_var: log sigma² of the items, shape (N, n).
        tolerance: tau ≥ 0, in units of z. tau² is added to the variances of both sides, as both are
            blurred by the same N(0, tau² I); for v → 0 this is therefore *not* ``log_prob`` with
            that tolerance, which blurs the item alone.

    Returns:
        Expected log densities in nats, shape (Q, N); higher is nearer.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is none.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(m: _Array, log_v: _Array, mu: _Array, log_s: _Array, inverse_sigma: _Array) -> _Array:
        return np.square((m - mu) * inverse_sigma) + np.exp(log_v - log_s) + log_s

    total = _sum_over_dims(term, (m, log_v), (means, log_s, _inverse_sigma(log_s)))
    total += means.shape[1] * LOG_2PI
    total *= -0.5
    return total


def kl_divergence(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: float = 0.0,
) -> NDArray[np.float64]:
    """Return KL(query‖item) = E_{z ~ query}[log query(z) - log q(z|x)] of every pair.

    KL(query‖item) = ½ Σ_i [ (m_i - mu_i)² / s_i + v_i / s_i - 1 - log(v_i / s_i) ]
    (Kullback and Leibler, 1951, for diagonal Gaussians). With d = log v - log s the last three
    terms are expm1(d) - d, which does not cancel for near-equal Gaussians.

    Args:
        query_mu: Means of the queries, shape (Q, n), or (n,) for one.
        query_log_var: log sigma² of the queries, the same shape.
        mu: Means of the items, shape (N, n).
        log_var: log sigma² of the items, shape (N, n).
        tolerance: tau ≥ 0, in units of z. tau² is added to the variances of both sides, as both are
            blurred by the same N(0, tau² I): an item stays at 0 from itself.

    Returns:
        Divergences in nats, shape (Q, N), never below 0; lower is nearer, and infinite where it
        exceeds float64.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is none.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(m: _Array, log_v: _Array, mu: _Array, log_s: _Array, inverse_sigma: _Array) -> _Array:
        return np.square((m - mu) * inverse_sigma) + _ratio_excess(log_v - log_s)

    return 0.5 * _sum_over_dims(term, (m, log_v), (means, log_s, _inverse_sigma(log_s)))


def reverse_kl_divergence(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: float = 0.0,
) -> NDArray[np.float64]:
    """Return KL(item‖query) = E_{z ~ q(z|x)}[log q(z|x) - log query(z)] of every pair.

    KL(item‖query) = ½ Σ_i [ (m_i - mu_i)² / v_i + s_i / v_i - 1 - log(s_i / v_i) ]:
    :func:`kl_divergence` with the two sides exchanged.

    Args:
        query_mu: Means of the queries, shape (Q, n), or (n,) for one.
        query_log_var: log sigma² of the queries, the same shape.
        mu: Means of the items, shape (N, n).
        log_var: log sigma² of the items, shape (N, n).
        tolerance: tau ≥ 0, in units of z. tau² is added to the variances of both sides, as both are
            blurred by the same N(0, tau² I): an item stays at 0 from itself.

    Returns:
        Divergences in nats, shape (Q, N), never below 0; lower is nearer, and infinite where it
        exceeds float64.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is none.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(m: _Array, log_v: _Array, inverse_sigma: _Array, mu: _Array, log_s: _Array) -> _Array:
        return np.square((m - mu) * inverse_sigma) + _ratio_excess(log_s - log_v)

    return 0.5 * _sum_over_dims(term, (m, log_v, _inverse_sigma(log_v)), (means, log_s))


def jeffreys_divergence(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: float = 0.0,
) -> NDArray[np.float64]:
    """Return KL(query‖item) + KL(item‖query) of every pair.

    J = Σ_i [ ½ (m_i - mu_i)² (1 / s_i + 1 / v_i) + 2 sinh²(½ log(v_i / s_i)) ]
    (Jeffreys, 1946: the sum, not its half). The logarithms of the two divergences cancel, and what
    is left of the ratios, ½ (v/s + s/v) - 1, is the sinh² here, which loses no digits.

    Args:
        query_mu: Means of the queries, shape (Q, n), or (n,) for one.
        query_log_var: log sigma² of the queries, the same shape.
        mu: Means of the items, shape (N, n).
        log_var: log sigma² of the items, shape (N, n).
        tolerance: tau ≥ 0, in units of z. tau² is added to the variances of both sides, as both are
            blurred by the same N(0, tau² I): an item stays at 0 from itself.

    Returns:
        Divergences in nats, shape (Q, N), symmetric and never below 0; lower is nearer, and
        infinite where it exceeds float64.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is none.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(
        m: _Array, log_v: _Array, by_v: _Array, mu: _Array, log_s: _Array, by_s: _Array
    ) -> _Array:
        gap = m - mu
        ratio = np.square(np.sinh(0.5 * (log_v - log_s)))
        return 0.5 * (np.square(gap * by_s) + np.square(gap * by_v)) + 2.0 * ratio

    return _sum_over_dims(
        term, (m, log_v, _inverse_sigma(log_v)), (means, log_s, _inverse_sigma(log_s))
    )


def wasserstein2_distance(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: float = 0.0,
) -> NDArray[np.float64]:
    """Return the 2-Wasserstein distance of every pair.

    W₂ = sqrt( Σ_i [ (m_i - mu_i)² + (sqrt(v_i) - sqrt(s_i))² ] )
    (Dowson and Landau, 1982, for covariances that commute): Euclidean in (mu, sigma).

    Args:
        query_mu: Means of the queries, shape (Q, n), or (n,) for one.
        query_log_var: log sigma² of the queries, the same shape.
        mu: Means of the items, shape (N, n).
        log_var: log sigma² of the items, shape (N, n).
        tolerance: tau ≥ 0, in units of z. tau² is added to the variances of both sides, as both are
            blurred by the same N(0, tau² I): an item stays at 0 from itself.

    Returns:
        Distances in units of z, shape (Q, N); lower is nearer, and infinite where the square
        exceeds float64.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is none.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(m: _Array, query_sigma: _Array, mu: _Array, sigma: _Array) -> _Array:
        return np.square(m - mu) + np.square(query_sigma - sigma)

    return np.sqrt(_sum_over_dims(term, (m, _sigma(log_v)), (means, _sigma(log_s))))


def bhattacharyya_distance(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: float = 0.0,
) -> NDArray[np.float64]:
    """Return the Bhattacharyya distance -log ∫ sqrt(query(z) q(z|x)) dz of every pair.

    D = Σ_i [ ⅛ (m_i - mu_i)² / w_i + ½ log( w_i / sqrt(v_i s_i) ) ],  w_i = ½ (v_i + s_i)
    (Kailath, 1967, for diagonal Gaussians). With d = log v - log s the last term is
    ½ log cosh(d / 2), which neither cancels nor overflows.

    Args:
        query_mu: Means of the queries, shape (Q, n), or (n,) for one.
        query_log_var: log sigma² of the queries, the same shape.
        mu: Means of the items, shape (N, n).
        log_var: log sigma² of the items, shape (N, n).
        tolerance: tau ≥ 0, in units of z. tau² is added to the variances of both sides, as both are
            blurred by the same N(0, tau² I): an item stays at 0 from itself.

    Returns:
        Distances in nats, shape (Q, N), symmetric and never below 0; lower is nearer.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is none.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(m: _Array, log_v: _Array, mu: _Array, log_s: _Array) -> _Array:
        # The mean of the variances, unlike their sum, is never wider than both.
        gap = (m - mu) * _inverse_sigma(np.logaddexp(log_v, log_s) - math.log(2.0))
        return 0.125 * np.square(gap) + 0.5 * _log_cosh(0.5 * (log_v - log_s))

    return _sum_over_dims(term, (m, log_v), (means, log_s))


def mahalanobis_distance(
    z: ArrayLike, mu: ArrayLike, log_var: ArrayLike, tolerance: float = 0.0
) -> NDArray[np.float64]:
    """Return how many sigma every query lies from every item's mean.

    sqrt( Σ_i (z_i - mu_i)² / sigma_i² )
    (Mahalanobis, 1936, for a diagonal covariance): log q(z|x) without its log sigma² terms.

    Args:
        z: Queries, shape (Q, n), or (n,) for one.
        mu: Means, shape (N, n).
        log_var: log sigma², shape (N, n).
        tolerance: tau ≥ 0, in units of z; sigma² + tau² takes the place of sigma², as in
            :func:`log_prob`.

    Returns:
        Distances without a unit, shape (Q, N); lower is nearer, and infinite where the square
        exceeds float64.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is none.
    """
    queries, means, log_vars = check_shapes(z, mu, log_var)

    def term(z: _Array, mu: _Array, inverse_sigma: _Array) -> _Array:
        return np.square((z - mu) * inverse_sigma)

    inverse_sigmas = _inverse_sigma(_blurred(log_vars, tolerance))
    return np.sqrt(_sum_over_dims(term, (queries,), (means, inverse_sigmas)))


def euclidean_distance(z: ArrayLike, mu: ArrayLike, tolerance: float = 0.0) -> NDArray[np.float64]:
    """Return ‖z - mu‖ of every query and every item's mean.

    Args:
        z: Queries, shape (Q, n), or (n,) for one.
        mu: Means, shape (N, n).
        tolerance: Changes nothing, as no variance enters; it is checked and taken so that all
            scores can be called alike.

    Returns:
        Distances in units of z, shape (Q, N); lower is nearer, and infinite where the square
        exceeds float64.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is none.
    """
    queries, means = check_mean_shapes(z, mu)
    check_tolerance(tolerance)
    return np.sqrt(_sum_over_dims(lambda z, mu: np.square(z - mu), (queries,), (means,)))


def _blurred(log_var: _Array, tolerance: float) -> _Array:
    """Return log(sigma² + tau²), without leaving the logarithm: neither end of sigma is lost."""
    if check_tolerance(tolerance) == 0:
        return log_var
    return np.logaddexp(log_var, 2.0 * math.log(tolerance))


def _blurred_pair(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: float,
) -> tuple[_Array, _Array, _Array, _Array]:
    m, log_v, means, log_s = check_gaussian_shapes(query_mu, query_log_var, mu, log_var)
    return m, _blurred(log_v, tolerance), means, _blurred(log_s, tolerance)


def _sum_over_dims(
    term: Callable[..., _Array], queries: Sequence[_Array], items: Sequence[_Array]
) -> _Array:
    """Return the sum of term(…) over the dimensions, shape (Q, N).

    Args:
        term: Takes one dimension of each array, shapes (Q, 1) and (1, N), in the order given.
        queries: Arrays of shape (Q, n).
        items: Arrays of shape (N, n).
    """
    # One row per dimension: every step streams over contiguous memory.
    columns = [np.ascontiguousarray(array.T)[:, :, None] for array in queries]
    rows = [np.ascontiguousarray(array.T)[:, None, :] for array in items]
    total = np.zeros((queries[0].shape[0], items[0].shape[0]))
    with np.errstate(over="ignore"):  # what exceeds float64 is infinite, which is right
        for parts in zip(*columns, *rows, strict=True):
            total += term(*parts)
    return total


def _inverse_sigma(log_var: _Array) -> _Array:
    return np.exp(-np.clip(0.5 * log_var, -_MAX_LOG_SIGMA, _MAX_LOG_SIGMA))


def _sigma(log_var: _Array) -> _Array:
    # Capped, because two infinite sigma would have NaN as their difference.
    return np.exp(np.minimum(0.5 * log_var, _MAX_LOG_SIGMA))


def _ratio_excess(log_ratio: _Array) -> _Array:
    """Return r - 1 - log r ≥ 0."""
    # expm1 may err by its last digit, and a divergence below 0 would rank before identity.
    excess: _Array = np.maximum(np.expm1(log_ratio) - log_ratio, 0.0)
    return excess


def _log_cosh(x: _Array) -> _Array:
    """Return log cosh x ≥ 0."""
    # log cosh x = ½ log(1 + sinh² x) keeps its digits near 0 but overflows; from 20 on it is
    # |x| - log 2 to the last digit, a straight line.
    bent = np.minimum(np.abs(x), 20.0)
    total: _Array = 0.5 * np.log1p(np.square(np.sinh(bent))) + (np.abs(x) - bent)
    return total
