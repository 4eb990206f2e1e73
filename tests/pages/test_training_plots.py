"""The pictures of a training: each original above its reconstruction, and the curves."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vaeudf.pages.training_plots import reconstruction_sheet, training_curve


@pytest.mark.parametrize("channels", [1, 3])
def test_reconstructions_are_below_their_originals(channels):
    originals = np.full((9, 64, 64, channels), 250, np.uint8)
    decoded = np.full((9, 64, 64, channels), 20, np.uint8)
    sheet = np.asarray(Image.open(io.BytesIO(reconstruction_sheet(originals, decoded))))
    # Eight pairs in the first row and one in the second, each picture twice as large.
    light, dark = ((sheet == level).all(axis=2) for level in (250, 20))
    assert light.sum() == dark.sum() == 9 * 128 * 128
    assert light[:, :132].sum() == 2 * 128 * 128 and light[:, 924:1056].sum() == 128 * 128
    assert light.any(axis=1).argmax() < dark.any(axis=1).argmax()


def test_errors_can_be_those_of_other_pictures():
    black = np.zeros((2, 16, 16, 3), np.uint8)
    own = reconstruction_sheet(black, black + 51)
    assert reconstruction_sheet(black, black + 51, errors=[0.04, 0.04]) == own
    assert reconstruction_sheet(black, black + 51, errors=[0.04, 0.5]) != own


def test_the_curves_are_a_picture():
    curve = training_curve([-5.0, -4.0], [1.0, 1.2], [0.1, 0.05], 1)
    assert Image.open(io.BytesIO(curve)).size == (9 * 120, 3 * 120)
