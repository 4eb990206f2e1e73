"""Scores against torch.distributions, SciPy, matrix formulas, Monte Carlo and many digits."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial.distance
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cases import each_value_once
from tests.support.oracles import expected_log_density_by_torch, log_density_by_torch
from tests.support.reference import FORMS
from tests.support.tolerances import (
    FUNCTION,
    SCORE,
    assert_same_float64,
    assert_same_scores,
    assert_sampled,
    assert_within,
    differ,
    near_float64,
    score_bound,
    score_rounding,
)
from vaeudf.errors import InputError
from vaeudf.gaussian import (
    LOG_2PI,
    bhattacharyya_distance,
    euclidean_distance,
    expected_log_prob,
    jeffreys_divergence,
    kl_divergence,
    log_prob,
    mahalanobis_distance,
    mutual_log_likelihood,
    reverse_kl_divergence,
    wasserstein2_distance,
)
from vaeudf.gaussian.checks import check_tolerance
from vaeudf.gaussian.scores import SCORES

DIMS = [1, 2, 10, 64]
ALL_DIMS = [1, 2, 3, 10, 64, 512]
# Of every score that there is, its function in vaeudf.gaussian, the first one no score itself.
BETWEEN_GAUSSIANS = [
    expected_log_prob,
    *(score.reference for score in SCORES.values() if score.between_gaussians),
]
DIVERGENCES = [
    score.reference for score in SCORES.values() if score.between_gaussians and score.ascending
]
DISTANCES = [score.reference for score in SCORES.values() if score.distance]
ORACLES = [
    (expected_log_prob, expected_log_density_by_torch),
    *(
        (score.reference, FORMS[name].oracle)
        for name, score in SCORES.items()
        if score.between_gaussians and name in FORMS
    ),
]


def by_scipy(z, mu, log_var):
    return scipy.stats.norm.logpdf(z[:, None], mu, np.exp(log_var / 2)).sum(axis=-1)


def by_decimal(z, mu, log_var):
    """One query and one item, in fifty digits and without overflow."""
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 50, 10**9, -(10**9)
        two_pi = 2 * Decimal("3.1415926535897932384626433832795028841971693993751")
        total = Decimal(0)
        for point, mean, lv in zip(z, mu, log_var, strict=True):
            lv = Decimal(float(lv))
            distance = Decimal(float(point)) - Decimal(float(mean))
            scaled = distance**2 * (-lv).exp() if distance else distance
            total -= (scaled + lv + two_pi.ln()) / 2
        return float(total)


def random_data(n, seed=0, queries=7, items=50):
    rng = np.random.default_rng([n, seed])
    mu = rng.normal(size=(items, n))
    log_var = rng.normal(-2, 1.5, size=(items, n))
    return rng.normal(size=(queries, n)) * 2, mu, log_var


def adversarial_data(n):
    """Sigma from 1e-6 to 1e3, mu to 1e4, z on an item, near it and far from it; float32 values."""
    rng = np.random.default_rng(n)
    items = 60
    sigma = 10 ** rng.uniform(-6, 3, size=(items, n))
    sigma[0], sigma[1] = 1e-6, 1e3
    mu = rng.uniform(-1e4, 1e4, size=(items, n)).astype(np.float32)
    mu[2] = np.float32(1e-42)  # denormal
    mu[3], mu[4] = 0, -0.0
    log_var = (2 * np.log(sigma)).astype(np.float32)
    log_var[3] = np.float32(-1e-44)
    z = np.concatenate([mu[[0, 1, 2, 7]], mu[[0, 5]] + 1e-6, rng.uniform(-5, 5, (3, n))])
    z = np.concatenate([z, np.full((1, n), 1e8), np.full((1, n), 1e-45)])
    return z.astype(np.float64), mu.astype(np.float64), log_var.astype(np.float64)


# ---- values


@pytest.mark.parametrize("oracle", [log_density_by_torch, by_scipy])
@pytest.mark.parametrize("n", DIMS)
def test_random_data(n, oracle):
    z, mu, log_var = random_data(n)
    found = log_prob(z, mu, log_var)
    assert found.shape == (7, 50) and found.dtype == np.float64
    assert_same_scores(found, oracle(z, mu, log_var), log_var, dims=n)


@pytest.mark.parametrize("oracle", [log_density_by_torch, by_scipy])
@pytest.mark.parametrize("n", DIMS)
def test_adversarial_data(n, oracle):
    z, mu, log_var = adversarial_data(n)
    expected = oracle(z, mu, log_var)
    assert np.isfinite(expected).all() and expected.min() < -1e24 and expected[0, 0] > 12 * n
    # log sigma² of 27.6 and more enter the sum, whatever it comes to.
    assert_same_scores(log_prob(z, mu, log_var), expected, log_var, dims=n)


@pytest.mark.parametrize("n", DIMS)
def test_stored_float32_is_taken_as_it_stands(n):
    z, mu, log_var = random_data(n)
    stored = mu.astype(np.float32), log_var.astype(np.float32)
    widened = [array.astype(np.float64) for array in stored]
    assert (log_prob(z, *stored) == log_prob(z, *widened)).all()
    assert_same_scores(log_prob(z, *stored), log_density_by_torch(z, *widened), widened[1], dims=n)


@pytest.mark.parametrize(
    ("z", "mu", "log_var"),
    [
        ([1e-3], [1e-3], [-1000.0]),  # on the mean of a posterior whose precision overflows
        ([0.0, 3.0], [0.0, 1.0], [-900.0, 0.5]),
        ([0.5], [0.5], [-3e38]),
        ([1.0], [0.0], [3e38]),
        ([1e200], [0.0], [900.0]),  # z² overflows, z² / sigma² does not
        ([-1e200, 1.0], [1e200, 0.0], [930.0, 0.0]),
        ([1e150], [0.0], [0.0]),
        ([1e-200], [0.0], [-900.0]),  # z² is zero, z² / sigma² is not
        ([1e4], [-1e4], [-27.6]),
    ],
)
def test_the_ends_of_float64(z, mu, log_var):
    found = log_prob(z, [mu], [log_var])
    assert found.shape == (1, 1)
    assert found[0, 0] == near_float64(by_decimal(z, mu, log_var), terms=len(mu) + SCORE)


@pytest.mark.parametrize("log_var", [-1500.0, -800.0, 0.0, 800.0, 1500.0, 3e38])
def test_beyond_float64_is_minus_infinity_never_nan(log_var):
    assert log_prob([[1e308, 0.0]], [[-1e308, 0.0]], [[log_var, 0.0]]).tolist() == [[-math.inf]]
    assert log_prob([1.0], [[0.0]], [[-abs(log_var) - 1500.0]]).tolist() == [[-math.inf]]


def test_it_is_a_density():
    """Monte Carlo: the mean of log q over q's own samples is minus its entropy."""
    rng = np.random.default_rng(0)
    mu, log_var = rng.normal(size=(1, 4)), rng.normal(size=(1, 4))
    samples = mu + np.exp(log_var / 2) * rng.normal(size=(200_000, 4))
    entropy = 0.5 * (4 * (1 + math.log(2 * math.pi)) + log_var.sum())
    found = log_prob(samples, mu, log_var).mean()
    assert_sampled(found, -entropy, standard_error=math.sqrt(4 / 2 / 200_000))
    assert near_float64(math.log(2 * math.pi), terms=FUNCTION) == LOG_2PI


