"""What a reading of the variance implies, and the table of readings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.tolerances import (
    FUNCTION,
    assert_same_float64,
    assert_sampled,
    near_float64,
    near_score,
)
from vaeudf.model.export.readings import Reading, format_readings, read


def posteriors(count=2000, n=3):
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(count, n)).astype(np.float32)
    return mu, np.full((count, n), -2.0, np.float32)


def test_the_numbers_are_those_of_the_posteriors():
    mu, log_var = posteriors()
    asked = []
    found = read(mu, log_var, lambda z: asked.append(z) or 0.25)
    means, sigmas = torch.tensor(mu).double(), torch.tensor(log_var / 2).double().exp()
    q = torch.distributions.Normal(means, sigmas)
    prior = torch.distributions.Normal(torch.zeros(3).double(), 1.0)
    kl = torch.distributions.kl_divergence(q, prior).sum(dim=1).mean().item()
    assert found.impossible is None and found.kl == near_score(kl, log_var, dims=3, items=2000)
    assert_same_float64(found.sigma, np.full(3, np.exp(-1.0)), terms=FUNCTION)
    aggregate = np.exp(-2.0) + np.median(means.numpy().var(axis=0))
    assert found.aggregate == near_float64(aggregate, terms=2 * 2000)
    (z,) = asked
    assert found.noise_error == 0.25 and z.dtype == np.float32
    sigma = np.full(3, np.exp(-1.0))
    assert_sampled((z - mu).std(axis=0), sigma, standard_error=sigma / (2 * 2000) ** 0.5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [(2000 * 3, "100% of the numbers"), (300, "5% of the numbers"), (1, "some of the numbers")],
)
def test_a_reading_that_no_sigma_can_have(bad, message):
    mu, log_var = posteriors()
    log_var.ravel()[:bad] = np.nan
    found = read(mu, log_var, lambda z: pytest.fail("it was decoded"))
    assert found.impossible == f"{message} would give no sigma above 0"
    assert np.isnan([found.kl, found.aggregate, *found.sigma]).all() and found.noise_error is None


def test_without_a_decoder_or_with_noise_beyond_float32():
    mu, log_var = posteriors()
    assert read(mu, log_var, None).noise_error is None
    found = read(mu, log_var + 200, lambda z: pytest.fail("it was decoded"))
    assert found.impossible is None and found.noise_error is None


def test_the_table():
    mu, log_var = posteriors(n=10)
    found: dict[str, Reading] = {
        "log_var": read(mu, log_var, lambda z: 0.125),
        "sigma": read(mu, np.full_like(log_var, np.nan), None),
    }
    head, good, bad = format_readings(found, "log_var").splitlines()
    assert head.endswith("median sigma per dimension (the first 8 of 10)")
    assert good.startswith("*log_var ") and good.endswith(" ".join(["0.368"] * 8))
    assert good.split()[3] == "0.12"
    assert bad == " sigma        impossible: 100% of the numbers would give no sigma above 0"
