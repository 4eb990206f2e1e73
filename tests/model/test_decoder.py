"""Latents to pictures."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch

from tests.support.bundles import new_networks
from tests.support.tolerances import assert_rounded_to_levels, assert_same_float32, terms_of
from vaeudf.errors import InputError
from vaeudf.model.bundle import load_bundle, load_decoder


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


def test_levels_are_what_pictures_are_rounded_from(folder):
    decoder = load_decoder(load_bundle(folder).decoder_files)
    z = np.random.default_rng(1).normal(size=(4, 3)) * 3
    levels = decoder.decode_levels(z)
    assert levels.shape == (4, 16, 32, 3) and levels.dtype == np.float32
    with torch.no_grad():
        network = new_networks().decoder
        expected = network(torch.tensor(z, dtype=torch.float32)).permute(0, 2, 3, 1)
    assert_same_float32(levels, expected, terms=terms_of(network))
    assert_rounded_to_levels(decoder.decode(z), levels.astype(np.float64) * 255, terms=4)
    assert decoder.decode_levels(np.empty((0, 3))).shape == (0, 16, 32, 3)
    with pytest.raises(InputError, match=r"^z has shape \(2, 4\); expected \(B, 3\)\.$"):
        decoder.decode_levels(np.ones((2, 4)))


def test_a_z_beyond_float32_is_decoded_without_a_warning(folder):
    decoder = load_decoder(load_bundle(folder).decoder_files)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        levels = decoder.decode_levels([[1e200, 0.0, 0.0]])
    assert not np.isfinite(levels).all()


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3), ()])
def test_decode_takes_latents_of_its_own_length(folder, shape):
    message = f"z has shape {shape}; expected (B, 3)."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        load_bundle(folder).decode(np.ones(shape))
