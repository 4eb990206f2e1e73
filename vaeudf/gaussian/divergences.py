"""Divergences and distances between diagonal Gaussians, in float64.

Notation: a posterior q(z|x) = N(mu, diag s) is stated by ``mu`` and ``log_var`` = log s, a query
N(m, diag v) by ``query_mu`` and ``query_log_var`` = log v. Sums run over the n latent dimensions.

These are reference forms, as in :mod:`vaeudf.gaussian.densities`, and return (Q, N) numbers in the
same way.

**Tolerance.** Both Gaussians are blurred by N(0, tau² I), v + tau² against s + tau²: an item then
stays at distance 0 from itself. Zero is the exact rule.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.gaussian.checks import check_gaussian_shapes
from vaeudf.gaussian.densities import LOG_2PI
from vaeudf.gaussian.sums import sum_over_dims
from vaeudf.gaussian.variances import blurred, inverse_sigma, sigma

_Array = NDArray[np.float64]


def expected_log_prob(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: ArrayLike = 0.0,
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
        InputError: The shapes do not fit each other, or the tolerance is invalid.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(m: _Array, log_v: _Array, mu: _Array, log_s: _Array, by_s: _Array) -> _Array:
        return np.square((m - mu) * by_s) + np.exp(log_v - log_s) + log_s

    total = sum_over_dims(term, (m, log_v), (means, log_s, inverse_sigma(log_s)))
    total += means.shape[1] * LOG_2PI
    total *= -0.5
    return total


def kl_divergence(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: ArrayLike = 0.0,
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
        InputError: The shapes do not fit each other, or the tolerance is invalid.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(m: _Array, log_v: _Array, mu: _Array, log_s: _Array, by_s: _Array) -> _Array:
        return np.square((m - mu) * by_s) + _ratio_excess(log_v - log_s)

    return 0.5 * sum_over_dims(term, (m, log_v), (means, log_s, inverse_sigma(log_s)))


def reverse_kl_divergence(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: ArrayLike = 0.0,
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
        InputError: The shapes do not fit each other, or the tolerance is invalid.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(m: _Array, log_v: _Array, by_v: _Array, mu: _Array, log_s: _Array) -> _Array:
        return np.square((m - mu) * by_v) + _ratio_excess(log_s - log_v)

    return 0.5 * sum_over_dims(term, (m, log_v, inverse_sigma(log_v)), (means, log_s))


def jeffreys_divergence(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: ArrayLike = 0.0,
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
        InputError: The shapes do not fit each other, or the tolerance is invalid.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(
        m: _Array, log_v: _Array, by_v: _Array, mu: _Array, log_s: _Array, by_s: _Array
    ) -> _Array:
        gap = m - mu
        ratio = np.square(np.sinh(0.5 * (log_v - log_s)))
        return 0.5 * (np.square(gap * by_s) + np.square(gap * by_v)) + 2.0 * ratio

    return sum_over_dims(
        term, (m, log_v, inverse_sigma(log_v)), (means, log_s, inverse_sigma(log_s))
    )


def wasserstein2_distance(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: ArrayLike = 0.0,
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
        InputError: The shapes do not fit each other, or the tolerance is invalid.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(m: _Array, query_sigma: _Array, mu: _Array, item_sigma: _Array) -> _Array:
        return np.square(m - mu) + np.square(query_sigma - item_sigma)

    return np.sqrt(sum_over_dims(term, (m, sigma(log_v)), (means, sigma(log_s))))


def bhattacharyya_distance(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: ArrayLike = 0.0,
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
        InputError: The shapes do not fit each other, or the tolerance is invalid.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(m: _Array, log_v: _Array, mu: _Array, log_s: _Array) -> _Array:
        # The mean of the variances, unlike their sum, is never wider than both.
        gap = (m - mu) * inverse_sigma(np.logaddexp(log_v, log_s) - math.log(2.0))
        return 0.125 * np.square(gap) + 0.5 * _log_cosh(0.5 * (log_v - log_s))

    return sum_over_dims(term, (m, log_v), (means, log_s))


def mutual_log_likelihood(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Return log ∫ query(z) q(z|x) dz of every pair: how likely both say the same z.

    For Gaussians it is log N(m; mu, v + s) = -½ Σ_i [ (m_i - mu_i)² / (v_i + s_i) + log(v_i + s_i)
    + log 2π ] (Shi & Jain, 2019, Probabilistic Face Embeddings: the mutual likelihood score). It is
    not a divergence: an item need not be its own nearest.

    Args:
        query_mu: Means of the queries, shape (Q, n), or (n,) for one.
        query_log_var: log sigma² of the queries, the same shape.
        mu: Means of the items, shape (N, n).
        log_var: log sigma² of the items, shape (N, n).
        tolerance: tau ≥ 0, in units of z. tau² is added to the variances of both sides, as both are
            blurred by the same N(0, tau² I).

    Returns:
        Log-likelihoods in nats, shape (Q, N), symmetric; higher is nearer.

    Raises:
        InputError: The shapes do not fit each other, or the tolerance is invalid.
    """
    m, log_v, means, log_s = _blurred_pair(query_mu, query_log_var, mu, log_var, tolerance)

    def term(m: _Array, log_v: _Array, mu: _Array, log_s: _Array) -> _Array:
        # The mean of the variances, unlike their sum, is never wider than both.
        log_mean = np.logaddexp(log_v, log_s) - math.log(2.0)
        misfit = 0.5 * np.square((m - mu) * inverse_sigma(log_mean))
        return -0.5 * (misfit + log_mean + math.log(2.0) + LOG_2PI)

    return sum_over_dims(term, (m, log_v), (means, log_s))


def _blurred_pair(
    query_mu: ArrayLike,
    query_log_var: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    tolerance: ArrayLike,
) -> tuple[_Array, _Array, _Array, _Array]:
    m, log_v, means, log_s = check_gaussian_shapes(query_mu, query_log_var, mu, log_var)
    return m, blurred(log_v, tolerance), means, blurred(log_s, tolerance)


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
