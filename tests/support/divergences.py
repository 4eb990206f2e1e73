"""References of the divergences to cluster by, from torch.distributions or by definition.

REFERENCES has a row for each divergence; whoever adds one adds its row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.distributions import Normal, kl_divergence

from tests.support.passes import MemoryPasses, surveyed
from vaeudf.clustering.divergences import DIVERGENCES
from vaeudf.clustering.tallies import Anchors, tally_all
from vaeudf.gaussian.arrays import Gaussians

EVERY_DIVERGENCE = pytest.mark.parametrize(
    "divergence", DIVERGENCES.values(), ids=lambda divergence: divergence.name
)


@dataclass(frozen=True)
class Reference:
    """What a divergence is by its definition.

    Attributes:
        divergence: Of items N(mu, sigma²) from centroids N(m, sigma²), per dimension, by torch.
        centroid: The mean and log variance of a cluster's centroid, from mu and variances (N, n);
            None where it has no closed form.
        squared: Whether people call the root of it by its name.
    """

    divergence: object
    centroid: object
    squared: bool = False


def _forward(mu, sigma, m, m_sigma):
    return kl_divergence(Normal(mu, sigma), Normal(m, m_sigma))


def _backward(mu, sigma, m, m_sigma):
    return kl_divergence(Normal(m, m_sigma), Normal(mu, sigma))


def _mixture(mu, s):
    return mu.mean(0), np.log((s + mu**2).mean(0) - mu.mean(0) ** 2)


def _natural(mu, s):
    v = 1 / (1 / s).mean(0)
    return v * (mu / s).mean(0), np.log(v)


REFERENCES = {
    "kl": Reference(_forward, _mixture),
    "reverse_kl": Reference(_backward, _natural),
    "jeffreys": Reference(lambda *pair: _forward(*pair) + _backward(*pair), None),
    "wasserstein2": Reference(
        lambda mu, sigma, m, m_sigma: (mu - m) ** 2 + (sigma - m_sigma) ** 2,
        lambda mu, s: (mu.mean(0), 2 * np.log(np.sqrt(s).mean(0))),
        squared=True,
    ),
    "euclidean": Reference(lambda mu, _, m, __: (mu - m) ** 2, _mixture, squared=True),
}


def reference(name, mu, log_var, m, log_v):
    """D of every item from every centroid, (N, k)."""
    items = [torch.as_tensor(x)[:, None] for x in (_float64(mu), _sigma(log_var))]
    centroids = [torch.as_tensor(x)[None] for x in (_float64(m), _sigma(log_v))]
    return REFERENCES[name].divergence(*items, *centroids).sum(-1).numpy()


def _float64(x):
    return np.asarray(x, np.float64)


def _sigma(log_var):
    return np.exp(0.5 * _float64(log_var))


def centroid_by_search(name, mu, log_var):
    """The Gaussian with the least mean divergence, by a general minimiser."""
    found = []
    for i in range(mu.shape[1]):

        def cost(x, i=i):
            return reference(name, mu[:, [i]], log_var[:, [i]], [[x[0]]], [[x[1]]]).mean()

        start = [mu[:, i].mean(), np.log(np.exp(log_var[:, i]).mean() + mu[:, i].var())]
        options = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 4000, "maxfev": 8000}
        found.append(minimize(cost, start, method="Nelder-Mead", options=options).x)
    return np.array(found).T


def draw_clusters(count=400, n=3, seed=0, clusters=4, scale=3.0):
    """Means and log variances of items around a few centres, float32, (count, n)."""
    rng = np.random.default_rng(seed)
    which = rng.integers(clusters, size=count)
    mu = rng.normal(0, scale, (clusters, n))[which] + rng.normal(0, 0.5, (count, n))
    log_var = rng.normal(-2, 1, (clusters, n))[which] + rng.normal(0, 0.3, (count, n))
    return mu.astype(np.float32), log_var.astype(np.float32)


def centroid_of(divergence, mu, log_var, pivot=0.0):
    """The centroid of all items as vaeudf has it, by a pass."""
    passes = MemoryPasses(mu, log_var)
    found = surveyed(passes)
    n = mu.shape[1]
    start = Gaussians(np.full((1, n), pivot), np.zeros((1, n)))
    [tally] = tally_all(passes, [start], divergence, Anchors.of(divergence, found))
    return divergence.centroids(tally.means(), start, found.ranges.low_log_var)
