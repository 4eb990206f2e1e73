"""log q(z|x) against torch.distributions, SciPy and fifty-digit arithmetic."""

from __future__ import annotations

import math
import re
from decimal import Decimal, localcontext

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaeudf.errors import InputError
from vaeudf.gaussian import LOG_2PI, log_prob

DIMS = [1, 2, 10, 64]


def by_torch(z, mu, log_var):
    z, mu, sigma = (torch.from_numpy(a) for a in (z, mu, np.exp(log_var / 2)))
    posterior = torch.distributions.Independent(torch.distributions.Normal(mu, sigma), 1)
    return posterior.log_prob(z[:, None]).numpy()


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


@pytest.mark.parametrize("oracle", [by_torch, by_scipy])
@pytest.mark.parametrize("n", DIMS)
def test_random_data(n, oracle):
    z, mu, log_var = random_data(n)
    found = log_prob(z, mu, log_var)
    assert found.shape == (7, 50) and found.dtype == np.float64
    np.testing.assert_allclose(found, oracle(z, mu, log_var), rtol=1e-12, atol=1e-12 * n)


@pytest.mark.parametrize("oracle", [by_torch, by_scipy])
@pytest.mark.parametrize("n", DIMS)
def test_adversarial_data(n, oracle):
    z, mu, log_var = adversarial_data(n)
    expected = oracle(z, mu, log_var)
    assert np.isfinite(expected).all() and expected.min() < -1e24 and expected[0, 0] > 12 * n
    # log sigma² of 27.6 and more enter the sum, whatever it comes to.
    np.testing.assert_allclose(log_prob(z, mu, log_var), expected, rtol=1e-12, atol=1e-12 * n)


@pytest.mark.parametrize("n", DIMS)
def test_stored_float32_is_taken_as_it_stands(n):
    z, mu, log_var = random_data(n)
    stored = mu.astype(np.float32), log_var.astype(np.float32)
    widened = [array.astype(np.float64) for array in stored]
    assert (log_prob(z, *stored) == log_prob(z, *widened)).all()
    np.testing.assert_allclose(log_prob(z, *stored), by_torch(z, *widened), rtol=1e-12, atol=1e-10)


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
    assert found[0, 0] == pytest.approx(by_decimal(z, mu, log_var), rel=1e-11)


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
    # The standard deviation of the mean is sqrt(n / 2 / samples) = 0.003.
    assert log_prob(samples, mu, log_var).mean() == pytest.approx(-entropy, abs=0.015)
    assert pytest.approx(math.log(2 * math.pi)) == LOG_2PI


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
