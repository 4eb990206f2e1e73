"""How a picture is brought to the size that a model takes: one object for each way.

`fitting` gives the one that an image spec asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaeudf.images.resampling import resize_without_antialias
from vaeudf.images.spec import ImageSpec
from vaeudf.images.steps import CenterCrop, Size, Step, parse_steps

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels, not always whole ones."""

# Beyond it, the longer side of a narrow picture would fill the memory.
_MAX_PIXELS = 100_000_000


class TooManyPixelsError(Exception):
    """A step would make a picture of too many pixels; the message says which."""


class Fitting(Protocol):
    """A way to bring pictures to a model's size."""

    def fit(self, picture: Image.Image, orientation: int) -> Image.Image:
        """Return a picture of the model's size, "L" or "RGB", as it is to be seen.

        Args:
            picture: As it is stored, "L" or "RGB".
            orientation: EXIF's, 1 to 8.

        Raises:
            TooManyPixelsError: On the way there would be too many of them.
        """

    def draft_size(self, size: Size, orientation: int) -> Size:
        """Return the size of a stored picture that is resized by 1, and not made smaller."""


@lru_cache
def fitting(spec: ImageSpec) -> Fitting:
    """Return how a model's pictures are brought to its size."""
    steps = parse_steps(spec.resize)
    if steps is not None:
        return _InSteps(spec, steps)
    return {"pad": _Padded, "crop": _Cropped, "stretch": _Stretched}[spec.resize](spec)


def fitted(picture: Image.Image, orientation: int, spec: ImageSpec) -> NDArray[np.uint8]:
    """Return a picture as a model takes it, uint8 of shape (height, width, channels).

    Raises:
        TooManyPixelsError: As for `Fitting.fit`.
    """
    small = fitting(spec).fit(picture, orientation)
    pixels = np.array(small.convert("RGB" if spec.channels == 3 else "L"), np.uint8)
    return pixels.reshape(spec.height, spec.width, spec.channels)


TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of an EXIF orientation upright."""


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Return a stored picture as it is to be seen."""
    turn = TURNS[orientation]
    return picture if turn is None else picture.transpose(turn)


def scaled(side: int, numerator: int, denominator: int) -> int:
    """``side * numerator / denominator``, rounded, at least 1."""
    return max(1, (2 * side * numerator + denominator) // (2 * denominator))


def _resized(
    picture: Image.Image, size: Size, spec: ImageSpec, box: Box | None = None
) -> Image.Image:
    if not spec.antialias:
        return resize_without_antialias(picture, size, spec.interpolation, box)
    return picture.resize(size, Image.Resampling[spec.interpolation.upper()], box)


@dataclass(frozen=True)
class _Centred:
    """In one resize of the picture, or of its middle."""

    spec: ImageSpec

    def fit(self, picture: Image.Image, orientation: int) -> Image.Image:
        # Resized as stored, so that only the small result is turned: what is centred stays so.
        size, box = self._placed(picture.size, orientation)
        small = upright(_resized(picture, size, self.spec, box), orientation)
        canvas = Image.new("RGB", (self.spec.width, self.spec.height), self.spec.background)
        canvas.paste(
            small, ((canvas.width - small.width) // 2, (canvas.height - small.height) // 2)
        )
        return canvas

    def draft_size(self, size: Size, orientation: int) -> Size:
        (width, height), (left, top, right, bottom) = self._placed(size, orientation)
        return round(size[0] * width / (right - left)), round(size[1] * height / (bottom - top))

    def _placed(self, size: Size, orientation: int) -> tuple[Size, Box]:
        """The size that a picture is resized to, as it is stored, and the part of it that is."""
        wanted = (self.spec.width, self.spec.height)
        return self._place(size, wanted if orientation < 5 else wanted[::-1])

    def _place(self, size: Size, wanted: Size) -> tuple[Size, Box]:
        raise NotImplementedError


class _Padded(_Centred):
    def _place(self, size: Size, wanted: Size) -> tuple[Size, Box]:
        (w, h), (width, height) = size, wanted
        wider = w * height > h * width
        small = (width, scaled(h, width, w)) if wider else (scaled(w, height, h), height)
        return small, (0.0, 0.0, float(w), float(h))


class _Cropped(_Centred):
    def _place(self, size: Size, wanted: Size) -> tuple[Size, Box]:
        (w, h), (width, height) = size, wanted
        if w * height > h * width:
            margin = (w - h * width / height) / 2
            return wanted, (margin, 0.0, w - margin, float(h))
        margin = (h - w * height / width) / 2
        return wanted, (0.0, margin, float(w), h - margin)


class _Stretched(_Centred):
    def _place(self, size: Size, wanted: Size) -> tuple[Size, Box]:
        return wanted, (0.0, 0.0, float(size[0]), float(size[1]))


@dataclass(frozen=True)
class _InSteps:
    """By torchvision's steps."""

    spec: ImageSpec
    steps: Sequence[Step]

    def fit(self, picture: Image.Image, orientation: int) -> Image.Image:
        # Turned first: offsets are rounded, so those from the other side would be others.
        picture = upright(picture, orientation)
        for step in self.steps:
            if isinstance(step, CenterCrop):
                picture = step.apply(picture)
                continue
            width, height = size = step.output(picture.size)
            if width * height > _MAX_PIXELS:
                raise TooManyPixelsError(
                    f"Resize({step.size}) makes {width:,} × {height:,} pixels of the "
                    f"{picture.width:,} × {picture.height:,}; at most {_MAX_PIXELS:,} are made."
                )
            if size != picture.size:
                picture = _resized(picture, size, self.spec)
        return picture

    def draft_size(self, size: Size, orientation: int) -> Size:
        return size  # a spec with steps has no draft
