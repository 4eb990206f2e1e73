"""How alike the structure of two pictures is: where their edges are, and how strong.

The measure is the gradient magnitude similarity of Xue, Zhang, Mou and Bovik, "Gradient Magnitude
Similarity Deviation", IEEE Transactions on Image Processing 23(2), 2014, at several scales, as in
"Multiscale structural similarity" of Wang, Simoncelli and Bovik, 2003. Two choices are made to tell
which of many pictures is nearest, and not how much one was damaged:

- It is summed up by the mean (their GMSM). Their deviation is 0 for any two pictures that differ
  evenly, however much.
- All scales weigh the same. What a decoder gives is blurred: at the finest scale alone it is most
  like whatever has the fewest edges. Measured on 3,068 photos, one photo was among the ten nearest
  to 59 % of what z from the prior decode to; with four scales, 25 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STABILITY = 0.0026
"""The constant c of the similarity, for levels in [0, 1], as in the paper."""
MOST_SCALES = 4
"""Each halves the one before, as long as both sides have :data:`FEWEST` pixels."""
FEWEST = 4

# Luma of ITU-R BT.601, which the paper's pictures are turned into.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# So many numbers stay in the processor's cache while pictures are compared with one.
_NUMBERS_PER_BLOCK = 2**16


class Edges(NamedTuple):
    """How strong the edges of B pictures are at each place, at all scales.

    Attributes:
        magnitudes: Gradient magnitudes, shape (B, P).
        weights: What each place counts, shape (P,): in sum the same for each scale, and 1 in all.
    """

    magnitudes: NDArray[np.float32]
    weights: NDArray[np.float32]


def edges_of(levels: NDArray[np.floating]) -> Edges:
    """Return the edges of pictures.

    As in the paper, pictures are averaged over 2 × 2 pixels first, and the gradient is Prewitt's.
    Beyond the border the outermost pixels are repeated, so that the border itself is no edge.

    Args:
        levels: Pictures (B, H, W, C), levels in [0, 1]; of colours, their luma counts.
    """
    channels = levels.shape[3]
    weights = _LUMA if channels == 3 else np.full(channels, 1 / channels, np.float32)
    scales = list(_scales(levels.astype(np.float32) @ weights))
    found = [_gradients(grey).reshape(len(grey), math.prod(grey.shape[1:])) for grey in scales]
    shares = [np.full(one.shape[1], 1 / (len(found) * one.shape[1])) for one in found]
    return Edges(np.concatenate(found, axis=1), np.concatenate(shares).astype(np.float32))


def structure_distances(ones: Edges, others: Edges) -> NDArray[np.float32]:
    """Return 1 - the similarity of all pairs of pictures, shape (A, B): 0 for the same edges.

    With magnitudes a and b, 1 - (2ab + c) / (a² + b² + c) = (a - b)² / (a² + b² + c), averaged over
    the places; always below 1.

    Args:
        ones: Of A pictures.
        others: Of B pictures, of the same size.
    """
    magnitudes = others.magnitudes
    found = np.empty((len(ones.magnitudes), len(magnitudes)), np.float32)
    rows = max(1, _NUMBERS_PER_BLOCK // magnitudes.shape[1])
    squares = np.square(ones.magnitudes)
    for start in range(0, len(magnitudes), rows):
        block = magnitudes[start : start + rows]
        own = np.square(block) + np.float32(STABILITY)
        ratio, total = np.empty_like(block), np.empty_like(block)
        for i, (one, square) in enumerate(zip(ones.magnitudes, squares, strict=True)):
            np.subtract(block, one, out=ratio)
            np.square(ratio, out=ratio)
            np.add(own, square, out=total)
            np.divide(ratio, total, out=ratio)
            np.dot(ratio, ones.weights, out=found[i, start : start + rows])
    return found


def _scales(grey: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield pictures (B, H, W) at each scale, the finest of which is half of what they have."""
    for number in range(MOST_SCALES):
        grey = _halved(grey)
        if number and min(grey.shape[1:]) < FEWEST:
            return
        yield grey


def _halved(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return means over 2 × 2 pixels; an odd row or column at the end is left out."""
    rows, columns = (min(2, side) for side in grey.shape[1:])
    height, width = grey.shape[1] // rows, grey.shape[2] // columns
    whole = grey[:, : rows * height, : columns * width]
    return np.asarray(whole.reshape(-1, height, rows, width, columns).mean(axis=(2, 4)))


def _gradients(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    # Prewitt's filters are a difference along one axis, and a mean of three along the other.
    across = padded[:, :, 2:] - padded[:, :, :-2]
    down = padded[:, 2:] - padded[:, :-2]
    across = (across[:, :-2] + across[:, 1:-1] + across[:, 2:]) / 3
    down = (down[:, :, :-2] + down[:, :, 1:-1] + down[:, :, 2:]) / 3
    return np.asarray(np.hypot(across, down), np.float32)