# ---- blocks


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.sampled_from(DIMS),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    query_cut=st.integers(1, 6),
)
@settings(max_examples=40, deadline=None)
def test_blocks_change_no_bit(seed, n, cuts, query_cut):
    z, mu, log_var = random_data(n, seed, items=41)
    whole = log_prob(z, mu, log_var)
    parts = np.split(np.arange(41), sorted(set(cuts)))
    by_items = np.concatenate([log_prob(z, mu[p], log_var[p]) for p in parts], axis=1)
    assert by_items.tobytes() == whole.tobytes()
    by_queries = [log_prob(part, mu, log_var) for part in (z[:query_cut], z[query_cut:])]
    assert np.concatenate(by_queries).tobytes() == whole.tobytes()
    backwards = log_prob(z, mu[::-1], log_var[::-1])[:, ::-1]  # strided input
    assert backwards.tobytes() == whole.tobytes()


# ---- shapes


def test_one_query_may_be_a_plain_vector():
    z, mu, log_var = random_data(3)
    assert (log_prob(z[0], mu, log_var) == log_prob(z[:1], mu, log_var)).all()
    assert log_prob([0.0, 0.0], [[0.0, 0.0]], [[0, 0]]).tolist() == [[-LOG_2PI]]


def test_no_queries_or_no_items():
    assert log_prob(np.empty((0, 3)), np.ones((5, 3)), np.ones((5, 3))).shape == (0, 5)
    assert log_prob(np.ones((2, 3)), np.empty((0, 3)), np.empty((0, 3))).shape == (2, 0)


def test_arguments_stay_as_they_were():
    arguments = random_data(5)
    copies = [array.copy() for array in arguments]
    log_prob(*arguments)
    assert all((a == b).all() for a, b in zip(arguments, copies, strict=True))


