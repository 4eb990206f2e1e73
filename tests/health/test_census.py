"""The census: partitions do not matter; fingerprints tell copies from all else."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis

from tests.support.latent_space import census_of, latent_space
from tests.support.tolerances import assert_same_float64
from vaeudf.health.census import ROUNDING, Scale


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40))
def test_partitions_do_not_matter(cuts):
    mu, log_var = latent_space(400)
    whole, parts = (
        census_of(mu, log_var),
        pickle.loads(pickle.dumps(census_of(mu, log_var, cuts=cuts))),
    )
    for name in ("mu", "sigma", "rate"):
        np.testing.assert_array_equal(getattr(parts, name).counts, getattr(whole, name).counts)
    assert parts.count == whole.count == 400
    assert parts.sample.ids == whole.sample.ids
    assert parts.farthest.ids == whole.farthest.ids
    np.testing.assert_array_equal(parts.log_var.low_count, whole.log_var.low_count)
    assert_same_float64(parts.kl_sum, whole.kl_sum, terms=400)
    assert_same_float64(parts.variance_sum, whole.variance_sum, terms=400)
    found, expected = parts.moments.covariance, whole.moments.covariance
    added = np.abs(mu.T) @ np.abs(mu) / 400
    assert_same_float64(found, expected, terms=2 * 400, magnitude=added)


def test_a_block_is_as_good_as_many(monkeypatch):
    mu, log_var = latent_space(300)
    whole = census_of(mu, log_var)
    monkeypatch.setattr("vaeudf.health.census._NUMBERS_PER_BLOCK", 35)
    blocks = census_of(mu, log_var)
    np.testing.assert_array_equal(blocks.mu.counts, whole.mu.counts)
    assert_same_float64(blocks.kl_sum, whole.kl_sum, terms=300)


def test_distance_is_that_of_mahalanobis():
    mu, log_var = latent_space(500)
    scale = Scale.fit(mu, log_var)
    own = np.diag(np.exp(log_var.astype(np.float64)).mean(axis=0))
    inverse = np.linalg.inv(np.cov(mu.astype(np.float64).T, ddof=0) + own)
    mean = mu.astype(np.float64).mean(axis=0)
    exact = [mahalanobis(row, mean, inverse) for row in mu[:50]]
    # Of a sum over all items and of an inverse.
    terms = 500 * np.linalg.cond(inverse)
    assert_same_float64(scale.distance(mu[:50]), exact, terms=terms)
    farthest = np.argsort(-scale.distance(mu), kind="stable")[:5]
    assert census_of(mu, log_var).farthest.ids == [f"i{row}" for row in farthest]


@pytest.mark.parametrize("spread", [0.0, 1e-30, 1.0, 1e20])
def test_a_scale_of_anything(spread):
    mu = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32) * np.float32(spread)
    scale = Scale.fit(mu, np.full((3, 4), -80.0, np.float32))
    assert np.isfinite(scale.distance(mu)).all()
    assert len(set(scale.fingerprint(mu, mu).tolist())) == (1 if spread < 1e-20 else 3)


def test_fingerprints():
    rng = np.random.default_rng(1)
    mu = rng.normal(size=(2_000, 3)).astype(np.float32)
    log_var = rng.normal(-4, 0.5, size=(2_000, 3)).astype(np.float32)
    scale = Scale.fit(mu, log_var)
    own = scale.fingerprint(mu, log_var)
    assert len(set(own.tolist())) == 2_000
    order = rng.permutation(2_000)
    np.testing.assert_array_equal(scale.fingerprint(mu[order], log_var[order]), own[order])
    # What another batch size changes: most agree, but for lines of the grid in between.
    near = scale.fingerprint(mu * np.float32(1 + 1e-7), log_var)
    assert (near == own).mean() > 0.95
    for dim in range(3):
        moved, wider = mu.copy(), log_var.copy()
        moved[:, dim] += np.float32(3 * ROUNDING * scale.sigma[dim])
        wider[:, dim] += np.float32(6 * ROUNDING)
        assert not (scale.fingerprint(moved, log_var) == own).any()
        assert not (scale.fingerprint(mu, wider) == own).any()
    # mu and log_var are not confused, nor dimensions with each other.
    assert not (scale.fingerprint(mu[:, ::-1], log_var) == own).any()
    zeros = np.zeros((1, 3), np.float32)
    np.testing.assert_array_equal(
        scale.fingerprint(zeros, zeros), scale.fingerprint(-zeros, -zeros)
    )
