"""How alike the structure of two pictures is: where their edges are, and how strong.

The measure is the gradient magnitude similarity of Xue, Zhang, Mou and Bovik, "Gradient Magnitude
Similarity Deviation", IEEE Transactions on Image Processing 23(2), 2014. Of its two summaries over
a picture this is the mean (their GMSM). The deviation, which follows people's opinion of damaged
copies of one picture more closely, is 0 for any two pictures that differ evenly, however much: it
does not tell which of many pictures is nearest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STABILITY = 0.0026
"""The constant c of the similarity, for levels in [0, 1], as in the paper."""

# Luma of ITU-R BT.601, which the paper's pictures are turned into.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# So many numbers stay in the processor's cache while pictures are compared with one.
_NUMBERS_PER_BLOCK = 2**16


def gradient_magnitudes(levels: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return how strong the edges are at each place of pictures, shape (B, P).

    As in the paper, pictures are averaged over 2 × 2 pixels first, and the gradient is Prewitt's;
    P is (H // 2) · (W // 2). Beyond the border the outermost pixels are repeated, so that the
    border itself is no edge.

    Args:
        levels: Pictures (B, H, W, C), levels in [0, 1]; of colours, their luma counts.
    """
    channels = levels.shape[3]
    weights = _LUMA if channels == 3 else np.full(channels, 1 / channels, np.float32)
    grey = levels.astype(np.float32) @ weights
    height, width = (max(1, side // 2) for side in grey.shape[1:])
    rows, columns = (min(2, side) for side in grey.shape[1:])
    grey = grey[:, : rows * height, : columns * width]
    small = grey.reshape(-1, height, rows, width, columns).mean(axis=(2, 4))
    padded = np.pad(small, ((0, 0), (1, 1), (1, 1)), mode="edge")
    # Prewitt's filters are a difference along one axis, and a mean of three along the other.
    across = padded[:, :, 2:] - padded[:, :, :-2]
    down = padded[:, 2:] - padded[:, :-2]
    across = (across[:, :-2] + across[:, 1:-1] + across[:, 2:]) / 3
    down = (down[:, :, :-2] + down[:, :, 1:-1] + down[:, :, 2:]) / 3
    return np.asarray(np.hypot(across, down).reshape(len(levels), -1), np.float32)


def structure_distances(
    ones: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return 1 - GMSM of all pairs of pictures, shape (A, B): 0 for the same edges, below 1.

    With magnitudes a and b, 1 - (2ab + c) / (a² + b² + c) = (a - b)² / (a² + b² + c), averaged over
    the places of a picture.

    Args:
        ones: Of :func:`gradient_magnitudes`, shape (A, P).
        others: The same of other pictures, shape (B, P).
    """
    found = np.empty((len(ones), len(others)), np.float32)
    rows = max(1, _NUMBERS_PER_BLOCK // max(1, others.shape[1]))
    squares = np.square(ones)
    for start in range(0, len(others), rows):
        block = others[start : start + rows]
        own = np.square(block) + np.float32(STABILITY)
        ratio, total = np.empty_like(block), np.empty_like(block)
        for i, (one, square) in enumerate(zip(ones, squares, strict=True)):
            np.subtract(block, one, out=ratio)
            np.square(ratio, out=ratio)
            np.add(own, square, out=total)
            np.divide(ratio, total, out=ratio)
            found[i, start : start + rows] = ratio.mean(axis=1)
    return found
