"""The page of decoded pictures, without Spark."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.pages.test_query_page import HOSTILE, image_file
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


def test_all_is_there_and_nothing_runs(tmp_path):
    page = Path(write(tmp_path)).read_text()
    assert page.count("<img ") == 2 + 12 + 75 + 75 + 5
    assert page.count("<img ") == len(re.findall(r'<img [^>]*alt="[^"]+"', page))
    assert page.count("no picture") == 2
    assert "A text &lt;b&gt;." in page and HOSTILE not in page
    for text in ("0.01235", "0.10000", "the item is not in the catalog", "−1.00", "z1 ↓", "σ 0.10"):
        assert text in page
    assert page.count("<summary>its z</summary>") == 1 + 11
    assert "<script" not in page and "http" not in page
    assert page.count('class="scroll"') == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_any_kind(tmp_path, channels):
    picture = pixels(9, channels)
    path = write_decode_page(
        str(tmp_path), [Tiles("", "", [Picture("a", picture)])], title="t", lead="l"
    )
    assert Path(path).read_text().count("data:image/png;base64,") == 1
