"""KL(centroid ‖ item): the centroid is the Gaussian that all of its items allow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.divergences.base import Divergence, bound_in_nats
from vaeudf.clustering.features import PRECISION, WEIGHTED_SHIFT
from vaeudf.clustering.ranges import Ranges
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.gaussian.pairs import kl_of_pairs

_Array = NDArray[np.float64]


class ReverseKlDivergence(Divergence):
    """KL(centroid ‖ item) = ½ Σ [ ((mu - m)² + v) / s - 1 + log s - log v ].

    Items of small variance count most. It is the Bregman divergence of the natural parameters, so
    its centroid is their mean (Banerjee et al., 2005): 1/v = mean 1/s, m = v · mean(mu / s).
    """

    name = "reverse_kl"
    meaning = "KL(centroid ‖ item)"
    unit = "nats"
    features = (PRECISION, WEIGHTED_SHIFT)
    code = kernels.REVERSE_KL
    factor = 0.5
    log_var_weight = 1.0
    inverts_items = True

    def of_pairs(self, items: Gaussians, centroids: Gaussians) -> _Array:
        """Return KL(centroid ‖ item) of each pair, (N,)."""
        return kl_of_pairs(centroids.mu, centroids.log_var, items.mu, items.log_var)

    def centroids(self, means: _Array, pivots: Gaussians, least_log_var: _Array) -> Gaussians:
        """Return the Gaussians with the mean natural parameters of each cluster."""
        return natural_mean(means, pivots)

    def bound(self, ranges: Ranges) -> float:
        """Return a bound of the divergence."""
        return bound_in_nats(ranges)

    def offsets(self, centroids: Gaussians) -> _Array:
        """Return -Σ log v - n, (k,)."""
        return np.asarray(-centroids.log_var.sum(axis=1) - centroids.mu.shape[1])


def natural_mean(means: _Array, pivots: Gaussians) -> Gaussians:
    """Return the Gaussians with given natural parameters.

    Args:
        means: Of PRECISION and WEIGHTED_SHIFT, (k, 2, n).
        pivots: What the means mu are counted from; k of them.
    """
    precision, weighted_shift = means[:, 0], means[:, 1]
    return Gaussians(pivots.mu + weighted_shift / precision, -np.log(precision))


REVERSE_KL = ReverseKlDivergence()
