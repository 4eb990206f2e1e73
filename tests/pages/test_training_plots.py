"""The curves of a training, and reconstructions beside their originals."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vaeudf.pages.training_plots import reconstruction_sheet, training_curve


def opened(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("epochs", [1, 7])
def test_the_curves(epochs):
    values = list(np.linspace(1, 2, epochs))
    first, last = (opened(training_curve(values, values, values, kept)) for kept in (0, epochs - 1))
    assert first.shape == last.shape and first.shape[1] > first.shape[0] > 200
    assert (first != last).any() == (epochs > 1)  # the line of the epoch that is kept


@pytest.mark.parametrize("channels", [1, 3])
def test_an_original_is_above_its_reconstruction(channels):
    originals = np.full((3, 16, 16, channels), 10, np.uint8)
    decoded = np.full((3, 16, 16, channels), 200, np.uint8)
    sheet = opened(reconstruction_sheet(originals, decoded))
    above, below = ((sheet == level).all(axis=2) for level in (10, 200))
    # 16 pixels are shown eight times as large; the edges of letters may have the same grey.
    for found in (above, below):
        assert found.sum() == pytest.approx(3 * 128 * 128, abs=200)
    middles = [np.median(np.argwhere(found)[:, 0]) for found in (above, below)]
    assert middles[1] - middles[0] == pytest.approx(128, abs=1)


def test_errors_that_are_given_are_shown():
    pictures = np.zeros((1, 16, 16, 3), np.uint8)
    own = opened(reconstruction_sheet(pictures, pictures))
    assert (own == opened(reconstruction_sheet(pictures, pictures, errors=[0.0]))).all()
    assert (own != opened(reconstruction_sheet(pictures, pictures, errors=[0.5]))).any()
