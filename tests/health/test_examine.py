"""What a census says, against torch.distributions and NumPy on all items at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from tests.support.latent_space import census_of, latent_space
from vaeudf.health.census import Census
from vaeudf.health.examine import examine, gaussian_kl_to_prior


def test_dimensions_against_all_items_at_once():
    mu, log_var = latent_space()
    health = examine(census_of(mu, log_var, cuts=7))
    m, s = mu.astype(np.float64), np.exp(log_var.astype(np.float64))
    prior = Normal(torch.zeros(5, dtype=torch.float64), 1.0)
    posterior = Normal(torch.from_numpy(m), torch.from_numpy(np.sqrt(s)))
    kl = kl_divergence(posterior, prior).numpy()
    np.testing.assert_allclose([one.kl for one in health.dimensions], kl.mean(axis=0), rtol=1e-10)
    assert health.rate == pytest.approx(kl.sum(axis=1).mean(), rel=1e-10)
    for share, value in health.rate_quantiles.items():
        exact = np.quantile(kl.sum(axis=1), share, method="lower")
        assert value == pytest.approx(exact, rel=0.0101)
    covariance = np.cov(m.T, ddof=0) + np.diag(s.mean(axis=0))
    aggregate = MultivariateNormal(torch.from_numpy(m.mean(axis=0)), torch.from_numpy(covariance))
    origin = MultivariateNormal(torch.zeros(5, dtype=torch.float64), torch.eye(5).double())
    assert health.aggregate_kl == pytest.approx(kl_divergence(aggregate, origin).item(), rel=1e-9)
    assert [one.active for one in health.dimensions] == [True, True, False, False, True]
    for i, one in enumerate(health.dimensions):
        assert one.mu_variance == pytest.approx(m[:, i].var(), rel=1e-9)
        assert one.mu_mean == pytest.approx(m[:, i].mean(), abs=1e-12)
        assert one.variance == pytest.approx(m[:, i].var() + s[:, i].mean(), rel=1e-9)
        assert (np.abs(m[:, i]) <= one.slider_range).mean() >= 0.99
        exact = np.quantile(np.abs(m[:, i]), 0.99, method="inverted_cdf")
        assert one.slider_range == pytest.approx(exact, rel=0.021)
        for share, sigma in one.sigma.items():
            exact = np.quantile(np.sqrt(s[:, i]), share, method="lower")
            assert sigma == pytest.approx(exact, rel=0.0101)
        assert one.ceiling.items == 1 and not one.ceiling.flagged
    i, j, value = health.correlations[0]
    assert (i, j) == (0, 1)
    assert value == pytest.approx(np.corrcoef(m[:, 0], m[:, 1])[0, 1], rel=1e-9)
    floor = health.dimensions[4].floor
    assert floor.flagged and floor.items == (log_var[:, 4] == log_var[:, 4].min()).sum()
    assert [one.floor.flagged for one in health.dimensions] == [False] * 4 + [True]


def test_degenerate_tables():
    one = examine(census_of([[0.5, -1.0]], [[-2.0, 0.0]]))
    assert one.items == 1 and one.active == [] and one.correlations == ()
    assert one.slider_range == pytest.approx(1.0, rel=0.021)
    assert math.isfinite(one.aggregate_kl)
    same = examine(census_of(np.zeros((50, 3)), np.zeros((50, 3))))
    assert (same.rate, same.aggregate_kl, same.slider_range) == (0.0, 0.0, 0.0)
    assert not any(d.floor.flagged or d.ceiling.flagged for d in same.dimensions)
    huge = examine(census_of(np.full((3, 1), 1e30), np.full((3, 1), 3e3)))
    assert math.isinf(huge.rate) and math.isnan(huge.aggregate_kl)
    mu = np.random.default_rng(0).normal(size=(40, 512))
    wide = examine(census_of(mu, np.zeros((40, 512))))
    assert len(wide.active) == 512
    with pytest.raises(ValueError, match="without items"):
        examine(Census(2))


def test_kl_of_a_covariance_without_an_inverse():
    assert math.isnan(gaussian_kl_to_prior(np.zeros(2), np.ones((2, 2))))
    assert gaussian_kl_to_prior(np.zeros(2), np.eye(2)) == 0.0
