"""Features of items: a cluster's centroid is made from their means over its items.

Each is one number per dimension. Their sums are exact (:mod:`vaeudf.numerics.exact_sums`), which
needs a bound of each number, and what it may be off by: of a mean a small part of the least sigma
of all items, of a variance or its inverse the same part of the least one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.ranges import Ranges

_Array = NDArray[np.float64]

RELATIVE_TOLERANCE = 2.0**-40
"""What a number may be off by, as a part of the least size that matters."""


@dataclass(frozen=True)
class Feature:
    """A number per dimension that is summed over a cluster's items.

    Attributes:
        code: Its integer in the kernels.
        bound: Returns its largest absolute value for items within given ranges, (n,).
        least: Returns the least size that matters, (n,); it may be off by 2⁻⁴⁰ of that.
    """

    code: int
    bound: Callable[[Ranges], _Array]
    least: Callable[[Ranges], _Array]


SHIFT = Feature(
    kernels.SHIFT,
    bound=lambda ranges: ranges.largest_gap,
    least=lambda ranges: np.sqrt(ranges.least_variance),
)
"""mu - p, with p the mean that a cluster's means are counted from."""

SECOND_MOMENT = Feature(
    kernels.SECOND_MOMENT,
    bound=lambda ranges: ranges.largest_gap**2 + ranges.largest_variance,
    least=lambda ranges: ranges.least_variance,
)
"""(mu - p)² + sigma²."""

SIGMA = Feature(
    kernels.DISPERSION,
    bound=lambda ranges: np.sqrt(ranges.largest_variance),
    least=lambda ranges: np.sqrt(ranges.least_variance),
)
"""sigma, for divergences whose kernels read sigma in place of the variance."""

PRECISION = Feature(
    kernels.PRECISION,
    bound=lambda ranges: ranges.largest_precision,
    least=lambda ranges: ranges.least_precision,
)
"""1 / sigma²."""

WEIGHTED_SHIFT = Feature(
    kernels.WEIGHTED_SHIFT,
    bound=lambda ranges: ranges.largest_gap * ranges.largest_precision,
    least=lambda ranges: np.sqrt(ranges.least_precision),
)
"""(mu - p) / sigma²."""


def counted_from(features: tuple[Feature, ...], means: _Array, gaps: _Array) -> _Array:
    """Return means of features as they are if mu is counted from another p.

    Args:
        features: F of them; with WEIGHTED_SHIFT goes PRECISION, and with SECOND_MOMENT goes SHIFT.
        means: Over the items of some clusters, (k, F, n).
        gaps: p as it was minus what it is to be, (k, n).
    """
    own = {feature: means[:, place] for place, feature in enumerate(features)}
    moved = dict(own)
    if SHIFT in own:
        moved[SHIFT] = own[SHIFT] + gaps
    if SECOND_MOMENT in own:
        moved[SECOND_MOMENT] = own[SECOND_MOMENT] + gaps * (2.0 * own[SHIFT] + gaps)
    if WEIGHTED_SHIFT in own:
        moved[WEIGHTED_SHIFT] = own[WEIGHTED_SHIFT] + gaps * own[PRECISION]
    return np.stack([moved[feature] for feature in features], axis=1)
