"""Sums of floats that do not depend on their order, so that partitions cannot change a result.

A number x is split into multiples of a few units, u_0 > u_1 > u_2, each so coarse that adding up
all the numbers there are rounds nothing: every level is an exact sum, whatever its order. What is
left below u_2 is dropped (Demmel and Nguyen, 2015, "Parallel reproducible summation"; here with a
bound on the numbers that is known before, so that one pass does). For N numbers up to B, u_2 is
about N³ B / 2^153: of ten million numbers 80 bits below the largest.

To round x to a multiple of u is to add 1.5 · 2^52 u, the *anchor*, and to subtract it again.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVELS = 3
"""How many units there are."""

# The least bound: the units below it are then still normal numbers.
_LEAST = 2.0**-600


def anchors(bounds: ArrayLike, count: int) -> NDArray[np.float64]:
    """Return what rounds numbers to each level's unit.

    Args:
        bounds: The largest absolute value of each kind of number, any shape S.
        count: How many numbers of a kind are added up at most.

    Returns:
        Shape (*S, LEVELS).
    """
    exponents = np.frexp(np.maximum(np.asarray(bounds, np.float64), _LEAST))[1].astype(np.float64)
    head_room = math.frexp(max(1, count))[1] + 1
    levels = []
    for _ in range(LEVELS):
        units = exponents + head_room - 52
        levels.append(1.5 * np.exp2(52 + units))
        exponents = units - 1  # what rounding to a unit leaves is at most half of it
    return np.ascontiguousarray(np.stack(levels, axis=-1))


def totals(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums that levels (*S, LEVELS) stand for, shape S."""
    total = sums[..., LEVELS - 1].copy()
    for level in range(LEVELS - 2, -1, -1):
        total += sums[..., level]
    return total
