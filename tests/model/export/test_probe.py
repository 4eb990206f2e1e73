"""Models made elsewhere to bundles: their own output is the oracle."""

from __future__ import annotations

import re

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.support.exports import SPEC, pictures, source, trained, weights_of
from tests.support.tolerances import FUNCTION, assert_same_float32, assert_stated, terms_of
from vaeudf.errors import BundleError, InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import load_bundle, load_encoder
from vaeudf.model.export.api import export_bundle
from vaeudf.model.export.probe import Probe
from vaeudf.model.manifest import MANIFEST, MODEL
from vaeudf.model.pixels import PixelScaler

READINGS = {
    "log_var": lambda s: s,
    "log_sigma": lambda s: 2 * s,
    "sigma": lambda s: 2 * np.log(s),
    "variance": np.log,
    "softplus": lambda s: 2 * np.log(np.log1p(np.exp(s))),
}


@pytest.mark.parametrize(
    ("kind", "said", "places"),
    [
        ("Pair", {"variance": "log_var"}, ("0", "1")),
        ("Pair", {"variance": "softplus"}, ("0", "1")),
        ("AList", {"variance": "log_sigma"}, ("0", "1")),
        ("Sigma", {"variance": "sigma"}, ("0", "1")),
        ("KerasNames", {"variance": "log_var"}, ("z_mean", "z_log_var")),
        (
            "KerasStyle",
            {"variance": "log_var", "mu_output": "0", "variance_output": "1"},
            ("0", "1"),
        ),
        ("LogSigma", {"variance": "log_sigma"}, ("mu", "log_sigma")),
        ("Named", {"variance": "variance"}, ("mean", "var")),
        ("AnObject", {"variance": "log_var"}, ("mu", "logvar")),
        ("ANormal", {}, ("loc", "scale")),
        ("AnIndependent", {}, ("base_dist.loc", "base_dist.scale")),
        ("WithSample", {}, ("0.loc", "0.scale")),
        (
            "Halves",
            {"variance": "log_var", "mu_output": "first-half", "variance_output": "second-half"},
            ("first-half", "second-half"),
        ),
    ],
)
def test_equals_the_models_own_output(tmp_path, kind, said, places):
    theirs = trained(kind)
    weights = weights_of(theirs, tmp_path / "weights.safetensors")
    export_bundle(tmp_path / "bundle", source(kind, weights=weights, **said), pictures())
    bundle = load_bundle(tmp_path / "bundle", trust_model=True)
    interface = bundle.manifest.interface
    assert (interface.mu, interface.spread) == places and interface.channels_last
    variance = said.get("variance", "sigma")
    assert bundle.manifest.variance == variance and bundle.latent_dim == 3

    with torch.no_grad():
        scaled = PixelScaler(SPEC).scale_array(pictures())
        expected, stated = theirs.outputs(scaled)
        if kind in ("Sigma", "ANormal", "AnIndependent", "WithSample"):
            stated = torch.nn.functional.softplus(stated)
        stated = stated.exp() if kind == "Named" else stated
    for encoder in (bundle.encoder, load_encoder(bundle.encoder_files)):
        mu, log_var = encoder.encode(pictures())
        assert_same_float32(mu, expected, terms=terms_of(theirs))
        assert_same_log_var(log_var, stated.double().numpy(), variance, terms_of(theirs))
    ends = np.quantile(mu, [0.005, 0.995], axis=0)
    assert_stated(bundle.manifest.z_range, ends, decimals=3)
    with torch.no_grad():
        drawn = torch.sigmoid(theirs.dec(expected)).reshape(-1, 3, 16, 16)
    assert_same_float32(bundle.decoder(expected), drawn, terms=terms_of(theirs.dec))
    assert bundle.decode(mu).shape == (6, 16, 16, 3)


def assert_same_log_var(log_var, stated, variance, terms):
    """An error of what is stated is larger in log sigma² where the reading is steep."""
    reading = READINGS[variance]
    expected = reading(stated)
    slope = np.abs(reading(stated + 1e-6) - reading(stated - 1e-6)).max() / 2e-6
    magnitude = slope * np.abs(stated).max() + np.abs(expected).max()
    assert_same_float32(log_var, expected, terms=terms + 3 * FUNCTION, magnitude=magnitude)


@pytest.mark.parametrize("as_tuple", [True, False])
def test_an_encoder_and_a_decoder_that_gives_logits(tmp_path, as_tuple):
    said = {"activation": "sigmoid", "variance": "log_var"}
    given = source(factory="tests.support.elsewhere:two", arguments={"as_tuple": as_tuple}, **said)
    bundle = export_bundle(tmp_path / "bundle", given, pictures())
    interface = bundle.manifest.interface
    assert (interface.encoder, interface.decoder, interface.picture) == ("encoder", "decoder", "0")
    model = bundle.encoder.network.model
    z = torch.randn(4, 3)
    with torch.no_grad():
        expected = torch.sigmoid(model["decoder"](z)[0])
    assert_same_float32(bundle.decoder(z), expected, terms=terms_of(model["decoder"]))


