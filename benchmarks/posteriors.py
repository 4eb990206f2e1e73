"""Posteriors with the statistics of a real VAE of clothing photos, at any size.

As measured on 3,068 photos with a 10-dimensional VAE: mu spreads by about 1.1 per dimension, sigma
is about 0.1, and items come in clusters: garments of a kind look alike. ``--posteriors FILE.npz``
(arrays ``mu`` and ``log_var``) takes the clusters' centres from a real encoding instead.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS = ("posterior", "prior", "slider")
WIDE_KINDS = ("posterior", "item", "sliders moved", "prior", "slider")
"""In many dimensions: also an item's mean + N(0, 0.5²), and with 8 dimensions at random values."""
_CLUSTERS = 3_068
_MU_STD, _SIGMA = 1.1, 0.1
_NEAR_MU, _NEAR_LOG_VAR = 0.35, 0.2


@dataclass(frozen=True)
class Posteriors:
    """Items: mu and log_var, both (N, n) float32."""

    mu: NDArray[np.float32]
    log_var: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.mu)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names real posteriors to start from."""
    parser.add_argument("--posteriors", help=".npz with mu and log_var to draw the items around")


def draw_items(
    count: int, latent_dim: int = 10, source: str | None = None, seed: int = 0
) -> Posteriors:
    """Draw items around cluster centres: N(0, 0.35²) from their mu, N(0, 0.2²) from log_var."""
    rng = np.random.default_rng([seed, latent_dim])
    if source is not None:
        with np.load(source) as arrays:
            mu, log_var = arrays["mu"], arrays["log_var"]
        if mu.shape[1] != latent_dim:
            raise ValueError(f"{source} has {mu.shape[1]} dimensions; expected {latent_dim}.")
    else:
        mu = rng.normal(0, _MU_STD, (_CLUSTERS, latent_dim))
        log_var = rng.normal(2 * np.log(_SIGMA), 0.5, (_CLUSTERS, latent_dim))
    which = rng.integers(0, len(mu), count)
    parts = []
    for begin in range(0, count, 1_000_000):
        own = which[begin : begin + 1_000_000]
        shape = (len(own), latent_dim)
        parts.append(
            (
                (mu[own] + rng.normal(0, _NEAR_MU, shape)).astype(np.float32),
                (log_var[own] + rng.normal(0, _NEAR_LOG_VAR, shape)).astype(np.float32),
            )
        )
    return Posteriors(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def draw_queries(
    kind: str, count: int, items: Posteriors, seed: int = 1, end: float = 5.0
) -> NDArray[np.float64]:
    """Draw z vectors (count, n) of one of the kinds; the sliders go from -end to end."""
    rng = np.random.default_rng(seed)
    latent_dim = items.mu.shape[1]
    if kind == "posterior":
        which = rng.integers(0, len(items), count)
        noise = rng.normal(size=(count, latent_dim))
        return np.asarray(items.mu[which] + np.exp(0.5 * items.log_var[which]) * noise, np.float64)
    if kind == "prior":
        return rng.normal(size=(count, latent_dim))
    if kind == "slider":
        return rng.uniform(-end, end, size=(count, latent_dim))
    near = np.asarray(items.mu[rng.integers(0, len(items), count)], np.float64)
    if kind == "item":
        return near + rng.normal(0, 0.5, size=near.shape)
    if kind == "sliders moved":
        moved = rng.permuted(np.tile(np.arange(latent_dim), (count, 1)), axis=1)[:, :8]
        np.put_along_axis(near, moved, rng.uniform(-end, end, size=moved.shape), axis=1)
        return near
    raise ValueError(f"kind is {kind!r}; expected one of {', '.join((*KINDS, *WIDE_KINDS))}")
