"""How a model is called, found by calling it."""

from __future__ import annotations

import sys

import pytest
import safetensors.torch
import torch

from tests.support.exports import SPEC, pictures, source, trained, weights_of
from tests.support.tolerances import assert_same_float32, terms_of
from vaeudf.errors import BundleError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import load_bundle
from vaeudf.model.export.api import export_bundle
from vaeudf.model.export.calling import find_interface
from vaeudf.model.export.foreign_model import ForeignModel
from vaeudf.model.export.probe import Probe
from vaeudf.model.foreign import build_foreign
from vaeudf.model.pixels import PixelScaler

GREY = ImageSpec(16, 16, channels=1)


def found(kind, **said):
    model = build_foreign("tests.support.elsewhere:make", {"kind": kind})
    pixels = PixelScaler(SPEC, channels_last=False).scale_array(pictures(4))
    return find_interface(model, source(kind, **said), pixels)


def test_what_is_found_and_what_is_said():
    recognised, interface = found("LogSigma", clamp=(-3.0, 2.0), activation="sigmoid")
    assert (interface.encoder, interface.mu, interface.spread) == ("encode", "mu", "log_sigma")
    assert (interface.decoder, interface.picture) == ("decode", "")
    assert (interface.latent_shape, interface.latent_layout) == ((3,), "flat")
    assert (interface.clamp, interface.activation) == ((-3.0, 2.0), "sigmoid")
    assert (recognised.variance, recognised.suggested) == (None, "log_sigma")


@pytest.mark.parametrize("said", [{}, {"pixel_layout": "hwc"}])
def test_channel_last_pictures(said):
    _, interface = found("ChannelLast", **said)
    assert (interface.latent_shape, interface.latent_layout) == ((4, 4, 2), "chw")
    assert interface.pixel_layout == "hwc"


@pytest.mark.parametrize("decoder", ["none", "no_such"])
def test_a_decoder_that_is_left_out_or_not_there(decoder):
    if decoder == "none":
        assert found("Pair", decoder=decoder)[1].decoder is None
    else:
        with pytest.raises(BundleError, match="has no 'no_such'; name another place"):
            found("Pair", decoder=decoder)


def test_a_decoder_that_does_not_take_the_latents():
    with pytest.raises(BundleError, match=r"features cannot .*with --decoder, or .*--decoder none"):
        found("Pair", decoder="features")


def test_what_is_named_must_be_a_tensor():
    with pytest.raises(BundleError, match=r"^'0\.scale\.shape' of .* is a Size of 2: .*; expec"):
        found("WithSample", mu_output="1", variance_output="0.scale.shape")


@pytest.mark.parametrize(("kind", "layout"), [("Flat", "flat"), ("GreyWithoutAxis", "flat")])
def test_flat_pictures(tmp_path, kind, layout):
    """PyTorch's example takes and gives (B, 784); others give (B, 28, 28)."""
    theirs = trained(kind)
    weights = weights_of(theirs, tmp_path / "w.safetensors")
    given = ForeignModel(
        **{**vars(source(kind, weights=weights, variance="log_var")), "image": GREY}
    )
    export_bundle(tmp_path / "b", given)
    bundle = load_bundle(tmp_path / "b", trust_model=True)
    assert bundle.manifest.interface.pixel_layout == layout
    grey = pictures()[..., :1]
    with torch.no_grad():
        expected, log_var = theirs.encode(torch.from_numpy(grey / 255.0).float().reshape(6, -1))
        drawn = theirs.decode(expected).reshape(-1, 1, 16, 16)
    found_mu, found_log_var = bundle.encoder.encode(grey)
    assert_same_float32(found_mu, expected, terms=terms_of(theirs))
    assert_same_float32(found_log_var, log_var, terms=terms_of(theirs))
    assert_same_float32(bundle.decoder(expected), drawn, terms=terms_of(theirs))
    assert bundle.decode(found_mu).shape == (6, 16, 16, 1)


def test_pictures_of_another_size_than_the_encoder_takes():
    given = ForeignModel(**{**vars(source("Pair", variance="log_var")), "image": ImageSpec(32, 32)})
    with pytest.raises(BundleError, match=r"encode cannot take a tensor of shape \(4, 3, 32, 32\)"):
        Probe(given)


