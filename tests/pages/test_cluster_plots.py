"""Plots of clusterings are pictures, also where there is little to plot."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vaeudf.pages.cluster_plots import choice_of_k, objective_curves


def colours(png):
    image = Image.open(io.BytesIO(png)).convert("RGB")
    assert min(image.size) > 100
    return set(
        image.get_flattened_data() if hasattr(image, "get_flattened_data") else image.getdata()
    )


INK, ACCENT = (0x0B, 0x5E, 0x55), (0xB0, 0x57, 0x1A)


@pytest.mark.parametrize("curves", [[[3.0, 2.0, 1.5], [4.0, 1.0]], [[2.0]], [[0.0, 0.0]]])
def test_objective_curves(curves):
    assert INK in colours(objective_curves(curves, best=0, label="mean divergence, nats"))


@pytest.mark.parametrize("silhouettes", [[np.nan, 0.2, 0.3], [np.nan] * 3])
def test_choice_of_k(silhouettes):
    png = choice_of_k(
        [1, 2, 3], objectives=[3.0, 2.0, 1.5], silhouettes=silhouettes, chosen=3, label="mean"
    )
    assert {INK, ACCENT} <= colours(png)
