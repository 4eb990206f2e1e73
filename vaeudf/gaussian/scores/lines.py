"""Straight lines that are nowhere below the terms of a score: three (intercept, slope) each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


def lines_above(low: _Array, high: _Array) -> _Array:
    """Return three lines in t, the highest of which is at least -½ (t e^-a + a), a in [low, high].

    The maximum over a is convex in t, and a straight line outside [e^low, e^high]. So it lies below
    the chord between these two points, and on the lines through the two outside them.

    Args:
        low: The least a, shape (B, d).
        high: The greatest.

    Returns:
        Shape (B, d, 6).
    """
    width = high - low
    with np.errstate(invalid="ignore", over="ignore"):
        ratio = np.where(width > 1e-12, width / np.expm1(width), 1.0)
        return np.stack(
            [
                -0.5 * low,
                -0.5 * np.exp(-low),
                -0.5 * (1 + low) + 0.5 * ratio,
                -0.5 * ratio * np.exp(-low),
                -0.5 * high,
                -0.5 * np.exp(-high),
            ],
            axis=2,
        )


def same_lines(slope: _Array) -> _Array:
    """Return three times the line of this slope, shape (B, d), through 0: shape (B, d, 6)."""
    lines = np.zeros((*slope.shape, 6))
    lines[:, :, 1::2] = slope[:, :, None]
    return lines
