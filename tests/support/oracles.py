"""Scores of ordinary posteriors by torch.distributions, by SciPy, or by a formula written out here.

Nothing here comes from vaeudf: a mistake in a formula of vaeudf.gaussian, which the compiled loops
may have as well, is seen only by comparison with code that shares nothing with it.

Points z are (Q, n), means and log variances of queries (Q, n) and of items (N, n); scores (Q, N).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.distance import cdist


def _gaussians(mu, log_var):
    normal = torch.distributions.Normal(*map(torch.from_numpy, (mu, np.exp(log_var / 2))))
    return torch.distributions.Independent(normal, 1)


def log_density_by_torch(z, mu, log_var):
    return _gaussians(mu, log_var).log_prob(torch.from_numpy(z)[:, None]).numpy()


def mahalanobis_by_scipy(z, mu, log_var):
    """The Euclidean distance in units of each item's own sigmas."""
    columns = [
        cdist(z, mean[None], "seuclidean", V=variances)
        for mean, variances in zip(mu, np.exp(log_var), strict=True)
    ]
    return np.concatenate(columns, axis=1)


def euclidean_by_scipy(z, mu, log_var):
    return cdist(z, mu)


def kl_by_torch(query_mu, query_log_var, mu, log_var):
    query = _gaussians(query_mu[:, None], query_log_var[:, None])
    return torch.distributions.kl_divergence(query, _gaussians(mu, log_var)).numpy()


def reverse_kl_by_torch(query_mu, query_log_var, mu, log_var):
    query = _gaussians(query_mu[:, None], query_log_var[:, None])
    return torch.distributions.kl_divergence(_gaussians(mu, log_var), query).numpy()


def jeffreys_by_torch(*pair):
    return kl_by_torch(*pair) + reverse_kl_by_torch(*pair)


def expected_log_density_by_torch(query_mu, query_log_var, mu, log_var):
    """Minus the query's entropy and minus the divergence."""
    entropy = _gaussians(query_mu, query_log_var).entropy().numpy()
    return -entropy[:, None] - kl_by_torch(query_mu, query_log_var, mu, log_var)


def wasserstein2_by_scipy(query_mu, query_log_var, mu, log_var):
    """The Euclidean distance of the points (mu, sigma)."""
    points = [
        np.concatenate([m, np.exp(lv / 2)], axis=1)
        for m, lv in ((query_mu, query_log_var), (mu, log_var))
    ]
    return cdist(*points)


def bhattacharyya_by_formula(query_mu, query_log_var, mu, log_var):
    """Σ ¼ (m - mu)² / (v + s) + ½ log(½ (v + s) / (sigma_v sigma_s)), from the textbook."""
    gap = query_mu[:, None] - mu
    sigma_v, sigma_s = np.exp(query_log_var / 2)[:, None], np.exp(log_var / 2)
    added = sigma_v**2 + sigma_s**2
    terms = gap**2 / (4 * added) + np.log(added / (2 * sigma_v * sigma_s)) / 2
    return terms.sum(axis=-1)


def mutual_likelihood_by_torch(query_mu, query_log_var, mu, log_var):
    """The density of the difference of the two, whose variances add up, at zero."""
    added = np.exp(query_log_var)[:, None] + np.exp(log_var)
    normal = torch.distributions.Normal(
        *map(torch.from_numpy, (query_mu[:, None] - mu, added**0.5))
    )
    zero = torch.zeros(1, dtype=torch.float64)
    return torch.distributions.Independent(normal, 1).log_prob(zero).numpy()
