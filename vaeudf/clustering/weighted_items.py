"""k-means of weighted items in memory: what the driver does between passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.assignment import Nearest, nearest_centroids
from vaeudf.clustering.divergences import Divergence, Prepared
from vaeudf.clustering.tallies import next_centroids
from vaeudf.gaussian.arrays import Gaussians

_Array = NDArray[np.float64]


def by_numbers(gaussians: Gaussians) -> NDArray[np.int64]:
    """Return the order of Gaussians by their numbers, (N,)."""
    return np.asarray(np.lexsort(np.hstack([gaussians.mu, gaussians.log_var]).T[::-1]))


class Partition(NamedTuple):
    """Items by their nearest centroid.

    Attributes:
        centroids: k of them.
        nearest: Of each item.
        cost: The weighted sum of the items' divergences from them.
        steps: How many times all items were compared with all centroids to get here.
    """

    centroids: Gaussians
    nearest: Nearest
    cost: float
    steps: int


@dataclass(frozen=True)
class WeightedItems:
    """Items, and how many of the catalog's items each stands for.

    Attributes:
        items: M of them, all different.
        weights: Above 0, (M,).
        divergence: What they are measured by.
        prepared: The items as the kernels read them.
    """

    items: Gaussians
    weights: _Array
    divergence: Divergence
    prepared: Prepared

    @classmethod
    def of(cls, items: Gaussians, weights: _Array, divergence: Divergence) -> WeightedItems:
        """Return M items with weights (M,)."""
        return cls(items, weights, divergence, divergence.prepare(items))

    def __len__(self) -> int:
        return len(self.items)

    def take(self, which: NDArray[np.integer]) -> WeightedItems:
        """Return some of them."""
        return WeightedItems.of(self.items.take(which), self.weights[which], self.divergence)

    @property
    def least_log_var(self) -> _Array:
        """Their least log sigma², (n,)."""
        return np.asarray(self.items.log_var.min(axis=0))

    def total(self, divergences: _Array) -> float:
        """Return the weighted sum of divergences (M,)."""
        # BLAS would add up in an order that depends on the arrays' addresses.
        return float(kernels.weighted_total(self.weights, divergences))

    def divergences_from(self, centroids: Gaussians) -> _Array:
        """Return each item's divergence from its nearest centroid, (M,)."""
        return nearest_centroids(self.prepared, centroids, self.divergence).divergences

    def partition(self, centroids: Gaussians) -> Partition:
        """Return the items by their nearest centroid."""
        nearest = nearest_centroids(self.prepared, centroids, self.divergence)
        return Partition(centroids, nearest, self.total(nearest.divergences), steps=1)

    def lloyd(
        self, centroids: Gaussians, *, max_steps: int, min_improvement: float = 0.0
    ) -> Partition:
        """Return where plain k-means gets to.

        Args:
            centroids: From which it starts.
            max_steps: How often they move at most.
            min_improvement: Stop when a step lowers the cost by no more than this part of it.
        """
        best = self.partition(centroids)
        steps = 1
        while steps <= max_steps:
            moved = self.partition(self.next_centroids(best.nearest.clusters, best.centroids))
            steps += 1
            drop = best.cost - moved.cost
            if drop > 0.0:
                best = moved
            # An infinite cost has a drop that is no number.
            if not drop > min_improvement * best.cost:
                break
        return best._replace(steps=steps)

    def next_centroids(self, clusters: NDArray[np.int32], centroids: Gaussians) -> Gaussians:
        """Return the centroids of clusters (M,); where one is empty, that from before."""
        means, mass = self.means(clusters, centroids.mu)
        return next_centroids(
            means,
            centroids,
            self.divergence,
            least_log_var=self.least_log_var,
            filled=mass > 0,
        )

    def centroids_of(self, partition: Partition) -> Gaussians:
        """Return the centroids of a partition's clusters, in the order of their numbers.

        They have the same bits however the partition was found.
        """
        clusters, centroids = partition.nearest.clusters, partition.centroids
        filled, firsts = np.unique(clusters, return_index=True)
        # Sums are counted from an item, and not from a centroid that depends on what was before.
        pivots = Gaussians(centroids.mu.copy(), centroids.log_var.copy())
        pivots.mu[filled], pivots.log_var[filled] = (
            self.items.mu[firsts],
            self.items.log_var[firsts],
        )
        found = self.next_centroids(clusters, pivots)
        return found.take(by_numbers(found))

    def means(self, clusters: NDArray[np.int32], pivots: _Array) -> tuple[_Array, _Array]:
        """Return the weighted means of the features of clusters, and the clusters' weights.

        Args:
            clusters: Each item's, (M,).
            pivots: What each cluster's means are counted from, (k, n).

        Returns:
            (k, F, n), NaN where a cluster is empty, and (k,).
        """
        k, n = pivots.shape
        features = self.divergence.features
        sums = np.zeros((k, len(features), n))
        kernels.add_weighted_features(
            codes=np.array([feature.code for feature in features]),
            mu=self.prepared.mu,
            dispersion=self.prepared.dispersion,
            weights=self.weights,
            groups=clusters,
            pivots=pivots,
            sums=sums,
        )
        mass = np.bincount(clusters, self.weights, minlength=k).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums / mass[:, None, None], mass
