"""KL(item ‖ centroid) + KL(centroid ‖ item): symmetric; the centroid is found numerically."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.divergences.base import Divergence, bound_in_nats
from vaeudf.clustering.divergences.kl import KL, moment_matched
from vaeudf.clustering.divergences.reverse_kl import REVERSE_KL, natural_mean
from vaeudf.clustering.ranges import Ranges
from vaeudf.gaussian.arrays import Gaussians

_Array = NDArray[np.float64]

_MAX_STEPS = 200


class JeffreysDivergence(Divergence):
    """½ Σ [ (mu - m)² (1/s + 1/v) + s/v + v/s - 2 ].

    The total over N items is N/2 [ A(m)/v + B v + mean (mu - m)²/s ] and a constant, with A(m) =
    mean(s + (mu - m)²) and B = mean 1/s. For a given m the best v is sqrt(A(m)/B), which leaves
    N/2 [ 2 sqrt(B A(m)) + mean (mu - m)²/s ]: the square root of a positive quadratic is convex,
    and so is the rest, so there is one minimum. It has no closed form; minimising over v and over m
    in turn converges to it.
    """

    name = "jeffreys"
    meaning = "KL(item ‖ centroid) + KL(centroid ‖ item)"
    unit = "nats"
    features = (*KL.features, *REVERSE_KL.features)
    code = kernels.JEFFREYS
    factor = 0.5
    inverts_items = True

    def of_pairs(self, items: Gaussians, centroids: Gaussians) -> _Array:
        """Return the sum of both KL of each pair, (N,)."""
        return KL.of_pairs(items, centroids) + REVERSE_KL.of_pairs(items, centroids)

    def centroids(self, means: _Array, pivots: Gaussians, least_log_var: _Array) -> Gaussians:
        """Return the minima; the search starts at the pivots."""
        shift, second_moment, precision, weighted_shift = (means[:, i] for i in range(4))
        # The first step takes the best mean for the pivot's v, so that no step ever goes up.
        v, least = np.exp(pivots.log_var), np.exp(least_log_var)
        offset = np.zeros_like(shift)
        for _ in range(_MAX_STEPS):
            before = offset
            offset = (shift / v + weighted_shift) / (1.0 / v + precision)
            a = np.maximum(second_moment - 2.0 * offset * shift + np.square(offset), least)
            v = np.sqrt(a / precision)
            if np.allclose(offset, before, rtol=1e-13, atol=0.0, equal_nan=True):
                break
        return Gaussians(pivots.mu + offset, np.log(v))

    def medoid_targets(
        self, means: _Array, pivots: Gaussians, least_log_var: _Array
    ) -> tuple[Gaussians, ...]:
        """Return the means of the expectation and of the natural parameters."""
        matched = moment_matched(means[:, :2], pivots, least_log_var)
        return matched, natural_mean(means[:, 2:], pivots)

    def medoid_cost(self, items: Gaussians, targets: tuple[Gaussians, ...]) -> _Array:
        """Return the sum of both costs: each of the two KL splits for itself."""
        matched, natural = targets
        return KL.medoid_cost(items, (matched,)) + REVERSE_KL.medoid_cost(items, (natural,))

    def bound(self, ranges: Ranges) -> float:
        """Return a bound of the divergence."""
        return bound_in_nats(ranges)

    def offsets(self, centroids: Gaussians) -> _Array:
        """Return -2 n, (k,)."""
        k, n = centroids.mu.shape
        return np.full(k, -2.0 * n)


JEFFREYS = JeffreysDivergence()
