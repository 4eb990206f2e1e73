"""The squared 2-Wasserstein distance: how far probability mass has to move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.divergences.base import Divergence
from vaeudf.clustering.features import SHIFT, SIGMA
from vaeudf.clustering.ranges import Ranges
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.gaussian.pairs import sum_over_dims

_Array = NDArray[np.float64]


class Wasserstein2Distance(Divergence):
    """W₂² = Σ [ (mu - m)² + (√s - √v)² ], which is Euclidean in (mu, sigma).

    Its centroid has the mean mu and the mean sigma of the items.
    """

    name = "wasserstein2"
    meaning = "squared 2-Wasserstein distance"
    unit = ""
    squared = True
    features = (SHIFT, SIGMA)
    code = kernels.WASSERSTEIN2
    factor = 1.0

    def of_pairs(self, items: Gaussians, centroids: Gaussians) -> _Array:
        """Return the squared distance of each pair, (N,)."""
        gap = items.mu - centroids.mu
        wider = self.dispersion(items.log_var) - self.dispersion(centroids.log_var)
        return sum_over_dims(np.square(gap) + np.square(wider))

    def centroids(self, means: _Array, pivots: Gaussians, least_log_var: _Array) -> Gaussians:
        """Return the Gaussians with the mean mu and the mean sigma."""
        return Gaussians(pivots.mu + means[:, 0], 2.0 * np.log(means[:, 1]))

    def bound(self, ranges: Ranges) -> float:
        """Return a bound of the squared distance."""
        return float((ranges.largest_gap**2 + ranges.largest_variance).sum())

    def dispersion(self, log_var: _Array) -> _Array:
        """Return sigma, the same shape."""
        return np.exp(0.5 * log_var)


WASSERSTEIN2 = Wasserstein2Distance()