@pytest.mark.parametrize(
    ("z", "mu", "log_var", "message"),
    [
        (
            (2, 3),
            (5, 4),
            (5, 4),
            "z has shape (2, 3); expected (Q, 4), because mu and log_var have 4 latent dimensions.",
        ),
        ((3,), (5, 2), (5, 2), "z has shape (3,); expected (Q, 2)"),
        ((1, 2, 2), (5, 2), (5, 2), "z has shape (1, 2, 2); expected (Q, 2)"),
        ((0,), (5, 2), (5, 2), "z has shape (0,); expected (Q, 2)"),
        (
            (2, 3),
            (5, 3),
            (4, 3),
            "mu has shape (5, 3) and log_var (4, 3); expected the same shape (N, n) for both, "
            "n ≥ 1.",
        ),
        ((3,), (3,), (3,), "mu has shape (3,) and log_var (3,); expected the same shape (N, n)"),
        ((2, 0), (5, 0), (5, 0), "mu has shape (5, 0) and log_var (5, 0); expected the same shape"),
    ],
)
def test_shapes_that_do_not_fit(z, mu, log_var, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        log_prob(np.ones(z), np.ones(mu), np.ones(log_var))


# ---- between Gaussians: values


def random_pairs(n, seed=0, queries=6, items=40):
    """Query means and log variances, item means and log variances."""
    rng = np.random.default_rng([n, seed])
    query_log_var, log_var = (rng.normal(-2, 1.5, size=(count, n)) for count in (queries, items))
    mu = rng.normal(size=(items, n))
    return rng.normal(size=(queries, n)) * 2, query_log_var, mu, log_var


def adversarial_pairs(n):
    """Sigma from 1e-6 to 1e3 on both sides, mu to 1e4, items among the queries; float32 values."""
    _, mu, log_var = adversarial_data(n)
    rng = np.random.default_rng(n)
    query_log_var = log_var[[0, 1, 7, 8, 9]].copy()
    query_mu = mu[[0, 1, 7, 8, 9]].copy()
    query_log_var[3] = np.float32(2 * math.log(1e-6))
    query_mu[4] += rng.normal(size=n).astype(np.float32) * 1e-3
    return query_mu, query_log_var, mu, log_var


def bhattacharyya_by_parameters(query_mu, query_log_var, mu, log_var):
    """Half the Jensen gap of the log normalizer, in natural parameters, of the exponential family.

    -log ∫ sqrt(p q) = ½ F(θ_p) + ½ F(θ_q) - F(½ θ_p + ½ θ_q)
    """

    def log_normalizer(theta1, theta2):
        return (-(theta1**2) / (4 * theta2) - 0.5 * np.log(-2 * theta2)).sum(axis=-1)

    query, item = (
        (m * np.exp(-lv), -0.5 * np.exp(-lv))
        for m, lv in ((query_mu, query_log_var), (mu, log_var))
    )
    query = [part[:, None] for part in query]
    middle = [(a + b) / 2 for a, b in zip(query, item, strict=True)]
    return (log_normalizer(*query) + log_normalizer(*item)) / 2 - log_normalizer(*middle)


def added_by(oracle, query_mu, query_log_var, mu, log_var):
    """What an oracle adds up that is far larger than the score."""
    if oracle is not bhattacharyya_by_parameters:
        return 0.0
    query, item = (
        (m**2 * np.exp(-lv)).sum(axis=1) for m, lv in ((query_mu, query_log_var), (mu, log_var))
    )
    return query[:, None] + item


def assert_same_pairs(score, found, expected, pair, added=0.0, tau2=()):
    """By two float64 formulas; sigma's last digit enters a distance as it is."""
    _, query_log_var, mu, log_var = pair
    n, log_vars = mu.shape[1], (query_log_var, log_var, *tau2)
    bound = score_bound(np.abs(expected) + added, *log_vars, dims=n)
    if score in DISTANCES:
        sigma = math.exp(max(np.max(part) for part in log_vars) / 2)
        bound = score_rounding(n, *log_vars) * (expected + math.sqrt(n) * sigma)
    assert_within(found, expected, bound, why=f"two float64 formulas of {score.__name__}")


@each_value_once(
    ("n", ALL_DIMS),
    ("score,oracle", [*ORACLES, (bhattacharyya_distance, bhattacharyya_by_parameters)]),
)
def test_random_pairs(n, score, oracle):
    pair = random_pairs(n)
    found = score(*pair)
    assert found.shape == (6, 40) and found.dtype == np.float64
    assert_same_pairs(score, found, oracle(*pair), pair, added_by(oracle, *pair))


@each_value_once(("n", ALL_DIMS), ("score,oracle", ORACLES))
def test_adversarial_pairs(n, score, oracle):
    pair = adversarial_pairs(n)
    found = score(*pair)
    assert_same_pairs(score, found, oracle(*pair), pair)
    assert np.isfinite(found).all()
    if score in DIVERGENCES:
        assert found.min() == found[0, 0] == 0 and found.max() > 1


def exact(query_mu, query_log_var, mu, log_var, tolerance=0.0):
    """Every score of one query and one item, in eighty digits, from the textbook formulas."""
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 80, 10**9, -(10**9)
        half, tau2 = Decimal("0.5"), Decimal(tolerance) ** 2
        log_2pi = (2 * Decimal("3.1415926535897932384626433832795028841971693993751058209")).ln()
        found: defaultdict[Callable, Decimal] = defaultdict(Decimal)
        for numbers in zip(query_mu, query_log_var, mu, log_var, strict=True):
            m, log_v, mean, log_s = (Decimal(float(number)) for number in numbers)
            v, s, gap = log_v.exp() + tau2, log_s.exp() + tau2, (m - mean) ** 2
            kl = half * ((gap + v) / s - 1 - (v / s).ln())
            reverse = half * ((gap + s) / v - 1 - (s / v).ln())
            found[kl_divergence] += kl
            found[reverse_kl_divergence] += reverse
            found[jeffreys_divergence] += kl + reverse
            found[expected_log_prob] -= half * ((gap + v) / s + s.ln() + log_2pi)
            found[mutual_log_likelihood] -= half * (gap / (v + s) + (v + s).ln() + log_2pi)
            found[wasserstein2_distance] += gap + (v.sqrt() - s.sqrt()) ** 2
            found[bhattacharyya_distance] += (
                gap / (4 * (v + s)) + half * ((v + s) / (2 * (v * s).sqrt())).ln()
            )
        found[wasserstein2_distance] = found[wasserstein2_distance].sqrt()
        return {score: float(value) for score, value in found.items()}


@each_value_once(
    (
        "pair",
        [
            ([0.5, -1.0], [-2.0, 1.0], [0.0, 2.0], [0.3, -4.0]),
            ([1e4], [2 * math.log(1e-6)], [-1e4], [2 * math.log(1e3)]),
            ([1e4], [2 * math.log(1e3)], [-1e4], [2 * math.log(1e-6)]),
            ([1e-3], [2 * math.log(1e-6)], [1e-3 + 1e-9], [2 * math.log(1.001e-6)]),
            ([0.0], [0.0], [0.0], [1e-5]),  # near-equal: v/s - 1 - log(v/s) would keep no digit
            ([0.0, 0.0], [-3.0, 5.0], [1e-9, 0.0], [-3.0, 5.0 + 1e-7]),
            ([0.0], [0.0], [0.0], [50.0]),
            ([0.0], [0.0], [0.0], [-50.0]),
            ([1.0], [300.0], [2.0], [-300.0]),
            ([1.0], [-600.0], [1.0], [-601.0]),
            ([1e100], [600.0], [-1e100], [601.0]),
            ([1e300], [1400.0], [-1e300], [1399.0]),
            ([1e-300], [-1400.0], [-1e-300], [-1399.0]),
        ],
    ),
    ("tolerance", [0.0, 1e-6, 0.1, 30.0]),
)
def test_many_digits(pair, tolerance):
    expected = exact(*pair, tolerance)
    assert expected.keys() == set(BETWEEN_GAUSSIANS), "exact() needs the formula of every score"
    for score in BETWEEN_GAUSSIANS:
        # W2 squares what it adds up, and ends at the square roots of float64's ends.
        if score is wasserstein2_distance and not 1e-150 < expected[score] < 1e150:
            continue
        found = score(pair[0], pair[1], [pair[2]], [pair[3]], tolerance)[0, 0]
        # expm1(d) - d has the rounding of d = log(v / s), however small their difference is, and a
        # difference of sigma that of sigma.
        log_v, log_s = (np.array(part) for part in (pair[1], pair[3]))
        if tolerance:
            log_v, log_s = (np.logaddexp(x, 2 * math.log(tolerance)) for x in (log_v, log_s))
        added = 2 * np.abs(log_v - log_s).sum()
        if score is expected_log_prob:
            added = (np.abs(log_s) + LOG_2PI).sum()
        if score is mutual_log_likelihood:
            added = (np.abs(np.logaddexp(log_v, log_s)) + LOG_2PI).sum()
        if score is wasserstein2_distance:
            added = np.exp(np.maximum(log_v, log_s) / 2).sum()
        rounding = score_rounding(len(log_v), log_v, log_s)
        bound = rounding * (abs(expected[score]) + added)
        assert_within(found, expected[score], bound, why=f"float64's digits, {score.__name__}")


def gaussian_matrices(mu, log_var):
    """Full covariances, turned by a random rotation: what is asked does not change by it."""
    rng = np.random.default_rng(5)
    turn = np.linalg.qr(rng.normal(size=(mu.shape[1], mu.shape[1])))[0]
    return mu @ turn.T, np.stack([turn @ np.diag(np.exp(lv)) @ turn.T for lv in log_var])


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_formulas_of_full_covariance_matrices(n):
    query_mu, query_log_var, mu, log_var = random_pairs(n, queries=3, items=4)
    pair = query_mu, query_log_var, mu, log_var
    means, covariances = gaussian_matrices(query_mu, query_log_var)
    found = {score: score(*pair) for score in DIVERGENCES}
    found_mahalanobis = mahalanobis_distance(query_mu, mu, log_var)
    for row, (a, p) in enumerate(zip(means, covariances, strict=True)):
        for column, (b, q) in enumerate(zip(*gaussian_matrices(mu, log_var), strict=True)):
            gap = a - b
            root = scipy.linalg.sqrtm(p)
            cross = scipy.linalg.sqrtm(root @ q @ root)
            middle = (p + q) / 2
            log_p, log_q, log_middle = (np.linalg.slogdet(c)[1] for c in (p, q, middle))
            expected = {
                kl_divergence: (
                    np.trace(np.linalg.inv(q) @ p)
                    + gap @ np.linalg.inv(q) @ gap
                    - n
                    + log_q
                    - log_p
                )
                / 2,
                reverse_kl_divergence: (
                    np.trace(np.linalg.inv(p) @ q)
                    + gap @ np.linalg.inv(p) @ gap
                    - n
                    + log_p
                    - log_q
                )
                / 2,
                wasserstein2_distance: np.sqrt(gap @ gap + np.trace(p + q - 2 * cross).real),
                bhattacharyya_distance: gap @ np.linalg.inv(middle) @ gap / 8
                + (log_middle - (log_p + log_q) / 2) / 2,
            }
            expected[jeffreys_divergence] = (
                expected[kl_divergence] + expected[reverse_kl_divergence]
            )
            # Matrix functions err by n times the condition numbers.
            terms = SCORE * n * max(np.linalg.cond(p), np.linalg.cond(q))
            for score, value in expected.items():
                assert found[score][row, column] == near_float64(value, terms=terms), score.__name__
            by_scipy = scipy.spatial.distance.mahalanobis(a, b, np.linalg.inv(q))
            assert found_mahalanobis[row, column] == near_float64(by_scipy, terms=terms)


def assert_mean(samples, expected):
    """The mean of independent samples lies within five standard errors of what is expected."""
    error = samples.std() / math.sqrt(len(samples))
    assert error < 0.02 * max(1.0, abs(expected))  # else the comparison would say nothing
    assert_sampled(samples.mean(), expected, standard_error=error)


@pytest.mark.parametrize("n", [1, 4, 16])
def test_monte_carlo(n):
    """Each score as the mean that defines it, over samples of the query or of the item."""
    rng = np.random.default_rng(n)
    m, mu = rng.normal(size=(2, 1, n)) * 0.4
    log_v, log_s = rng.normal(-0.5, 0.4, size=(2, 1, n))
    pair = m, log_v, mu, log_s
    of_query = m + np.exp(log_v / 2) * rng.normal(size=(100_000, n))
    of_item = mu + np.exp(log_s / 2) * rng.normal(size=(100_000, n))
    under_item = by_scipy(of_query, mu, log_s)[:, 0]
    gain = by_scipy(of_item, mu, log_s)[:, 0] - by_scipy(of_item, m, log_v)[:, 0]
    loss = by_scipy(of_query, m, log_v)[:, 0] - under_item
    assert_mean(under_item, expected_log_prob(*pair)[0, 0])
    assert_mean(loss, kl_divergence(*pair)[0, 0])
    assert_mean(gain, reverse_kl_divergence(*pair)[0, 0])
    assert_mean(loss + gain, jeffreys_divergence(*pair)[0, 0])
    overlap = np.exp(-loss / 2)  # ∫ sqrt(p q) = E_p[sqrt(q / p)]
    assert_mean(overlap, math.exp(-bhattacharyya_distance(*pair)[0, 0]))
    # The best transport between Gaussians whose covariances commute is a stretching of each axis.
    moved = mu + (of_query - m) * np.exp((log_s - log_v) / 2)
    cost = ((of_query - moved) ** 2).sum(axis=1)
    assert_mean(cost, wasserstein2_distance(*pair)[0, 0] ** 2)


@pytest.mark.parametrize("n", ALL_DIMS)
def test_mahalanobis_and_euclidean_distance(n):
    for z, mu, log_var in (random_data(n), adversarial_data(n)):
        sigma = np.exp(log_var / 2)
        expected = np.sqrt((((z[:, None] - mu) / sigma) ** 2).sum(axis=-1))
        assert_same_float64(mahalanobis_distance(z, mu, log_var), expected, terms=n + SCORE)
        expected = scipy.spatial.distance.cdist(z, mu)
        assert_same_float64(euclidean_distance(z, mu), expected, terms=n + SCORE)
        assert mahalanobis_distance(mu[0], mu[:1], log_var[:1]).tolist() == [[0.0]]
        assert euclidean_distance(mu[0], mu[:1]).tolist() == [[0.0]]
        # By its definition: what is left of the log density when the normalization is taken off.
        rest = -2 * (log_prob(z, mu, log_var) - log_prob(mu[0], mu[:1] + 0 * mu, log_var))
        found = mahalanobis_distance(z, mu, log_var) ** 2
        assert_same_scores(found, rest, log_var, dims=n)


# ---- between Gaussians: what holds of every pair


@each_value_once(("score", DIVERGENCES), ("tolerance", [0.0, 0.1]), ("n", ALL_DIMS))
def test_zero_at_itself_and_never_below(score, tolerance, n):
    for mu, log_var in (random_pairs(n)[2:], adversarial_pairs(n)[2:]):
        found = score(mu, log_var, mu, log_var, tolerance)
        assert (np.diag(found) == 0).all() and (found >= 0).all()
        # Neighbours in float64: one digit off in mu or log_var, never a distance below 0.
        for near in (
            (np.nextafter(mu, np.inf), log_var),
            (mu, np.nextafter(log_var, -np.inf)),
            (mu, np.nextafter(log_var, np.inf)),
            (mu, log_var + 1e-9),
        ):
            assert (score(*near, mu, log_var, tolerance) >= 0).all()


@pytest.mark.parametrize("n", [1, 10])
@pytest.mark.parametrize("tolerance", [0.0, 0.5])
def test_symmetry(n, tolerance):
    for query_mu, query_log_var, mu, log_var in (random_pairs(n), adversarial_pairs(n)):
        there = query_mu, query_log_var, mu, log_var, tolerance
        back = mu, log_var, query_mu, query_log_var, tolerance
        for score in (jeffreys_divergence, wasserstein2_distance, bhattacharyya_distance):
            assert_same_float64(score(*there), score(*back).T, terms=n + SCORE)
        found, expected = kl_divergence(*there), reverse_kl_divergence(*back).T
        assert_same_float64(found, expected, terms=n + SCORE)
        assert differ(kl_divergence(*there), kl_divergence(*back).T)
        both = kl_divergence(*there) + reverse_kl_divergence(*there)
        assert_same_scores(jeffreys_divergence(*there), both, query_log_var, log_var, dims=n)


@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from([1, 3, 10]))
@settings(max_examples=25, deadline=None)
def test_triangles_and_order(seed, n):
    """W2 is a metric; neither KL is below twice the Bhattacharyya distance (Jensen)."""
    mu, log_var = random_pairs(n, seed)[2:]
    pair = mu, log_var, mu, log_var
    w2 = wasserstein2_distance(*pair)
    assert (w2[:, None, :] <= (w2[:, :, None] + w2[None, :, :]) * (1 + 1e-12)).all()
    bound = 2 * bhattacharyya_distance(*pair) * (1 - 1e-12) - 1e-12
    assert (kl_divergence(*pair) >= bound).all()
    assert (reverse_kl_divergence(*pair) >= bound).all()


