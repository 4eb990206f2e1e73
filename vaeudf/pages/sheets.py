"""Contact sheets: many pictures in one PNG file."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_SIDE = 96
_MARGIN, _CAPTION, _TITLE = 4, 14, 22
_MOST_LETTERS = 120
# Grey: decoded garments are on white.
_GROUND, _INK, _EMPTY = "#d9d9d9", "#111111", "#c4c4c4"

Pixels = NDArray[np.uint8]


def contact_sheet(
    rows: Sequence[Sequence[Pixels | None]],
    *,
    title: str = "",
    row_labels: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
) -> bytes:
    """Lay pictures out in rows.

    Args:
        rows: Pictures (H, W, C); None leaves a place empty.
        title: Shown above the pictures.
        row_labels: Shown to the left of each row.
        captions: Shown below each picture.

    Returns:
        The bytes of a PNG file.
    """
    shapes = [picture.shape for row in rows for picture in row if picture is not None]
    height, width = (max(shape[axis] for shape in shapes) for axis in (0, 1))
    scale = max(1, _SIDE // max(height, width))
    height, width = height * scale, width * scale
    labels = [_plain(label) for label in row_labels]
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = int(max([draw.textlength(label) for label in labels], default=0)) + 2 * _MARGIN
    top = _TITLE if title else _MARGIN
    step = height + _MARGIN + (_CAPTION if captions else 0)
    columns = max(map(len, rows))
    wide = max(left + columns * (width + _MARGIN), int(draw.textlength(_plain(title))) + _MARGIN)
    sheet = Image.new("RGB", (wide, top + len(rows) * step), _GROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), _plain(title), fill=_INK)
    for i, row in enumerate(rows):
        y = top + i * step
        if labels:
            draw.text((_MARGIN, y + height // 2 - 6), labels[i], fill=_INK)
        for j, picture in enumerate(row):
            x = left + j * (width + _MARGIN)
            if picture is None:
                draw.rectangle((x, y, x + width - 1, y + height - 1), fill=_EMPTY)
            else:
                image = _image(picture)
                size = (image.width * scale, image.height * scale)
                sheet.paste(image.resize(size, Image.Resampling.NEAREST), (x, y))
            if captions:
                draw.text((x, y + height + 1), _plain(captions[i][j]), fill=_INK)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def small(pixels: Pixels, side: int = 128) -> Pixels:
    """Return a picture (H, W, C) shrunk to the size of a sheet's pictures; never enlarged."""
    longest = max(pixels.shape[:2])
    if longest <= side:
        return pixels
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    size = tuple(max(1, round(length * side / longest)) for length in image.size)
    shrunk = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    return shrunk if shrunk.ndim == 3 else shrunk[:, :, None]


def from_file(data: bytes) -> Pixels:
    """Return the pixels (H, W, C) of a file that :func:`vaeudf.images.decode.picture_png` made."""
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _image(pixels: Pixels) -> Image.Image:
    one = pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels
    return Image.fromarray(one).convert("RGB")


def _plain(text: str) -> str:
    # Pillow's own font has no other characters.
    text = text.replace("−", "-").replace("–", "-")
    text = "".join(c if c.isprintable() else " " for c in text[:_MOST_LETTERS])
    return text.encode("latin-1", "replace").decode("latin-1")
