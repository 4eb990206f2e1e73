"""KL(item ‖ centroid): the centroid is the Gaussian that describes its items best as a whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.divergences.base import Divergence, bound_in_nats
from vaeudf.clustering.features import SECOND_MOMENT, SHIFT
from vaeudf.clustering.ranges import Ranges
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.gaussian.pairs import kl_of_pairs

_Array = NDArray[np.float64]


class KlDivergence(Divergence):
    """KL(item ‖ centroid) = ½ Σ [ ((mu - m)² + s) / v - 1 + log v - log s ].

    It is the Bregman divergence of the expectation parameters, so its centroid is their mean
    (Banerjee, Merugu, Dhillon and Ghosh, 2005; for Gaussians Davis and Dhillon, 2006):
    m = mean mu, v = mean(s + mu²) - m², the moments of the mixture of the items.
    """

    name = "kl"
    meaning = "KL(item ‖ centroid)"
    unit = "nats"
    features = (SHIFT, SECOND_MOMENT)
    code = kernels.KL
    factor = 0.5
    log_var_weight = -1.0

    def of_pairs(self, items: Gaussians, centroids: Gaussians) -> _Array:
        """Return KL(item ‖ centroid) of each pair, (N,)."""
        return kl_of_pairs(items.mu, items.log_var, centroids.mu, centroids.log_var)

    def centroids(self, means: _Array, pivots: Gaussians, least_log_var: _Array) -> Gaussians:
        """Return the Gaussians with the moments of each cluster's mixture."""
        return moment_matched(means, pivots, least_log_var)

    def bound(self, ranges: Ranges) -> float:
        """Return a bound of the divergence."""
        return bound_in_nats(ranges)

    def offsets(self, centroids: Gaussians) -> _Array:
        """Return Σ log v - n, (k,)."""
        return np.asarray(centroids.log_var.sum(axis=1) - centroids.mu.shape[1])


def moment_matched(means: _Array, pivots: Gaussians, least_log_var: _Array) -> Gaussians:
    """Return the Gaussians with given moments.

    Args:
        means: Of SHIFT and SECOND_MOMENT, (k, 2, n).
        pivots: What the means are counted from; k of them.
        least_log_var: No log variance may be below it, (n,).
    """
    shift, second_moment = means[:, 0], means[:, 1]
    variance = np.maximum(second_moment - np.square(shift), np.exp(least_log_var))
    return Gaussians(pivots.mu + shift, np.log(variance))


KL = KlDivergence()
