"""A latent space whose health is known."""

from __future__ import annotations

import numpy as np

from vaeudf.health.census import Census, Scale
from vaeudf.health.hubs import HubCurve


def census_of(mu, log_var, k=5, cuts=1) -> Census:
    """A census of named rows, made in parts."""
    mu, log_var = np.asarray(mu, np.float32), np.asarray(log_var, np.float32)
    scale = Scale.fit(mu, log_var)
    found = Census(mu.shape[1], k, k)
    for rows in np.array_split(np.arange(len(mu)), cuts):
        part = Census(mu.shape[1], k, k)
        part.add(
            mu[rows],
            log_var[rows],
            ids=lambda places, rows=rows: [f"i{rows[place]}" for place in places],
            distances=scale.distance(mu[rows]),
            lots=np.sin(rows * 12.9898) % 1.0,
        )
        found.merge(part)
    return found


def latent_space(count=5_000, seed=0):
    """Two active dimensions, one collapsed, one stuck away from the prior, one that is clamped."""
    rng = np.random.default_rng(seed)
    mu = rng.normal(size=(count, 5)) * [1.5, 0.8, 0.01, 0.02, 1.0] + [0, 0.5, 0, 2.0, 0]
    mu[:, 1] += 0.9 * mu[:, 0]
    log_var = rng.normal(size=(count, 5)) * 0.3 + [-4, -3, 0, -1, -3]
    log_var[:, 2] *= 0.1
    log_var[:, 4] = np.maximum(log_var[:, 4], -3.2)
    return mu.astype(np.float32), log_var.astype(np.float32)


def curve(shares, euclidean, items=10_000, taus=(0.0, 0.1, 1.0)) -> HubCurve:
    """How often one item is among the answers: shares by tolerance and kind, and by nearest mu."""
    kinds = tuple("ab"[: len(euclidean)])
    return HubCurve(
        k=10,
        queries=100,
        kinds=kinds,
        taus=taus,
        shares=np.array(shares),
        euclidean=np.array(euclidean),
        least=min(1.0, 10 / items),
    )