def test_a_dimension_adds_its_own_term():
    query_mu, query_log_var, mu, log_var = random_pairs(7)
    for score in BETWEEN_GAUSSIANS:
        whole, first, rest = (
            score(query_mu[:, part], query_log_var[:, part], mu[:, part], log_var[:, part])
            for part in (slice(None), slice(0, 3), slice(3, None))
        )
        power = 2 if score in DISTANCES else 1
        added = first**power + rest**power
        assert_same_scores(whole**power, added, query_log_var, log_var, dims=7)


@pytest.mark.parametrize("n", DIMS)
def test_ranking_by_the_expectation_is_ranking_by_kl(n):
    pair = random_pairs(n)
    by_expectation = np.argsort(-expected_log_prob(*pair), axis=1)
    assert (by_expectation == np.argsort(kl_divergence(*pair), axis=1)).all()
    query_mu, query_log_var, mu, log_var = pair
    narrow = np.full_like(query_log_var, -80.0)
    found = expected_log_prob(query_mu, narrow, mu, log_var)
    assert_same_scores(found, log_prob(query_mu, mu, log_var), log_var, dims=n)


@pytest.mark.parametrize("tolerance", [0.0, 1e-3, 1e200])
@pytest.mark.parametrize("score", BETWEEN_GAUSSIANS)
def test_no_nan_at_the_ends_of_float64(score, tolerance):
    log_vars = [-3e38, -1400.0, -750.0, -27.6, 0.0, 13.8, 750.0, 1400.0, 3e38]
    grid = np.array([[m, lv] for m in (-1e308, -1e4, 0.0, 5e-324, 1.0) for lv in log_vars])
    mu, log_var = grid[:, :1], grid[:, 1:]
    with np.errstate(all="raise", under="ignore"):  # and no warning either
        found = score(mu, log_var, mu, log_var, tolerance)
    assert not np.isnan(found).any()
    if score in DIVERGENCES:
        assert (found >= 0).all() and (np.diag(found) == 0).all()


