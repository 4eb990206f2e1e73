"""How many items are at a point z, by the aggregate posterior."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian import LOG_2PI
from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.variances import blurred
from vaeudf.search.index import PosteriorIndex

# Items in the sample; a table of no more is its own sample.
SAMPLED = 2**14
# The sample is taken at its word if so many of its items share the sum: it is then off by 6 %
# (one standard deviation), or less, for it has its part of every region.
ENOUGH = 256
# Otherwise the items are added up, but for those that together add less than the larger of these:
# a number of items, and a share of what the hits alone add up to.
PASSED_OVER, PASSED_SHARE = 0.005, 0.01
# e^80 is a float32, and so is its sum with others.
_MOST_LOG = 80.0
_LEAST_PRECISION, _MOST_PRECISION = 1e-300, 1e300
# Tolerances whose numbers are kept, of 8n octets an item of the sample.
_KEPT = 4


class Density:
    """Counts the items at a point, in a time that does not grow with how many there are.

    With the aggregate posterior A(z), the mean of q(z|x) over the N items, and the median sigma of
    each dimension, the items that are expected at z in a volume as large as that of one posterior
    are

        N · A(z) · Π √(2π (sigma² + tau²)) = Σ q(z|x) / N(0; 0, diag(sigma² + tau²))

    An item of the median sigma whose mu is z counts as 1, and one that is d sigma away as
    e^(-½ d²). Open dimensions are left out.
    """

    def __init__(self, index: PosteriorIndex, sigma: NDArray[np.float64]) -> None:
        """Take in items.

        Args:
            index: Has them, by row.
            sigma: The median sigma of each dimension, shape (n,).
        """
        mu, log_var = index.in_place
        self._index = index
        self._sigma = sigma
        self._every = max(1, len(index) // SAMPLED)
        self._rows = np.arange(self._every // 2, len(index), self._every)
        self._mu = np.ascontiguousarray(mu[self._rows].T, np.float64)
        self._log_var = log_var[self._rows].T.astype(np.float64)
        self._blurred: OrderedDict[Tolerance, tuple[NDArray[np.float64], ...]] = OrderedDict()
        self._lock = threading.Lock()

    def items_here(
        self,
        z: NDArray[np.float64],
        tolerance: Tolerance,
        where: NDArray[np.bool_] | None = None,
        least: float = -np.inf,
    ) -> float:
        """Return how many items are expected at z.

        Args:
            z: Shape (n,), NaN in dimensions that are left open.
            tolerance: tau.
            where: Which items count, shape (N,), by row; all of them unless given.
            least: Log of a sum of q(z|x) that some items are known to reach.
        """
        closed = ~np.isnan(z)
        tau = np.broadcast_to(tolerance, z.shape)
        log_volume = 0.5 * float(np.log(2 * np.pi * (self._sigma**2 + tau**2))[closed].sum())
        numbers = self._sampled(z, closed, tolerance)
        if where is not None:
            numbers = np.where(where[self._rows], numbers, -np.inf)
        with np.errstate(over="ignore", under="ignore"):
            numbers = numbers + log_volume
            if self._every > 1 and numbers.max() < _MOST_LOG:
                # Of a sample, float32 is precise enough, and faster.
                parts = np.exp(numbers.astype(np.float32)).astype(np.float64)
            else:
                parts = np.exp(numbers)
            total, squares = float(parts.sum()), float(np.square(parts).sum())
        if self._every == 1 or total * total >= ENOUGH * squares > 0:
            return total * self._every
        skipped = max(np.log(PASSED_OVER) - log_volume, np.log(PASSED_SHARE) + least)
        cut = float(skipped - np.log(len(self._index)))
        [log_sum] = self._index.log_sum(z, cut, tolerance=tolerance, where=where)
        with np.errstate(over="ignore"):
            return float(np.exp(log_sum + log_volume))

    def _sampled(
        self, z: NDArray[np.float64], closed: NDArray[np.bool_], tolerance: Tolerance
    ) -> NDArray[np.float64]:
        """Return log q(z|x) of the sample, shape (S,)."""
        precision, log_vars = self._widened(tolerance)
        mu = self._mu
        if not closed.all():
            mu, precision, log_vars, z = (x[closed] for x in (mu, precision, log_vars, z))
        with np.errstate(over="ignore"):
            apart = mu - z[:, None]
            misfit = np.einsum("ds,ds,ds->s", apart, precision, apart)
        numbers: NDArray[np.float64] = -0.5 * (misfit + log_vars.sum(axis=0) + LOG_2PI * len(z))
        return numbers

    def _widened(self, tolerance: Tolerance) -> tuple[NDArray[np.float64], ...]:
        """Return 1 / (sigma² + tau²) and log(sigma² + tau²) of the sample, each of shape (n, S)."""
        with self._lock:
            found = self._blurred.pop(tolerance, None)
            if found is None:
                log_vars = blurred(self._log_var.T, tolerance).T
                with np.errstate(over="ignore"):
                    # Within these an item at z itself has no misfit, and no other one is without.
                    precision = np.clip(np.exp(-log_vars), _LEAST_PRECISION, _MOST_PRECISION)
                found = (precision, np.ascontiguousarray(log_vars))
            self._blurred[tolerance] = found
            while len(self._blurred) > _KEPT:
                self._blurred.popitem(last=False)
        return found
