"""How near a place is to items, by their own Gaussians: a scale on which one item means the same.

With d² = Σ (z_i - mu_i)² / (sigma_i² + tau_i²) over the m dimensions in play, a draw of the item's
own Gaussian, widened by the tolerance tau, has a d² that is χ² distributed with m degrees of
freedom. In units of the root of that distribution's 95 % quantile,

    d / √χ²_m(0.95)

is 1 at the edge of the region around mu that holds 95 % of the item's own Gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.explore.dimensions import DimensionStatistics
from vaeudf.gaussian.variances import inverse_sigma

SHARE = 0.95
"""Of an item's own Gaussian, within the distance that is 1."""


class Nearness(NamedTuple):
    """How near a place is to some items.

    Attributes:
        dimensions: How many dimensions are in play, m ≥ 1.
        squared: d² of each item, shape (N,).
        relative: d / √χ²_m(0.95) of each item, shape (N,).
    """

    dimensions: int
    squared: NDArray[np.float64]
    relative: NDArray[np.float64]


def nearness(
    z: NDArray[np.float64],
    mu: NDArray[np.floating],
    log_var: NDArray[np.float64],
    dimensions: Sequence[DimensionStatistics],
) -> Nearness | None:
    """Return how near a place is to items.

    In play are the dimensions that the place names and that tell items apart: in a collapsed one
    all items are alike, and many of these would make whatever is far look near.

    Args:
        z: The place, shape (n,), NaN in dimensions that are left open.
        mu: The items' means, shape (N, n).
        log_var: log(sigma² + tau²) of them, shape (N, n).
        dimensions: What each of the n is like.

    Returns:
        None where no dimension is in play.
    """
    collapsed = np.array([one.collapsed for one in dimensions])
    in_play = ~np.isnan(z) & ~collapsed
    count = int(in_play.sum())
    if count == 0:
        return None
    with np.errstate(over="ignore"):
        apart = (mu[:, in_play] - z[in_play]) * inverse_sigma(log_var[:, in_play])
        squared = np.square(apart).sum(axis=1)
    # JSON has no infinity.
    squared = np.minimum(squared, np.finfo(np.float64).max)
    return Nearness(count, squared, np.sqrt(squared) / radii(len(z))[count - 1])


@lru_cache(maxsize=8)
def radii(n: int) -> tuple[float, ...]:
    """Return √χ²_m(0.95) for m = 1 to n."""
    # Imported here: it takes longer than a search.
    from scipy.special import gammaincinv

    return tuple(np.sqrt(2 * gammaincinv(np.arange(1, n + 1) / 2, SHARE)).tolist())