@pytest.mark.parametrize("kind", ["ViewsItsWeights", "WithVolumes"])
def test_weights_that_cannot_lie_channel_last(tmp_path, kind):
    bundle = export_bundle(tmp_path / "b", source(kind, variance="log_var"), pictures())
    assert bundle.manifest.interface.channels_last == (kind == "WithVolumes")
    again = load_bundle(tmp_path / "b", trust_model=True)
    np.testing.assert_array_equal(
        again.encoder.encode(pictures()), bundle.encoder.encode(pictures())
    )


@pytest.mark.slow
def test_very_many_dimensions(tmp_path):
    export_bundle(tmp_path / "b", source("Wide", variance="log_var"), pictures())
    text = (tmp_path / "b" / MANIFEST).read_text()
    assert len(text.splitlines()) < 200
    again = load_bundle(tmp_path / "b", trust_model=True)
    assert np.shape(again.manifest.z_range) == (2, 20_000)
    assert len(again.manifest.test_vector[0]) == 16


def test_parameters_that_share_memory(tmp_path):
    bundle = export_bundle(
        tmp_path / "b",
        source(factory="tests.support.elsewhere:tied", arguments={}, variance="log_var"),
    )
    weights = safetensors.torch.load_file(tmp_path / "b" / MODEL)
    assert (weights["head.weight"] == weights["spread.weight"]).all()
    assert bundle.encoder.encode(pictures())[0].shape == (6, 3)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"factory": "os.system"},
            "factory 'os.system' is not a factory; expected module:callable.",
        ),
        ({"factory": "a:b:c"}, "factory 'a:b:c' is not a factory; expected module:callable."),
        (
            {"factory": "tests.no_such:make"},
            "factory tests.no_such:make: there is no module 'tests.no_such'; install it, or send "
            "its file along with --py-files.",
        ),
        (
            {"factory": "tests.support.elsewhere:no_such"},
            "factory tests.support.elsewhere:no_such: tests.support.elsewhere has no no_such.",
        ),
        (
            {"factory": "tests.support.elsewhere:NOT_CALLABLE"},
            "factory tests.support.elsewhere:NOT_CALLABLE is a int; expected something to call.",
        ),
        (
            {"factory": "tests.support.elsewhere:fails", "arguments": {}},
            "factory tests.support.elsewhere:fails failed with the arguments {}: RuntimeError: "
            "no such size",
        ),
        (
            {"factory": "tests.support.elsewhere:three", "arguments": {}},
            "tests.support.elsewhere:three made a tuple of 3: a Encoder, a Logits, a int; expected "
            "a torch.nn.Module, or a pair of them: encoder and decoder.",
        ),
        ({"encoder": "embed"}, "a Pair has no 'embed'; name another place"),
        (
            {"arguments": {"kind": "Swapped"}, "mu_output": "1"},
            "only one of mu and the variance is named. Name both",
        ),
        (
            {"arguments": {"kind": "SwappedPair"}, "mu_output": "1"},
            "mu and the variance would both be '1' of a tuple of 2",
        ),
        (
            {
                "arguments": {"kind": "Mixed"},
                "mu_output": "mean",
                "variance_output": "variance",
            },
            "MixtureSameFamily: it is a mixture, and not one Gaussian",
        ),
        (
            {
                "arguments": {"kind": "Laplace"},
                "mu_output": "loc",
                "variance_output": "scale",
            },
            "Laplace: it is not a diagonal Gaussian",
        ),
        ({"mu_output": "7", "variance_output": "1"}, "has no '7'; name another place"),
        ({"image": ImageSpec(16, 20)}, "encode cannot take a tensor of shape (4, 3, 16, 20) (Runt"),
        ({"clamp": (3.0, 1.0)}, "interface.clamp is (3.0, 1.0), which is not a value that it"),
        ({"latent_scale": 0.0}, "interface.scale is 0.0, which is not a value that it can have"),
    ],
)
def test_what_is_said_wrong(said, message):
    with pytest.raises(BundleError, match=re.escape(message)):
        Probe(source(**{"variance": "log_var", **said}))


def test_variance_has_no_default(tmp_path):
    with pytest.raises(BundleError) as error:
        export_bundle(tmp_path / "bundle", source("LogSigma"), pictures())
    assert str(error.value) == (
        "the encoder states its variance in 'log_sigma', whose name suggests log_sigma; what is "
        "it? Say --variance log_var|log_sigma|sigma|variance|softplus. A wrong reading ruins "
        "every result without an error, so there is no default."
    )
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(InputError, match="variance is 'std'; expected one of log_var, log_sigma"):
        source(variance="std")


def test_a_reading_against_the_type_is_refused():
    with pytest.raises(BundleError, match=r"said to be log_var, but .*Normal output, .* is sigma"):
        Probe(source("ANormal", variance="log_var"))


def test_a_reading_that_gives_no_sigma_is_not_saved(tmp_path):
    with pytest.raises(BundleError, match=r"no sigma above 0 for 6 of 6 .* be log_var, log_s"):
        export_bundle(tmp_path / "bundle", source(variance="sigma"), pictures())
    assert not (tmp_path / "bundle").exists()
