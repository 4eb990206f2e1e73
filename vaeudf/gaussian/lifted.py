"""Lifted vectors: log q(z|x) as an inner product, for what searches by inner products.

With precisions p = 1 / sigma², and all coordinates taken from a center c,

    log q(z|x) = -½ Σ p (z - mu)² - ½ Σ log sigma² - n/2 log 2π
               = Σ (p mu) z  +  Σ (-½ p) z²  +  (-½ Σ p mu² - ½ Σ log sigma² - n/2 log 2π),

which is the product of a vector of the item, 2n + 1 numbers, and one of the query: (z, z², 1).

In float32 the terms cancel: they are of the size of p z², and what is left of them may be small.
The nearer the center is to the items, the less is lost.

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
        Shape (N, 2n + 1): p mu, -½ p, and the constant. Computed in float64, then rounded.
    """
    means = np.asarray(mu, np.float64) - np.asarray(center, np.float64)
    logs = np.asarray(log_var, np.float64)
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
