"""Models of factories, loaded again: trust, and code that has changed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from tests.support import elsewhere
from tests.support.exports import SPEC, pictures, source, trained, weights_of
from tests.support.tolerances import assert_same_float32, terms_of
from vaeudf.errors import BundleError
from vaeudf.model.bundle import load_bundle, load_encoder
from vaeudf.model.export.api import export_bundle
from vaeudf.model.export.foreign_model import ForeignModel
from vaeudf.model.foreign import build_foreign
from vaeudf.model.pixels import PixelScaler


def test_numbers_that_are_not_among_the_weights(tmp_path):
    with pytest.raises(BundleError, match="has numbers that are not among its weights"):
        export_bundle(tmp_path / "b", source("NotAllWeights", variance="log_var"), pictures())
    assert not (tmp_path / "b").exists()


def test_code_that_has_changed(tmp_path, monkeypatch):
    bundle = export_bundle(tmp_path / "b", source("Changed", variance="log_var"), pictures())
    assert np.shape(bundle.manifest.test_vector) == (2, 3)
    load_bundle(tmp_path / "b", trust_model=True)
    monkeypatch.setattr(elsewhere.Changed, "factor", 1.01)
    message = "gives other posteriors than it did when the bundle was made: its code"
    with pytest.raises(BundleError, match=message):
        load_bundle(tmp_path / "b", trust_model=True)
    with pytest.raises(BundleError, match=message):
        load_encoder(bundle.encoder_files)


def test_a_bundle_of_this_kind_needs_trust(tmp_path, monkeypatch):
    export_bundle(tmp_path / "bundle", source(variance="log_var"))
    monkeypatch.setattr(elsewhere, "make", None)  # not even looked at
    with pytest.raises(
        BundleError, match=r"own, tests\.support\.elsewhere:make; .*say so: --trust-model"
    ):
        load_bundle(tmp_path / "bundle")


def test_channel_last_pictures_and_latents(tmp_path):
    theirs = trained("ChannelLast")
    weights = weights_of(theirs, tmp_path / "weights.safetensors")
    said = {"pixel_layout": "hwc", "latent_layout": "hwc", "variance": "log_var"}
    bundle = export_bundle(tmp_path / "b", source("ChannelLast", weights=weights, **said))
    interface = bundle.manifest.interface
    assert interface.latent_shape == (4, 4, 2) and interface.latent_layout == "hwc"
    with torch.no_grad():
        pixels = torch.from_numpy(pictures() / np.float32(255))
        expected, _ = theirs.encode(pixels)
        drawn = theirs.decode(expected)
    mu, _ = bundle.encoder.encode(pictures())
    assert_same_float32(mu, expected.reshape(6, -1), terms=terms_of(theirs))
    found = bundle.decoder(torch.from_numpy(mu)).permute(0, 2, 3, 1)
    assert_same_float32(found, drawn, terms=terms_of(theirs))
    assert bundle.manifest.z_range is None  # noise says nothing of where items lie


def test_without_a_decoder(tmp_path):
    for given in (source("Encoder", decoder="none"), source("Pair", decoder="none")):
        bundle = export_bundle(
            tmp_path / "bundle", ForeignModel(**{**vars(given), "variance": "log_var"})
        )
        assert bundle.manifest.interface.decoder is None
        with pytest.raises(BundleError, match=r"^the model has no decoder, so nothing can be"):
            bundle.decode(np.zeros((1, 3)))


def test_scale_shift_and_clamp(tmp_path):
    weights = weights_of(trained("Pair"), tmp_path / "weights.safetensors")
    plain = export_bundle(tmp_path / "a", source(weights=weights, variance="log_sigma"))
    moved = export_bundle(
        tmp_path / "b",
        source(
            weights=weights,
            variance="log_sigma",
            latent_scale=0.5,
            latent_shift=2.0,
            clamp=(-1.1, -0.9),
        ),
    )
    mu, log_var = plain.encoder.encode(pictures())
    found_mu, found_log_var = moved.encoder.encode(pictures())
    terms = terms_of(plain.encoder)
    largest = 0.5 * (np.abs(mu).max() + 2)
    assert_same_float32(found_mu, (mu - 2) * 0.5, terms=terms, magnitude=largest)
    clamped = np.clip(log_var, -2.2, -1.8)
    assert (clamped != log_var).any() and (clamped == log_var).any()
    # Of (z - 2) / 2, the standard deviation is half.
    assert_same_float32(found_log_var, clamped + 2 * np.log(0.5), terms=terms)
    assert (moved.decode(found_mu) == plain.decode(mu)).mean() > 0.999


def test_models_that_take_no_channel_last_tensors_get_none(tmp_path):
    bundle = export_bundle(tmp_path / "b", source("Viewer", variance="log_var"), pictures())
    assert not bundle.manifest.interface.channels_last
    expected = PixelScaler(SPEC).scale_array(pictures()).reshape(6, -1)[:, :3].numpy()
    assert (bundle.encoder.encode(pictures())[0] == expected).all()


SCRIPT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1{required})
options = parser.parse_args()
from tests.support.elsewhere import Pair


class Model(Pair):
    pass


def stops():
    raise SystemExit("there is no GPU")
"""


def test_a_training_script_that_parses_its_options_when_it_is_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["export_model", "--factory", "train_a:Model"])
    (tmp_path / "train_a.py").write_text(SCRIPT.format(required=""))
    (tmp_path / "train_b.py").write_text(SCRIPT.format(required=", required=True"))
    assert type(build_foreign("train_a:Model", {})).__name__ == "Model"
    assert sys.argv == ["export_model", "--factory", "train_a:Model"]
    with pytest.raises(BundleError, match=r"module train_b ends the program when it is imported"):
        build_foreign("train_b:Model", {})
    with pytest.raises(BundleError, match=r"train_a:stops failed .*there is no GPU"):
        build_foreign("train_a:stops", {})