def test_limits():
    """What the formulas tend to where float64 has no number for them."""
    narrow, wide, one = [[0.0]], [[0.0]], [[0.0]]
    low, high = [[-1400.0]], [[1400.0]]
    assert kl_divergence(wide, high, narrow, low).tolist() == [[math.inf]]
    assert kl_divergence(narrow, low, wide, high).tolist() == [[(2800.0 - 1) / 2]]
    assert reverse_kl_divergence(narrow, low, wide, high).tolist() == [[math.inf]]
    assert jeffreys_divergence(narrow, low, wide, high).tolist() == [[math.inf]]
    assert wasserstein2_distance(narrow, low, wide, high).tolist() == [[math.inf]]
    assert wasserstein2_distance(narrow, low, one, one).tolist() == [[1.0]]
    expected = 0.5 * (1400 - math.log(2))  # ½ log(½ sqrt(s / v))
    found = bhattacharyya_distance(narrow, low, wide, high)[0, 0]
    assert found == near_float64(expected, terms=SCORE)
    assert expected_log_prob(wide, high, narrow, low).tolist() == [[-math.inf]]
    found = expected_log_prob(narrow, low, wide, high)[0, 0]
    assert found == near_float64(-(1400 + LOG_2PI) / 2, terms=SCORE)
    assert mahalanobis_distance([1.0], [[0.0]], low).tolist() == [[math.inf]]
    # A distance of exp(-700), whose square is below float64's smallest number.
    assert mahalanobis_distance([1.0], [[0.0]], high).tolist() == [[0.0]]


