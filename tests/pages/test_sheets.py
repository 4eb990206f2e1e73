"""Sheets: every picture in its place, whatever it is called."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.support.tolerances import assert_within
from vaeudf.images.decode import picture_png
from vaeudf.pages.sheets import contact_sheet, from_file, small


def solid(level, size=16, channels=3):
    return np.full((size, size, channels), level, np.uint8)


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_names_that_are_no_single_line():
    for name in ("a\nb", "a\tb\x00\x1b[31m", "x" * 5000, "\u2028"):
        sheet = opened(
            contact_sheet([[solid(0)]], title=name, row_labels=[name], captions=[[name]])
        )
        assert sheet.shape[1] < 2500


def test_pictures_are_in_their_rows():
    rows = [[solid(10), solid(60), None], [solid(110), solid(160, channels=1), solid(250)]]
    labels, captions = ["−1.00", "衣"], [["a", "b", ""], ["é", "😀", "x" * 50]]
    sheet = opened(
        contact_sheet(rows, title="a – title" * 20, row_labels=labels, captions=captions)
    )
    levels = {
        level: np.median(np.argwhere((sheet == level).all(axis=2)), axis=0)
        for level in (10, 60, 110, 160, 250)
    }
    # Letters have some of these levels too: the middles may be off by a pixel.
    (y, x), step = levels[10], 100
    for level, below, beside in ((60, 0, 1), (110, 1, 0), (160, 1, 1), (250, 1, 2)):
        expected = (y + below * (step + 14), x + beside * step)
        assert_within(levels[level], expected, 2, why="a pixel, for both of the middles")
    for level in (60, 110):
        assert (sheet == level).all(axis=2).sum() >= 96 * 96  # 16 pixels, six times as large
    plain = opened(contact_sheet([[solid(0)]]))
    assert plain.shape == (104, 108, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_small(channels):
    picture = np.random.default_rng(0).integers(0, 256, (300, 100, channels), dtype=np.uint8)
    assert small(picture).shape == (128, 43, channels)
    assert small(picture, 300) is picture
    assert small(solid(7, 999, channels)).min() == small(solid(7, 999, channels)).max() == 7


@pytest.mark.parametrize("channels", [1, 3])
def test_files_give_the_same_pixels(channels):
    picture = np.random.default_rng(1).integers(0, 256, (16, 20, channels), dtype=np.uint8)
    assert (from_file(picture_png(picture)) == picture).all()
