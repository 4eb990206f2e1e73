"""How much each cluster is responsible for an item: membership by degrees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.arrays import Gaussians
from vaeudf.gaussian.divergences import kl_divergence

_Array = NDArray[np.float64]

# How many numbers are held for the pairs of items and centroids at a time.
_NUMBERS_AT_ONCE = 2**21


def responsibilities(items: Gaussians, centroids: Gaussians, sizes: NDArray[np.int64]) -> _Array:
    """Return the responsibility of each cluster for each item, (N, k); a row adds up to 1.

    The clusters are a mixture of Gaussians p_c with the weights π_c that are their parts of the
    items. An item is a Gaussian q, and

        r_c ∝ π_c exp(E_q[log p_c]) ∝ π_c exp(-KL(q ‖ p_c)),

    as the entropy of q is the same for all clusters: soft clustering by a Bregman divergence
    (Banerjee, Merugu, Dhillon and Ghosh, 2005, algorithm 3). An empty cluster has none.

    Args:
        items: N of them.
        centroids: k of them.
        sizes: How many items each cluster has, (k,).
    """
    count, n = items.mu.shape
    filled = np.flatnonzero(sizes)
    filled_centroids = centroids.take(filled)
    log_weights = np.log(sizes[filled] / sizes.sum())
    found = np.zeros((count, len(sizes)))
    step = max(1, _NUMBERS_AT_ONCE // (len(filled) * n))
    for first in range(0, count, step):
        some = slice(first, first + step)
        divergences = kl_divergence(
            items.mu[some],
            items.log_var[some],
            filled_centroids.mu,
            filled_centroids.log_var,
        )
        # The weights would be lost in divergences that are large for all clusters.
        logits = log_weights - (divergences - divergences.min(axis=1, keepdims=True))
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        found[some, filled] = shares / shares.sum(axis=1, keepdims=True)
    return found