# ---- tolerance


@pytest.mark.parametrize("n", DIMS)
def test_tolerance_zero_changes_no_bit(n):
    for z, mu, log_var in (random_data(n), adversarial_data(n)):
        whole = log_prob(z, mu, log_var)
        assert log_prob(z, mu, log_var, 0.0).tobytes() == whole.tobytes()
        assert log_prob(z, mu, log_var, tolerance=-0.0).tobytes() == whole.tobytes()


@pytest.mark.parametrize("n", DIMS)
@pytest.mark.parametrize("tolerance", [1e-6, 0.1, 7.0])
def test_tolerance_is_variance_added(n, tolerance):
    z, mu, log_var = random_data(n)
    blurred = np.log(np.exp(log_var) + tolerance**2)
    tau2 = 2 * math.log(tolerance)
    found, expected = log_prob(z, mu, log_var, tolerance), log_density_by_torch(z, mu, blurred)
    assert_same_scores(found, expected, log_var, tau2, dims=n)
    found = mahalanobis_distance(z, mu, log_var, tolerance)
    expected = mahalanobis_distance(z, mu, blurred)
    bound = score_rounding(n, log_var, tau2) * expected
    assert_within(found, expected, bound, why="blurred variances")
    assert (euclidean_distance(z, mu, tolerance) == euclidean_distance(z, mu)).all()
    query_mu, query_log_var, mu, log_var = random_pairs(n)
    wider = [np.log(np.exp(lv) + tolerance**2) for lv in (query_log_var, log_var)]
    for score in BETWEEN_GAUSSIANS:
        pair = query_mu, query_log_var, mu, log_var
        expected = score(query_mu, wider[0], mu, wider[1])
        assert_same_pairs(score, score(*pair, tolerance), expected, pair, tau2=(tau2,))


