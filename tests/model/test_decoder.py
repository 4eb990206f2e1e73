"""Latents to pictures."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from tests.support.bundles import (
    new_networks,
)
from vaeudf.errors import InputError
from vaeudf.model.bundle import load_bundle


def test_decode_gives_the_networks_pixels(folder):
    z = np.random.default_rng(1).normal(size=(4, 3)) * 3
    decoded = load_bundle(folder).decode(z)
    assert decoded.shape == (4, 16, 32, 3) and decoded.dtype == np.uint8
    with torch.no_grad():
        expected = new_networks().decoder(torch.tensor(z, dtype=torch.float32)).numpy()
    difference = decoded - 255 * expected.transpose(0, 2, 3, 1).astype(float)
    assert np.abs(difference).max() < 0.501
    assert (load_bundle(folder).decode(z.tolist()) == decoded).all()
    assert load_bundle(folder).decode(np.empty((0, 3))).shape == (0, 16, 32, 3)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3), ()])
def test_decode_takes_latents_of_its_own_length(folder, shape):
    message = f"z has shape {shape}; expected (B, 3)."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        load_bundle(folder).decode(np.ones(shape))
