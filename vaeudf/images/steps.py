"""Torchvision's steps to a picture of a fixed size: ``Resize`` and ``CenterCrop``, in any order.

A model that was trained with torchvision's transforms needs the same sizes and the same offsets:
half a pixel beside them moves mu. The rules are those that torchvision documents and computes with:

- ``Resize(n)`` makes the shorter side n, and the longer one ``int(n * longer / shorter)``.
- ``Resize((h, w))`` does not keep the aspect.
- ``CenterCrop(m)`` or ``CenterCrop((h, w))`` pads a picture that is too small with black,
  ``missing // 2`` pixels before it and the rest behind it, and cuts one that is too large at
  ``int(round(surplus / 2.0))``, where Python rounds a half to the even number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

Size = tuple[int, int]
"""Width and height in pixels, as Pillow has them."""

MAX_SIDE = 4096
"""The largest number in a step."""

_PAIR = r"[(\[]\s*(?P<height>\d+)\s*,\s*(?P<width>\d+)\s*,?\s*[)\]]"
_STEP = re.compile(
    rf"\s*(?:\w+\.)*(?P<name>Resize|CenterCrop)\s*\(\s*(?:size\s*=\s*)?(?:(?P<number>\d+)|{_PAIR})\s*,?\s*\)\s*"
)


@dataclass(frozen=True)
class Resize:
    """A resize.

    Attributes:
        size: Of the shorter side; or height and width.
    """

    size: int | tuple[int, int]

    def output(self, size: Size) -> Size:
        """Return the size of what becomes of a picture."""
        if not isinstance(self.size, int):
            height, width = self.size
            return width, height
        width, height = size
        if width <= height:
            return self.size, int(self.size * height / width)
        return int(self.size * width / height), self.size


@dataclass(frozen=True)
class CenterCrop:
    """A crop of the middle.

    Attributes:
        size: Of both sides; or height and width.
    """

    size: int | tuple[int, int]

    def output(self, size: Size) -> Size:
        """Return the size of what becomes of a picture."""
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        return width, height

    def apply(self, picture: Image.Image) -> Image.Image:
        """Return the middle of a picture, padded with black where the picture is too small."""
        (width, left), (height, top) = (
            (wanted, _offset(found, wanted))
            for wanted, found in zip(self.output(picture.size), picture.size, strict=True)
        )
        if (left, top, width, height) == (0, 0, *picture.size):
            return picture
        # Beyond a picture's edges, Pillow's crop gives zeros.
        return picture.crop((left, top, left + width, top + height))


Step = Resize | CenterCrop


def _offset(found: int, wanted: int) -> int:
    """Return where a crop begins; below zero, where padding goes before the picture."""
    if found < wanted:
        return -((wanted - found) // 2)
    return round((found - wanted) / 2.0)


def parse_steps(text: str) -> tuple[Step, ...] | None:
    """Read steps as a program for torchvision has them, separated by commas.

    Returns:
        The steps, or None if the text is something else, or if a number is out of range.
    """
    steps: list[Step] = []
    position = 0
    while True:
        found = _STEP.match(text, position)
        if found is None:
            return None
        size = (
            (int(found["height"]), int(found["width"]))
            if found["number"] is None
            else int(found["number"])
        )
        if not all(
            1 <= side <= MAX_SIDE for side in (size if isinstance(size, tuple) else (size,))
        ):
            return None
        steps.append(Resize(size) if found["name"] == "Resize" else CenterCrop(size))
        position = found.end()
        if position == len(text):
            return tuple(steps)
        if text[position] != ",":
            return None
        position += 1


def format_steps(steps: Sequence[Step]) -> str:
    """Return the text of steps, always the same for the same steps."""
    return ", ".join(f"{type(step).__name__}({step.size})" for step in steps)


def output_size(steps: Sequence[Step]) -> Size | None:
    """Return the size that every picture has after the steps, or None if it is not always one."""
    size: Size | None = None
    for step in steps:
        if size is not None:
            size = step.output(size)
        elif isinstance(step, CenterCrop) or not isinstance(step.size, int):
            size = step.output((1, 1))
    return size
