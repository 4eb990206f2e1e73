"""The numbers of an item whose means over a cluster's items its centroid is made from.

Each is one number per dimension. Their sums are exact (:mod:`vaeudf.numerics.exact_sums`), which
takes a bound of each number, and how far it may be off. A mean is known to a small part of the
least sigma of all items, and a variance or its inverse to the same part of the least of them.
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
"""What a number may be off by, as a part of the least that matters."""


@dataclass(frozen=True)
class Feature:
    """A number per dimension that is summed over a cluster's items.

    Attributes:
        code: The integer that the kernel knows it by.
        bound: Gives its largest absolute value for items within some ranges, (n,).
        least: Gives the size of which it may be off by a part of 2⁻⁴⁰, (n,).
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
