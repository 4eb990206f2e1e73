"""The squared Euclidean distance of the means: plain k-means on mu, for comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.divergences.base import Divergence
from vaeudf.clustering.divergences.kl import KL, moment_matched
from vaeudf.clustering.ranges import Ranges
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.gaussian.pairs import sum_over_dims

_Array = NDArray[np.float64]


class EuclideanDistance(Divergence):
    """Σ (mu - m)².

    Its centroid has the mean mu of the items. Any variance would do; it gets the variance of the
    mixture of the items, as for kl.
    """

    name = "euclidean"
    meaning = "squared Euclidean distance of the means"
    unit = ""
    squared = True
    measures_variances = False
    features = KL.features
    code = kernels.EUCLIDEAN
    factor = 1.0

    def of_pairs(self, items: Gaussians, centroids: Gaussians) -> _Array:
        """Return the squared distance of each pair's means, (N,)."""
        return sum_over_dims(np.square(items.mu - centroids.mu))

    def centroids(self, means: _Array, pivots: Gaussians, least_log_var: _Array) -> Gaussians:
        """Return the Gaussians with the moments of each cluster's mixture."""
        return moment_matched(means, pivots, least_log_var)

    def bound(self, ranges: Ranges) -> float:
        """Return a bound of the squared distance."""
        return float((ranges.largest_gap**2).sum())


EUCLIDEAN = EuclideanDistance()
