"""A page of decoded pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.pages import HOSTILE, image_file
from vaeudf.pages.decode_page import Pair, Pairs, Picture, Section, Sheet, Tiles, write_decode_page


def pixels(level: int, channels: int = 3) -> np.ndarray:
    return np.full((16, 16, channels), level, np.uint8)


def sections() -> list[Section]:
    """One of each kind, with all that a section can have."""
    z = np.linspace(-5, 5, 12)
    strip = [Picture(HOSTILE, photo=image_file("red"), note="original")]
    strip += [Picture(f"{i} %", pixels(20 * i), note=f"σ 0.{i}", z=z) for i in range(11)]
    strip += [Picture("gone", photo=None)]
    sheet = [
        [Picture(f"z0 = {i}, z1 = {j}", pixels(10 * i + j), note="0.5") for i in range(25)]
        for j in range(3)
    ]
    pairs = [
        Pair("x" * 200, pixels(5), pixels(6), 0.012345),
        Pair(HOSTILE, pixels(5, 1), pixels(6, 1), 0.1, note="old"),
        Pair("c/3", None, pixels(8), None, note="the item is not in the catalog any more."),
    ]
    labels = [str(i) for i in range(25)]
    return [
        Tiles("", "A text <b>.", [Picture("a", pixels(1), z=z), Picture("b", pixels(2))]),
        Tiles("A walk", "", strip, is_strip=True),
        Sheet("", "", sheet, ["−1.00", "0.00", "1.00"], labels, "z1 ↓  z0 →"),
        Sheet("Rows alone", "", sheet, ["z0", "z1", "z2"]),
        Pairs("The worst", "", pairs),
    ]


def write(folder: Path) -> str:
    return write_decode_page(
        str(folder),
        sections(),
        title="What these z look like",
        lead="Three pictures.",
        notes="7 further pictures are not shown.",
        slider_range=5.0,
        facts=[("pictures decoded", "3")],
    )
