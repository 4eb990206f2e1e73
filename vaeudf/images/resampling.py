"""Resizing without antialiasing, as tensors are resized: Pillow has no such filters.

An output pixel is interpolated between the two (bilinear) or four (bicubic) pixels a side that are
nearest to its centre, and all others are passed over, however much smaller the result is. The
centre of output pixel i lies at (i + 1/2) · in / out - 1/2, and pixels beyond an edge are those at
the edge: ``torch.nn.functional.interpolate`` with ``align_corners=False, antialias=False``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Weights = NDArray[np.float64]

# Keys' cubic convolution (IEEE Trans. ASSP 29, 1981) with a = -3/4, as torch and OpenCV have it;
# Pillow's antialiased filter has a = -1/2.
_A = -0.75
_PIXELS_PER_STRIP = 2**20


def _linear(fraction: Weights) -> Weights:
    return np.stack([1 - fraction, fraction])


def _cubic(fraction: Weights) -> Weights:
    def near(x: Weights) -> Weights:  # |x| <= 1
        return ((_A + 2) * x - (_A + 3)) * x * x + 1

    def far(x: Weights) -> Weights:  # 1 < |x| < 2
        return ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A

    return np.stack([far(1 + fraction), near(fraction), near(1 - fraction), far(2 - fraction)])


KERNELS: dict[str, Callable[[Weights], Weights]] = {"bilinear": _linear, "bicubic": _cubic}
"""By the interpolation's name: the weights of its taps, shape (T, N), of fractions, shape (N,)."""


def resize_without_antialias(
    picture: Image.Image,
    size: tuple[int, int],
    interpolation: str,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """Resize a picture, or a part of it.

    Args:
        picture: Of mode "L" or "RGB".
        size: Width and height of the result.
        interpolation: A key of `KERNELS`.
        box: The part, left, top, right and bottom; None for the whole.

    Returns:
        Levels are rounded, a half to the even one, and clipped to 0 … 255.
    """
    width, height = size
    left, top, right, bottom = box or (0, 0, *picture.size)
    columns, across = _taps(left, right, width, picture.width, interpolation)
    rows, down = _taps(top, bottom, height, picture.height, interpolation)
    channels = len(picture.getbands())
    out = np.empty((height, width, channels), np.uint8)
    # In strips, so that of the picture nothing of full size is made a second time.
    span = max(picture.width * (bottom - top) / height, columns.size * len(rows))
    step = max(1, int(_PIXELS_PER_STRIP / span))
    for start in range(0, height, step):
        strip = slice(start, min(start + step, height))
        first, last = int(rows[:, strip].min()), int(rows[:, strip].max())
        pixels = np.asarray(picture.crop((0, first, picture.width, last + 1)))
        pixels = pixels.reshape(last + 1 - first, picture.width, channels)
        taken = pixels.take((rows[:, strip] - first).ravel(), axis=0)
        lines = np.zeros((len(taken), width, channels))
        for column, share in zip(columns, across, strict=True):
            lines += taken.take(column, axis=1) * share[:, None]
        lines = lines.reshape(len(rows), -1, width, channels) * down[:, strip, None, None]
        total = lines.sum(axis=0)
        out[strip] = np.clip(np.rint(total), 0, 255)
    return Image.fromarray(out[..., 0] if channels == 1 else out)


def _taps(
    low: float, high: float, count: int, length: int, interpolation: str
) -> tuple[NDArray[np.intp], Weights]:
    """Return which pixels of a side make each output pixel, and their weights, both (T, count)."""
    centres = low + (np.arange(count) + 0.5) * ((high - low) / count) - 0.5
    if interpolation == "bilinear":
        centres = np.maximum(centres, 0)
    floors = np.floor(centres)
    weights = KERNELS[interpolation](centres - floors)
    first = 1 - len(weights) // 2
    taps = floors + np.arange(first, first + len(weights))[:, None]
    return np.clip(taps, 0, length - 1).astype(np.intp), weights
