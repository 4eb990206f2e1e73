"""Lifted vectors: log q(z|x) as an inner product, for what searches by inner products.

With precisions p = 1 / sigma², and all coordinates taken from a center c,

    log q(z|x) = -½ Σ p (z - mu)² - ½ Σ log sigma² - n/2 log 2π
               = Σ (p mu) z  +  Σ (-½ p) z²  +  (-½ Σ p mu² - ½ Σ log sigma² - n/2 log 2π),

which is the product of a vector of the item, 2n + 1 numbers, and one of the query: (z, z², 1).

In float32 the terms cancel: they are of the size of p z², and what is left of them may be small.
The nearer the center is to the items, the less is lost.

A graph of inner products, as HNSW is, finds next to nothing where the norms of items differ as
these do. With one coordinate more, which makes all norms equal, and 0 there in the queries,
products stay as they are and rank as distances do.

This file needs numpy alone. Exports carry a copy of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def lift_items(mu: ArrayLike, log_var: ArrayLike, center: ArrayLike = 0.0) -> NDArray[np.float32]:
    """Return the lifted vectors of items.

    Args:
        mu: Means, shape (N, n).
        log_var: log sigma², shape (N, n).
        center: Where the coordinates begin, shape (n,).

    Returns:
        Shape (N, 2n + 1): p mu, -½ p, and the constant. Computed in float64, then rounded; what
        is beyond float32 becomes infinite.
    """
    means = np.asarray(mu, np.float64) - np.asarray(center, np.float64)
    logs = np.asarray(log_var, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        precision = np.exp(-logs)
        scaled = precision * means
        constant = -0.5 * (means * scaled + logs + np.log(2 * np.pi)).sum(axis=1, keepdims=True)
        return np.concatenate([scaled, -0.5 * precision, constant], axis=1).astype(np.float32)


def lift_queries(z: ArrayLike, center: ArrayLike = 0.0) -> NDArray[np.float32]:
    """Return the lifted vectors of points of latent space.

    Args:
        z: Points, shape (Q, n).
        center: That of the items.

    Returns:
        Shape (Q, 2n + 1): z, z², and 1.
    """
    points = np.asarray(z, np.float64) - np.asarray(center, np.float64)
    ones = np.ones((len(points), 1))
    return np.concatenate([points, points * points, ones], axis=1).astype(np.float32)


def square_norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the squared norms of vectors (N, m), shape (N,)."""
    norms: NDArray[np.float64] = np.square(vectors, dtype=np.float64).sum(axis=1)
    return norms


def with_equal_norms(vectors: NDArray[np.float32], most: float) -> NDArray[np.float32]:
    """Return the lifted vectors of items with one coordinate more, which makes their norms equal.

    Args:
        vectors: Shape (N, m).
        most: The greatest squared norm of all items.

    Returns:
        Shape (N, m + 1).
    """
    further = np.sqrt(np.maximum(most - square_norms(vectors), 0.0)).astype(np.float32)
    return np.concatenate([vectors, further[:, None]], axis=1)