@pytest.mark.parametrize("tolerance", [0.05, 0.4])
def test_tolerance_is_a_convolution(tolerance):
    """Monte Carlo: the mean of the densities at z' ~ N(z, tau²) is the density that is returned."""
    rng = np.random.default_rng(3)
    z, mu, log_var = np.zeros(3), rng.normal(size=(1, 3)) / 2, rng.normal(-2, 0.5, (1, 3))
    around = z + tolerance * rng.normal(size=(400_000, 3))
    density = math.exp(log_prob(z, mu, log_var, tolerance)[0, 0])
    samples = np.exp(by_scipy(around, mu, log_var)[:, 0])
    assert_mean(samples / density, 1.0)
    # The exact density differs by far more than the samples' error: the test can tell.
    assert abs(math.exp(log_prob(z, mu, log_var)[0, 0]) / density - 1) > 0.02


def test_tolerance_of_two_gaussians_blurs_both():
    """Monte Carlo: samples of both sides with the same noise added."""
    rng = np.random.default_rng(4)
    tolerance, size = 0.5, (300_000, 2)
    m, mu = rng.normal(size=(2, 1, 2)) * 0.5
    log_v, log_s = rng.normal(-2, 0.5, size=(2, 1, 2))
    blurred = m + np.exp(log_v / 2) * rng.normal(size=size) + tolerance * rng.normal(size=size)
    under_item = log_prob(blurred, mu, log_s, tolerance)[:, 0]
    under_query = log_prob(blurred, m, log_v, tolerance)[:, 0]
    assert_mean(under_item, expected_log_prob(m, log_v, mu, log_s, tolerance)[0, 0])
    assert_mean(under_query - under_item, kl_divergence(m, log_v, mu, log_s, tolerance)[0, 0])


@pytest.mark.parametrize(
    ("log_var", "tolerance", "expected"),
    [
        (1400.0, 0.1, 1400.0),  # exp(log_var) overflows
        (-1400.0, 1e-200, 2 * math.log(1e-200)),  # tau² is 0 in float64, and so is sigma²
        (-1400.0, 1e200, 2 * math.log(1e200)),  # tau² is infinite
        (-27.6, 1e-9, math.log(math.exp(-27.6) + 1e-18)),  # sigma 1e-6 keeps its digits
        (-3e38, 0.1, 2 * math.log(0.1)),
    ],
)
def test_tolerance_loses_no_sigma(log_var, tolerance, expected):
    found = log_prob([0.0], [[0.0]], [[log_var]], tolerance)[0, 0]
    assert found == near_float64(-(expected + LOG_2PI) / 2, terms=SCORE)


def test_a_large_tolerance_ranks_by_the_expected_squared_distance():
    """As tau grows, -2 log q comes down to E‖z - z'‖² / tau², z' ~ q(z|x), and a constant."""
    z, mu, log_var = random_data(10)
    constant = 10 * (LOG_2PI + 2 * math.log(1e3))
    found = (-2 * log_prob(z, mu, log_var, 1e3) - constant) * 1e6
    expected = euclidean_distance(z, mu) ** 2 + np.exp(log_var).sum(axis=1)
    # What the next order leaves.
    assert_within(found, expected, expected**2 / 1e6, why="the square over tau²")
    # Where the sigma are small against the distances, that is the nearest mu.
    narrow = log_var - 10
    nearest = np.argsort(euclidean_distance(z, mu), axis=1)[:, :5]
    assert (np.argsort(-log_prob(z, mu, narrow, 1e2), axis=1)[:, :5] == nearest).all()
    assert (np.argsort(-log_prob(z, mu, narrow), axis=1)[:, :5] != nearest).any()