@pytest.mark.parametrize(
    ("kind", "places"), [("InForward", ("1", "2")), ("WithInput", ("2", "3")), ("WithLoss", None)]
)
def test_a_posterior_that_is_made_in_forward_alone(tmp_path, kind, places):
    mu, spread = places or ("mu", "logvar")
    message = (
        rf"^encoder gives a tensor of shape \(4, 64\), but forward gives .*, with mu at '{mu}' and "
        rf"the variance at '{spread}'\. So what encoder gives are features, .* --encoder forward\."
    )
    halves = {"mu_output": "first-half", "variance_output": "second-half"}
    for said in ({}, halves):  # the halves of the features would be taken without a complaint
        with pytest.raises(BundleError, match=message):
            found(kind, **said)
    theirs = trained(kind)
    # Without the second name of tensors that have two.
    safetensors.torch.save_model(theirs, str(tmp_path / "w.safetensors"))
    weights = tmp_path / "w.safetensors"
    said = {"weights": weights, "variance": "log_var", "encoder": "forward"}
    bundle = export_bundle(tmp_path / "b", source(kind, **said), pictures())
    with torch.no_grad():
        h = theirs.features(PixelScaler(SPEC).scale_array(pictures()))
        expected, log_var = theirs.head(h), theirs.spread(h)
    found_mu, found_log_var = bundle.encoder.encode(pictures())
    assert_same_float32(found_mu, expected, terms=terms_of(theirs))
    assert_same_float32(found_log_var, log_var, terms=terms_of(theirs))
    # Whoever means it can have the features.
    assert found(kind, encoder="encoder", decoder="none", **halves)[1].latent_dim == 32


def test_forward_is_asked_of_what_it_has_besides():
    with pytest.raises(BundleError, match="as --mu-output 2 --variance-output 3"):
        found("WithSampleInForward", encoder="forward")


def test_halves_that_are_the_posterior_of_forward():
    said = {"mu_output": "first-half", "variance_output": "second-half"}
    assert found("HalvesInForward", **said)[1].encoder == "encoder"
    with pytest.raises(BundleError, match="Say --encoder forward"):
        found("HalvesInForward")


def code_of(error, path):
    """Write the code that a message prints to a file."""
    path.write_text(str(error.value).split(":\n\n", 1)[1])
    return path


@pytest.mark.parametrize(
    ("kind", "name", "label"),
    [
        ("Conditional", "y", "encode takes 'y' besides pictures, as a conditional VAE does"),
        ("ConditionalByDefault", "labels", "encode takes 'labels' besides pictures"),
        ("ConditionalInForward", "y", "the model takes 'y' besides pictures"),
    ],
)
def test_the_advice_for_conditional_models(tmp_path, monkeypatch, kind, name, label):
    """The code in the message is a factory that works, with the weights as they were saved."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    theirs = trained(kind)
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    given = {"weights": tmp_path / "w.pt", "variance": "log_var"}
    with pytest.raises(BundleError, match=label) as error:
        Probe(source(kind, **given))
    file = code_of(error, tmp_path / f"fixed_{kind}_{tmp_path.name}.py")
    bundle = export_bundle(
        tmp_path / "b", source(kind, factory=f"{file}:make", **given), pictures()
    )
    assert bundle.manifest.architecture == f"{file.stem}:make"
    pixels = PixelScaler(SPEC).scale_array(pictures())
    labels = torch.zeros(6, dtype=torch.int64)
    with torch.no_grad():
        if kind == "ConditionalInForward":
            _, expected, _ = theirs(pixels, labels)
        else:
            expected, _ = theirs.encode(pixels, labels)
    mu, _ = bundle.encoder.encode(pictures())
    assert_same_float32(mu, expected, terms=terms_of(theirs))
    assert bundle.has_decoder == (kind == "Conditional")
    if kind == "Conditional":
        with torch.no_grad():
            drawn = theirs.decode(expected, labels)
        assert_same_float32(bundle.decoder(expected), drawn, terms=terms_of(theirs))
