"""What a divergence defines so that items can be clustered by it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering.features import RELATIVE_TOLERANCE, Feature
from vaeudf.clustering.ranges import Ranges
from vaeudf.gaussian.arrays import Gaussians

_Array = NDArray[np.float64]


class Prepared(NamedTuple):
    """Items as the kernels read them.

    Attributes:
        mu: Means, (N, n).
        dispersion: sigma², or sigma where the divergence reads that, (N, n).
        log_var: log sigma², (N, n).
    """

    mu: _Array
    dispersion: _Array
    log_var: _Array


class Divergence(ABC):
    """A divergence of an item from a centroid, with all that clustering by it needs.

    Attributes:
        name: Its name.
        meaning: Its formula in words, for people, with its direction.
        unit: What it is measured in; empty for squares of latent units.
        squared: Whether clustering measures the square of the distance of this name.
        measures_variances: Whether it depends on the items' variances at all.
        features: What its centroids are made from.
        code: Its integer in the kernels.
        factor: As in :func:`vaeudf.clustering.kernels.nearest`.
        log_var_weight: As there.
        inverts_items: As there.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]
    unit: ClassVar[str]
    squared: ClassVar[bool] = False
    measures_variances: ClassVar[bool] = True
    features: ClassVar[tuple[Feature, ...]]

    code: ClassVar[int]
    factor: ClassVar[float]
    log_var_weight: ClassVar[float] = 0.0
    inverts_items: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"<divergence {self.name}>"

    # ---- what is measured

    @abstractmethod
    def of_pairs(self, items: Gaussians, centroids: Gaussians) -> _Array:
        """Return the divergence of each item from its own centroid; a square if ``squared``.

        Args:
            items: N of them.
            centroids: N of them, one for each item.

        Returns:
            Shape (N,); the same bits for a pair, whatever the other pairs are.
        """

    def reported(self, divergences: _Array) -> _Array:
        """Return divergences as results show them: the square roots if ``squared``."""
        return np.sqrt(divergences) if self.squared else divergences

    def as_measured(self, items: Gaussians) -> Gaussians:
        """Return items without variances if the divergence ignores them.

        Items are then equal exactly if their divergence from each other is 0.
        """
        if self.measures_variances:
            return items
        return Gaussians(items.mu, np.zeros_like(items.log_var))

    # ---- centroids and medoids

    @abstractmethod
    def centroids(self, means: _Array, pivots: Gaussians, least_log_var: _Array) -> Gaussians:
        """Return the centroids of clusters: the Gaussians with the least total divergence.

        Args:
            means: Of the features over each cluster's items, (k, F, n); the means mu are counted
                from the pivots'.
            pivots: The centroids so far, k of them.
            least_log_var: The items' least log sigma², (n,). A variance that matches moments is
                never below it, but rounding can make it so if the pivot is very far from a
                cluster's items.
        """

    def medoid_targets(
        self, means: _Array, pivots: Gaussians, least_log_var: _Array
    ) -> tuple[Gaussians, ...]:
        """Return what :meth:`medoid_cost` measures items from, k Gaussians each.

        The medoid is the item y from which the items x of its cluster diverge least in total. For
        a Bregman divergence, Σ_x D(x, y) = Σ_x D(x, c) + N D(c, y) with c the mean of the x
        (Banerjee et al., 2005, equation 2.3), so it is the y with the least D(c, y). That mean is
        the centroid, unless a divergence overrides both methods.

        Args:
            means: As for :meth:`centroids`.
            pivots: As there.
            least_log_var: As there.
        """
        return (self.centroids(means, pivots, least_log_var),)

    def medoid_cost(self, items: Gaussians, targets: tuple[Gaussians, ...]) -> _Array:
        """Return D(c, y) of each item y: the one with the least in its cluster is the medoid.

        Args:
            items: N of them.
            targets: Those of each item's cluster, N Gaussians each.
        """
        [mean] = targets
        return self.of_pairs(mean, items)

    # ---- what exact sums need

    @abstractmethod
    def bound(self, ranges: Ranges) -> float:
        """Return a bound of every item's divergence from every centroid within the ranges."""

    def tolerance(self, ranges: Ranges) -> float:
        """Return what a divergence may be off by: a part of a nat, or of the least variance."""
        least = float(np.exp(ranges.low_log_var.min())) if self.squared else 1.0
        return RELATIVE_TOLERANCE * least

    def feature_bounds(self, ranges: Ranges) -> _Array:
        """Return the features' largest absolute values, (F, n)."""
        return np.stack([feature.bound(ranges) for feature in self.features])

    def feature_tolerances(self, ranges: Ranges) -> _Array:
        """Return what the features may be off by, (F, n)."""
        return RELATIVE_TOLERANCE * np.stack([feature.least(ranges) for feature in self.features])

    # ---- what the kernels read

    def dispersion(self, log_var: _Array) -> _Array:
        """Return what the kernels read in place of log variances, the same shape."""
        return np.exp(log_var)

    def prepare(self, items: Gaussians) -> Prepared:
        """Return items as the kernels read them."""
        return Prepared(items.mu, self.dispersion(items.log_var), items.log_var)

    def offsets(self, centroids: Gaussians) -> _Array:
        """Return what each centroid alone adds to the divergence, (k,)."""
        return np.zeros(len(centroids))


def bound_in_nats(ranges: Ranges) -> float:
    """Return a bound of KL(item ‖ centroid) + KL(centroid ‖ item), and so of each of them."""
    gap2, precision = ranges.largest_gap**2, ranges.largest_precision
    # A variance that matches moments exceeds the items' variances by that of their means.
    log_ratio = ranges.high_log_var - ranges.low_log_var + np.log1p(gap2 * precision)
    ratio = (gap2 + ranges.largest_variance + gap2) * precision
    return float((ratio + log_ratio + 1.0).sum())