@pytest.mark.parametrize("tolerance", [-0.1, math.nan, math.inf, -math.inf])
def test_a_tolerance_that_is_none(tolerance):
    message = (
        f"tolerance is {tolerance}; expected a finite number of at least 0, in units of z "
        "(0 takes z exactly as it stands)."
    )
    point, gaussian = ([[0.0]], [[0.0]], [[0.0]]), ([[0.0]],) * 4
    for call in (
        lambda: check_tolerance(tolerance),
        lambda: log_prob(*point, tolerance),
        lambda: mahalanobis_distance(*point, tolerance),
        lambda: euclidean_distance(*point[:2], tolerance),
        *(lambda score=score: score(*gaussian, tolerance) for score in BETWEEN_GAUSSIANS),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            call()
    assert check_tolerance(np.float32(0.5)) == 0.5 and type(check_tolerance(0)) is float


# ---- between Gaussians: blocks and shapes


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.sampled_from([1, 2, 10]),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    tolerance=st.sampled_from([0.0, 0.1]),
)
@settings(max_examples=25, deadline=None)
def test_blocks_of_pairs_change_no_bit(seed, n, cuts, tolerance):
    pair = random_pairs(n, seed, items=41)
    scores = [*BETWEEN_GAUSSIANS]
    scores.append(lambda m, lv, mu, log_var, tau: mahalanobis_distance(m, mu, log_var, tau))
    scores.append(lambda m, lv, mu, log_var, tau: euclidean_distance(m, mu, tau))
    for score in scores:
        query_mu, query_log_var, mu, log_var = pair
        whole = score(*pair, tolerance)
        parts = np.split(np.arange(41), sorted(set(cuts)))
        by_items = [score(query_mu, query_log_var, mu[p], log_var[p], tolerance) for p in parts]
        assert np.concatenate(by_items, axis=1).tobytes() == whole.tobytes()
        by_queries = [
            score(query_mu[i], query_log_var[i], mu, log_var, tolerance) for i in range(6)
        ]
        assert np.concatenate(by_queries).tobytes() == whole.tobytes()
        strided = [np.repeat(array, 2, axis=1)[::-1, ::2] for array in pair]
        assert score(*strided, tolerance)[::-1, ::-1].tobytes() == whole.tobytes()


@pytest.mark.parametrize("score", BETWEEN_GAUSSIANS)
def test_shapes_of_pairs(score):
    pair = random_pairs(3)
    query_mu, query_log_var, mu, log_var = pair
    copies = [array.copy() for array in pair]
    assert (score(query_mu[0], query_log_var[0], mu, log_var) == score(*pair)[:1]).all()
    assert score(np.empty((0, 3)), np.empty((0, 3)), mu, log_var).shape == (0, 40)
    assert score(query_mu, query_log_var, np.empty((0, 3)), np.empty((0, 3))).shape == (6, 0)
    assert score([0.0, 1.0], [0, 0], [[0, 1]], [[0, 0]]).shape == (1, 1)
    stored = [array.astype(np.float32) for array in pair]
    widened = [array.astype(np.float64) for array in stored]
    assert (score(*stored) == score(*widened)).all()
    assert all((a == b).all() for a, b in zip(pair, copies, strict=True))


@pytest.mark.parametrize("score", BETWEEN_GAUSSIANS)
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            [(2, 3), (2, 3), (5, 4), (5, 4)],
            "query_mu has shape (2, 3) and query_log_var (2, 3); expected the same shape (Q, 4) "
            "for both, because mu and log_var have 4 latent dimensions.",
        ),
        (
            [(2, 4), (4,), (5, 4), (5, 4)],
            "query_mu has shape (2, 4) and query_log_var (4,); expected the same shape (Q, 4)",
        ),
        (
            [(2, 4), (2, 1), (5, 4), (5, 4)],
            "query_mu has shape (2, 4) and query_log_var (2, 1); expected the same shape (Q, 4)",
        ),
        (
            [(1, 4, 4), (1, 4, 4), (5, 4), (5, 4)],
            "query_mu has shape (1, 4, 4) and query_log_var (1, 4, 4); expected the same shape",
        ),
        (
            [(2, 4), (2, 4), (5, 4), (4, 4)],
            "mu has shape (5, 4) and log_var (4, 4); expected the same shape (N, n) for both, "
            "n ≥ 1.",
        ),
        ([(0,), (0,), (5, 0), (5, 0)], "mu has shape (5, 0) and log_var (5, 0); expected the same"),
    ],
)
def test_shapes_of_pairs_that_do_not_fit(score, shapes, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        score(*map(np.ones, shapes))


@pytest.mark.parametrize(
    ("z", "mu", "message"),
    [
        (
            (2, 3),
            (5, 4),
            "z has shape (2, 3); expected (Q, 4), because mu has 4 latent dimensions.",
        ),
        ((1, 2, 2), (5, 2), "z has shape (1, 2, 2); expected (Q, 2)"),
        ((3,), (3,), "mu has shape (3,); expected (N, n), n ≥ 1."),
        ((2, 0), (5, 0), "mu has shape (5, 0); expected (N, n), n ≥ 1."),
    ],
)
def test_shapes_of_means_that_do_not_fit(z, mu, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        euclidean_distance(np.ones(z), np.ones(mu))
    with pytest.raises(InputError, match=r"^(z|mu) has shape"):
        mahalanobis_distance(np.ones(z), np.ones(mu), np.ones(mu))
