"""Sums of floats that do not depend on their order, so that partitions cannot change a result.

A number x is split into multiples of a few units, u_0 > u_1 > …, each so coarse that adding up all
numbers never rounds: every level is an exact sum, whatever its order. What is left below the last
unit is dropped (Demmel and Nguyen, 2015, "Parallel reproducible summation", with a bound of the
numbers that is known before, so that one pass suffices). There are as many levels as it takes to
get from the bound down to the tolerance: for ten million numbers a level holds 28 bits of each, for
a thousand million 21.

To round x to a multiple of u is to add 1.5 · 2^52 u, the *anchor*, and to subtract it again.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The least bound: the units below it are then still normal numbers.
_LEAST = 2.0**-600


def anchors(bounds: ArrayLike, tolerances: ArrayLike, count: int) -> NDArray[np.float64]:
    """Return the anchors, which round numbers to each level's unit.

    Args:
        bounds: The largest absolute value of each kind of number, any shape S.
        tolerances: What each number may be off by, above 0, the same shape.
        count: How many numbers of a kind are added up at most.

    Returns:
        Shape (L, *S), with the number of levels L of the kind that needs most.
    """
    exponents = np.frexp(np.maximum(np.asarray(bounds, np.float64), _LEAST))[1].astype(np.float64)
    wanted = np.frexp(np.maximum(np.asarray(tolerances, np.float64), _LEAST))[1] - 1
    head_room = math.frexp(max(1, count))[1] + 1
    levels: list[NDArray[np.float64]] = []
    while not levels or (exponents >= wanted).any():
        units = exponents + head_room - 52
        levels.append(1.5 * np.exp2(52 + units))
        exponents = units - 1  # the remainder is at most half a unit
    return np.stack(levels)


def totals(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums that levels (k, L, *S) stand for, shape (k, *S)."""
    total = sums[:, -1].copy()
    for level in range(sums.shape[1] - 2, -1, -1):
        total += sums[:, level]
    return total
