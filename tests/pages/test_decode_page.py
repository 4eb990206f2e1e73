"""The page of decoded pictures, without Spark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.decoded import (
    pixels,
    write,
)
from tests.support.pages import HOSTILE
from vaeudf.pages.decode_page import Picture, Tiles, write_decode_page


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
