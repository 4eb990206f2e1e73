"""How far apart two pictures are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def squared_error(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float:
    """Return the mean squared difference of pictures, of levels in [0, 1].

    Args:
        original: Shape (H, W, C), or (B, H, W, C) of several pictures.
        decoded: The same shape.
    """
    difference = original.astype(np.float64) - decoded
    return float(np.mean(np.square(difference))) / 255.0**2
