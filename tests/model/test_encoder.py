"""Pictures to mu and log_var."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.support.bundles import (
    networks_that_state,
    new_manifest,
    new_networks,
    pictures,
)
from tests.support.tolerances import FUNCTION, assert_same_float32, terms_of
from vaeudf.model.bundle import load_bundle, save_bundle


def test_encode_gives_the_networks_mu_and_log_var(folder):
    images = pictures()
    mu, log_var = load_bundle(folder).encoder.encode(images)
    assert mu.shape == log_var.shape == (5, 3) and mu.dtype == log_var.dtype == np.float32
    with torch.no_grad():
        scaled = torch.from_numpy((images / np.float32(255)).transpose(0, 3, 1, 2).copy())
        expected = new_networks().encoder(scaled.float())
    terms = terms_of(new_networks().encoder)
    assert_same_float32(mu, expected[0], terms=terms)
    assert_same_float32(log_var, expected[1], terms=terms)
    alone = [load_bundle(folder).encoder.encode(images[i : i + 1])[0] for i in range(5)]
    assert_same_float32(np.concatenate(alone), mu, terms=terms)


STATED = [0.25, 1.0, 3.0]


READINGS = {
    "log_var": STATED,
    "log_sigma": [0.5, 2.0, 6.0],
    "sigma": [2 * math.log(0.25), 0.0, 2 * math.log(3)],
    "variance": [math.log(0.25), 0.0, math.log(3)],
}


@pytest.mark.parametrize("variance", READINGS)
def test_every_reading_of_the_variance(tmp_path, variance):
    networks = networks_that_state(STATED)
    bundle = save_bundle(tmp_path / "model", networks, new_manifest(variance=variance))
    mu, log_var = bundle.encoder.encode(pictures(2))
    assert mu.tolist() == [[7, 8, 9]] * 2
    assert_same_float32(log_var, [READINGS[variance]] * 2, terms=FUNCTION)
    assert log_var.dtype == np.float32


@pytest.mark.parametrize("variance", ["sigma", "variance"])
def test_a_sigma_that_is_not_positive_is_not_finite(tmp_path, variance):
    networks = networks_that_state([0.0, -1.0, 1.0])
    bundle = save_bundle(tmp_path / "model", networks, new_manifest(variance=variance))
    log_var = bundle.encoder.encode(pictures(1))[1]
    assert np.isfinite(log_var).tolist() == [[False, False, True]]
