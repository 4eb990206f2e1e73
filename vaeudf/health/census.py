"""The census of a table's posteriors: sketches and sums, made in parts by one pass and merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.numerics.sketches import Extremes, Moments, QuantileSketch, TopList
from vaeudf.numerics.splitmix import STEP, mixed

ROUNDING = 1e-3
"""Posteriors that agree to within this many sigma count as copies of each other."""

# Numbers that are counted together: some MB as float64, whatever the latent_dim is.
_NUMBERS_PER_BLOCK = 2**19


@dataclass(frozen=True)
class Scale:
    """The mean and spread of a sample of the posteriors, known before the pass.

    Attributes:
        mean: Of mu, shape (n,).
        whitener: W, shape (n, n): |W (mu - mean)| is the Mahalanobis distance from the mean.
        sigma: A typical one of each dimension, shape (n,).
    """

    mean: NDArray[np.float64]
    whitener: NDArray[np.float64]
    sigma: NDArray[np.float64]

    @classmethod
    def fit(cls, mu: NDArray[np.floating], log_var: NDArray[np.floating]) -> Scale:
        """Return the scale of a sample, mu and log_var (S, n), S ≥ 1.

        The items' own variances are part of the covariance, so that it has an inverse even where
        all mu are the same.
        """
        moments = Moments.of(mu)
        own = np.exp(np.clip(np.asarray(log_var, np.float64), -60.0, 60.0)).mean(axis=0)
        covariance = moments.covariance + np.diag(own)
        values, vectors = np.linalg.eigh(covariance)
        values = np.maximum(values, max(1e-12 * values.max(), 1e-30))
        sigma = np.exp(np.clip(0.5 * np.asarray(log_var, np.float64).mean(axis=0), -300, 300))
        return cls(moments.mean, (vectors / np.sqrt(values)).T, sigma)

    def distance(self, mu: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far mu (B, n) lie from the mean, shape (B,)."""
        whitened = (np.asarray(mu, np.float64) - self.mean) @ self.whitener.T
        return np.asarray(np.sqrt(np.square(whitened).sum(axis=1)))

    def fingerprint(
        self, mu: NDArray[np.floating], log_var: NDArray[np.floating]
    ) -> NDArray[np.int64]:
        """Return 64-bit hashes, shape (B,), equal for posteriors that agree to :data:`ROUNDING`.

        mu and log_var are rounded to a grid of that many sigma and hashed. The hashes of exact
        copies are always equal; of N different posteriors, N² / 2^65 pairs have equal ones by
        chance. Two that differ by much less than the grid's step have equal hashes unless a line of
        the grid falls between them.
        """
        hashes = np.zeros(len(mu), np.uint64)
        with np.errstate(over="ignore"):
            for dim in range(mu.shape[1]):
                # d log sigma = ½ d log_var.
                steps = (ROUNDING * self.sigma[dim], 2.0 * ROUNDING)
                for values, step in zip((mu[:, dim], log_var[:, dim]), steps, strict=True):
                    cells = np.rint(np.clip(values.astype(np.float64) / step, -9e18, 9e18))
                    hashes = mixed(hashes + cells.astype(np.int64).view(np.uint64) + STEP)
        return hashes.view(np.int64)


class Census:
    """Sketches and sums of the posteriors of a table, or of a part of it.

    Attributes:
        mu: Sketch of mu, n dimensions.
        sigma: Sketch of sigma, n dimensions.
        rate: Sketch of KL(q(z|x) ‖ N(0, I)), one dimension, nats.
        moments: Of mu.
        variance_sum: Σ sigma² over the items, shape (n,).
        kl_sum: Σ KL(q(z_i|x) ‖ N(0, 1)) over the items, shape (n,), nats.
        log_var: Extremes of log_var.
        farthest: The items farthest from the mean, with their distance.
        sample: A random sample of the items.
    """

    def __init__(self, latent_dim: int, num_farthest: int = 0, num_sampled: int = 0) -> None:
        """Start with no items."""
        self.mu = QuantileSketch(latent_dim)
        self.sigma = QuantileSketch(latent_dim, signed=False)
        self.rate = QuantileSketch(1, signed=False)
        self.moments = Moments.of(np.empty((0, latent_dim)))
        self.variance_sum = np.zeros(latent_dim)
        self.kl_sum = np.zeros(latent_dim)
        self.log_var = Extremes.of(np.empty((0, latent_dim)))
        self.farthest = TopList(num_farthest, latent_dim)
        self.sample = TopList(num_sampled, latent_dim)

    @property
    def count(self) -> int:
        """How many items there are."""
        return self.moments.count

    @property
    def latent_dim(self) -> int:
        """The number of dimensions n."""
        return len(self.kl_sum)

    def add(
        self,
        mu: NDArray[np.floating],
        log_var: NDArray[np.floating],
        *,
        ids: Callable[[NDArray[np.int64]], Sequence[str]],
        distances: NDArray[np.float64],
        lots: NDArray[np.float64],
    ) -> None:
        """Take in items.

        Args:
            mu: Shape (B, n).
            log_var: Shape (B, n).
            ids: Returns the item_ids of some rows.
            distances: Distance of each from the mean, shape (B,).
            lots: A random number for each item_id, shape (B,); the largest are sampled.
        """
        rows = max(1, _NUMBERS_PER_BLOCK // self.latent_dim)
        for start in range(0, len(mu), rows):
            self._count(mu[start : start + rows], log_var[start : start + rows])
        for top, values in ((self.farthest, distances), (self.sample, lots)):
            wanted = top.wanted(values)
            if len(wanted):
                top.add(values[wanted], ids(wanted), mu[wanted], log_var[wanted])

    def _count(self, mu: NDArray[np.floating], log_var: NDArray[np.floating]) -> None:
        means, log_vars = np.asarray(mu, np.float64), np.asarray(log_var, np.float64)
        with np.errstate(over="ignore"):  # what exceeds float64 is infinite, and a warning says so
            # expm1(d) - d does not cancel where sigma is near 1, as in a collapsed dimension.
            kl = 0.5 * (np.square(means) + np.maximum(np.expm1(log_vars) - log_vars, 0.0))
            self.sigma.add(np.exp(0.5 * log_vars))
            self.variance_sum += np.exp(log_vars).sum(axis=0)
            self.rate.add(kl.sum(axis=1, keepdims=True))
            self.kl_sum += kl.sum(axis=0)
        self.mu.add(means)
        self.moments.merge(Moments.of(means))
        self.log_var.merge(Extremes.of(log_vars))

    def merge(self, other: Census) -> None:
        """Take in another part of the table."""
        self.mu.merge(other.mu)
        self.sigma.merge(other.sigma)
        self.rate.merge(other.rate)
        self.moments.merge(other.moments)
        self.variance_sum = self.variance_sum + other.variance_sum
        self.kl_sum = self.kl_sum + other.kl_sum
        self.log_var.merge(other.log_var)
        self.farthest.merge(other.farthest)
        self.sample.merge(other.sample)
