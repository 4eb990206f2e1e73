"""How a picture is brought to the size that a model takes: one object for each way.

`fitting` gives the one that an image spec asks for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaeudf.images.resampling import resize_without_antialias
from vaeudf.images.spec import JPEG_DRAFT_GAP, ImageSpec
from vaeudf.images.steps import CenterCrop, Resize, Size, Step, parse_steps

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels, not always whole ones."""

# What a size that was computed in floats may be beside a whole number.
_ROUNDING = 1e-9
# Beyond it, the longer side of a narrow picture would fill the memory.
_MAX_PIXELS = 100_000_000


class TooManyPixelsError(Exception):
    """A step would make a picture of too many pixels; the message says which."""


@dataclass(frozen=True)
class Stored:
    """A picture as its file has it.

    Attributes:
        picture: "L" or "RGB".
        orientation: EXIF's, 1 to 8.
        size: Of the whole picture, in its own pixels.
        factor: How many of these, on each side, the decoder has made one pixel of: more than 1 of a
            JPEG alone. A part of a pixel at the right or bottom edge is a whole one in ``picture``.
    """

    picture: Image.Image
    orientation: int
    size: Size
    factor: int = 1


class Fitting(Protocol):
    """A way to bring pictures to a model's size."""

    def fit(self, stored: Stored) -> Image.Image:
        """Return a picture of the model's size, "L" or "RGB", as it is to be seen.

        Raises:
            TooManyPixelsError: On the way there would be too many of them.
        """

    def resized_size(self, size: Size, orientation: int) -> tuple[float, float]:
        """Return the size that a whole stored picture is brought to by the first resize."""


@lru_cache
def fitting(spec: ImageSpec) -> Fitting:
    """Return how a model's pictures are brought to its size."""
    steps = parse_steps(spec.resize)
    if steps is not None:
        return _InSteps(spec, steps)
    return {"pad": _Padded, "crop": _Cropped, "stretch": _Stretched}[spec.resize](spec)


def fitted(stored: Stored, spec: ImageSpec) -> NDArray[np.uint8]:
    """Return a picture as a model takes it, uint8 of shape (height, width, channels).

    Raises:
        TooManyPixelsError: As for `Fitting.fit`.
    """
    heeded = replace(stored, orientation=_heeded(stored.orientation, spec))
    small = fitting(spec).fit(heeded)
    pixels = np.array(small.convert("RGB" if spec.channels == 3 else "L"), np.uint8)
    return pixels.reshape(spec.height, spec.width, spec.channels)


def draft_size(size: Size, orientation: int, spec: ImageSpec) -> Size:
    """Return how small the decoder may make a stored picture, at least."""
    wanted = fitting(spec).resized_size(size, _heeded(orientation, spec))
    if spec.jpeg_draft_gap != JPEG_DRAFT_GAP:
        return round(wanted[0]), round(wanted[1])
    width, height = (math.ceil(JPEG_DRAFT_GAP * side - _ROUNDING) for side in wanted)
    return width, height


def _heeded(orientation: int, spec: ImageSpec) -> int:
    return orientation if spec.exif == "apply" else 1


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


def _turned(size: Size, orientation: int) -> Size:
    """Return the size upright of a stored picture, or the size stored of an upright one."""
    return size if orientation < 5 else size[::-1]


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

    def fit(self, stored: Stored) -> Image.Image:
        # Resized as stored, so that only the small result is turned: what is centred stays so.
        size, box = self._placed(stored.size, stored.orientation)
        left, top, right, bottom = (edge / stored.factor for edge in box)
        resized = _resized(stored.picture, size, self.spec, (left, top, right, bottom))
        small = upright(resized, stored.orientation)
        canvas = Image.new("RGB", (self.spec.width, self.spec.height), self.spec.background)
        canvas.paste(
            small, ((canvas.width - small.width) // 2, (canvas.height - small.height) // 2)
        )
        return canvas

    def resized_size(self, size: Size, orientation: int) -> tuple[float, float]:
        (width, height), (left, top, right, bottom) = self._placed(size, orientation)
        return size[0] * width / (right - left), size[1] * height / (bottom - top)

    def _placed(self, size: Size, orientation: int) -> tuple[Size, Box]:
        """The size that a picture is resized to, as it is stored, and the part of it that is."""
        return self._place(size, _turned((self.spec.width, self.spec.height), orientation))

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

    def fit(self, stored: Stored) -> Image.Image:
        if stored.factor > 1:
            picture, steps = self._first_resize(stored), self.steps[1:]
        else:
            picture, steps = stored.picture, self.steps
        # Turned first: offsets are rounded, so those from the other side would be others.
        picture = upright(picture, stored.orientation)
        for step in steps:
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

    def resized_size(self, size: Size, orientation: int) -> Size:
        first = self.steps[0]
        if not isinstance(first, Resize):
            return size
        return _turned(first.output(_turned(size, orientation)), orientation)

    def _first_resize(self, stored: Stored) -> Image.Image:
        """Return a reduced picture after the first step, as it is stored."""
        # By the whole picture's size, as a part of a pixel is no whole one.
        size = self.resized_size(stored.size, stored.orientation)
        width, height = (side / stored.factor for side in stored.size)
        return _resized(stored.picture, size, self.spec, (0.0, 0.0, width, height))
