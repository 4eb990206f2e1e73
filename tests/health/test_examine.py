"""What a census says, against torch.distributions and NumPy on all items at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from tests.support.latent_space import census_of, latent_space
from tests.support.tolerances import assert_same_scores, near_float64, near_score, near_sketched
from vaeudf.health.census import Census
from vaeudf.health.examine import examine, gaussian_kl_to_prior
from vaeudf.numerics.sketches import ACCURACY, SMALLEST

# The end of a bucket, beside whatever is in it.
REACH = 2 * ACCURACY / (1 - ACCURACY)


def test_dimensions_against_all_items_at_once():
    mu, log_var = latent_space()
    health = examine(census_of(mu, log_var, cuts=7))
    m, s = mu.astype(np.float64), np.exp(log_var.astype(np.float64))
    prior = Normal(torch.zeros(5, dtype=torch.float64), 1.0)
    posterior = Normal(torch.from_numpy(m), torch.from_numpy(np.sqrt(s)))
    kl = kl_divergence(posterior, prior).numpy()
    count = len(mu)
    means = [one.kl for one in health.dimensions]
    assert_same_scores(means, kl.mean(axis=0), log_var, dims=1, items=count)
    assert health.rate == near_score(kl.sum(axis=1).mean(), log_var, dims=5, items=count)
    for share, value in health.rate_quantiles.items():
        exact = np.quantile(kl.sum(axis=1), share, method="lower")
        assert value == near_sketched(exact, accuracy=ACCURACY, smallest=SMALLEST)
    covariance = np.cov(m.T, ddof=0) + np.diag(s.mean(axis=0))
    aggregate = MultivariateNormal(torch.from_numpy(m.mean(axis=0)), torch.from_numpy(covariance))
    origin = MultivariateNormal(torch.zeros(5, dtype=torch.float64), torch.eye(5).double())
    expected = kl_divergence(aggregate, origin).item()
    assert health.aggregate_kl == near_score(expected, dims=5, items=count)
    assert [one.active for one in health.dimensions] == [True, True, False, False, True]
    for i, one in enumerate(health.dimensions):
        sums = {"terms": 2 * count, "magnitude": (m[:, i] ** 2).mean() + s[:, i].mean()}
        assert one.mu_variance == near_float64(m[:, i].var(), **sums)
        assert one.variance == near_float64(m[:, i].var() + s[:, i].mean(), **sums)
        magnitude = np.abs(m[:, i]).mean()
        assert one.mu_mean == near_float64(m[:, i].mean(), terms=count, magnitude=magnitude)
        assert (np.abs(m[:, i]) <= one.slider_range).mean() >= 0.99
        exact = np.quantile(np.abs(m[:, i]), 0.99, method="inverted_cdf")
        assert one.slider_range == near_sketched(exact, accuracy=REACH, smallest=SMALLEST)
        for share, sigma in one.sigma.items():
            exact = np.quantile(np.sqrt(s[:, i]), share, method="lower")
            assert sigma == near_sketched(exact, accuracy=ACCURACY, smallest=SMALLEST)
        assert one.ceiling.items == 1 and not one.ceiling.flagged
    i, j, value = health.correlations[0]
    assert (i, j) == (0, 1)
    # Of three sums, each relative to the second moments.
    assert value == near_float64(np.corrcoef(m[:, 0], m[:, 1])[0, 1], terms=6 * count)
    floor = health.dimensions[4].floor
    assert floor.flagged and floor.items == (log_var[:, 4] == log_var[:, 4].min()).sum()
    assert [one.floor.flagged for one in health.dimensions] == [False] * 4 + [True]


def test_degenerate_tables():
    one = examine(census_of([[0.5, -1.0]], [[-2.0, 0.0]]))
    assert one.items == 1 and one.active == [] and one.correlations == ()
    assert one.slider_range == near_sketched(1.0, accuracy=REACH, smallest=SMALLEST)
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
