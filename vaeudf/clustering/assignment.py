"""The nearest centroid of each item, and the divergences from it and from the next one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.divergences import Divergence, Prepared
from vaeudf.gaussian.arrays import Gaussians

_Array = NDArray[np.float64]


class Nearest(NamedTuple):
    """The nearest centroid of each item.

    Attributes:
        clusters: Which centroid, (N,).
        divergences: From it, never below 0, (N,); squares where the divergence is ``squared``.
        next_divergences: From the next one, (N,); infinite where there is none.
    """

    clusters: NDArray[np.int32]
    divergences: _Array
    next_divergences: _Array


def nearest_centroids(
    items: Prepared,
    centroids: Gaussians,
    divergence: Divergence,
    ranks: NDArray[np.int64] | None = None,
) -> Nearest:
    """Return each item's nearest centroid.

    Args:
        items: N of them, as the divergence prepares them.
        centroids: k of them.
        divergence: What to measure by.
        ranks: An item that is equally near to several centroids gets the one of the lowest rank,
            (k,); default: the first.
    """
    if ranks is not None:
        order = np.argsort(ranks).astype(np.int32)
        nearest = nearest_centroids(items, centroids.take(order), divergence)
        return nearest._replace(clusters=order[nearest.clusters])
    count = len(items.mu)
    nearest = Nearest(np.empty(count, np.int32), np.empty(count), np.empty(count))
    dispersion = divergence.dispersion(centroids.log_var)
    kernels.nearest(
        code=divergence.code,
        factor=divergence.factor,
        log_var_weight=divergence.log_var_weight,
        inverts_items=divergence.inverts_items,
        mu=items.mu,
        dispersion=items.dispersion,
        log_var=items.log_var,
        centroids=np.stack([centroids.mu, dispersion, 1.0 / dispersion]),
        offsets=divergence.offsets(centroids),
        found=nearest.clusters,
        best=nearest.divergences,
        second=nearest.next_divergences,
    )
    return nearest


def assign(
    items: Gaussians,
    centroids: Gaussians,
    divergence: Divergence,
    ranks: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int32], _Array]:
    """Return each item's cluster and its divergence as people see it, both (N,).

    Args:
        items: N of them.
        centroids: k of them.
        divergence: What to measure by.
        ranks: As for :func:`nearest_centroids`.
    """
    nearest = nearest_centroids(divergence.prepare(items), centroids, divergence, ranks)
    return nearest.clusters, divergence.reported(nearest.divergences)
