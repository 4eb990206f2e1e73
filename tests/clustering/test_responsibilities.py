from __future__ import annotations

import numpy as np
import torch
from torch.distributions import Independent, Normal, kl_divergence

from tests.support.tolerances import SCORE, assert_same_float64
from vaeudf.clustering.responsibilities import responsibilities
from vaeudf.gaussian.arrays import Gaussians


def gaussians(rng, count, n=5, spread=1.0):
    return Gaussians(spread * rng.normal(size=(count, n)), rng.normal(size=(count, n)) - 1)


def test_against_torch():
    rng = np.random.default_rng(0)
    items, centroids = gaussians(rng, 400), gaussians(rng, 7)
    sizes = rng.integers(1, 100, 7)

    def torches(some):
        mu, log_var = map(torch.from_numpy, (some.mu, some.log_var))
        return Normal(mu[:, None], (0.5 * log_var[:, None]).exp())

    q, p = torches(items), torches(centroids)
    divergences = kl_divergence(
        Independent(Normal(q.loc, q.scale), 1),
        Independent(Normal(p.loc.transpose(0, 1), p.scale.transpose(0, 1)), 1),
    )
    expected = torch.softmax(torch.from_numpy(np.log(sizes / sizes.sum())) - divergences, dim=1)
    found = responsibilities(items, centroids, sizes)
    # What the divergences are off by is what the logarithms are off by.
    assert_same_float64(found, expected.numpy(), terms=4 * 5, magnitude=divergences.max().item())


def test_extremes():
    rng = np.random.default_rng(1)
    # Beyond exp's range, and without a warning: warnings are errors here.
    items, centroids = gaussians(rng, 30, spread=1e4), gaussians(rng, 4, spread=1e4)
    found = responsibilities(items, centroids, np.array([5, 0, 1, 1]))
    assert np.isfinite(found).all() and (found[:, 1] == 0).all()
    assert (found.max(axis=1) == 1).all()
    same = Gaussians(np.repeat(centroids.mu[:1], 2, 0), np.repeat(centroids.log_var[:1], 2, 0))
    shares = responsibilities(items, same, np.array([3, 1]))
    assert_same_float64(shares, np.tile([0.75, 0.25], (30, 1)), terms=SCORE)
    # Many centroids: a few items at a time.
    wide = gaussians(rng, 500, n=64)
    many = responsibilities(gaussians(rng, 200, n=64), wide, np.ones(500, np.int64))
    assert many.shape == (200, 500) and np.isfinite(many).all()
