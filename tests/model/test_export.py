"""Models made elsewhere to bundles: their own output is the oracle."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.support import elsewhere
from vaeudf.errors import BundleError, InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.answers import pick
from vaeudf.model.bundle import load_bundle, load_encoder
from vaeudf.model.export.api import export_bundle
from vaeudf.model.export.foreign_model import ForeignModel
from vaeudf.model.export.probe import Probe
from vaeudf.model.export.recognition import check_family
from vaeudf.model.interface import Interface
from vaeudf.model.manifest import MANIFEST, MODEL
from vaeudf.model.pixels import PixelScaler

SPEC = ImageSpec(16, 16)


def source(kind="Pair", **changes):
    return ForeignModel(
        **{
            "factory": "tests.support.elsewhere:make",
            "image": SPEC,
            "arguments": {"kind": kind},
            **changes,
        }
    )


def pictures(count=6):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def trained(kind, seed=3):
    torch.manual_seed(seed)
    return elsewhere.make(kind).eval()


def weights_of(model, path):
    safetensors.torch.save_file(model.state_dict(), path)
    return path


READINGS = {
    "log_var": lambda s: s,
    "log_sigma": lambda s: 2 * s,
    "sigma": lambda s: 2 * np.log(s),
    "variance": np.log,
    "softplus": lambda s: 2 * np.log(np.log1p(np.exp(s))),
}


# ---- what is recognised, and what comes of it


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
        np.testing.assert_allclose(mu, expected, atol=1e-5)
        np.testing.assert_allclose(log_var, READINGS[variance](stated.double().numpy()), atol=1e-5)
    ends = np.quantile(mu, [0.005, 0.995], axis=0)
    np.testing.assert_allclose(bundle.manifest.z_range, ends, atol=1e-3)
    with torch.no_grad():
        drawn = torch.sigmoid(theirs.dec(expected)).reshape(-1, 3, 16, 16)
    np.testing.assert_allclose(bundle.decoder(expected), drawn, atol=1e-5)
    assert bundle.decode(mu).shape == (6, 16, 16, 3)


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
    np.testing.assert_allclose(mu, expected.reshape(6, -1), atol=1e-5)
    found = bundle.decoder(torch.from_numpy(mu)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found, drawn, atol=1e-5)
    assert bundle.manifest.z_range is None  # noise says nothing of where items lie


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
    np.testing.assert_allclose(bundle.decoder(z), expected)


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
    np.testing.assert_allclose(found_mu, (mu - 2) * 0.5, atol=1e-6)
    clamped = np.clip(log_var, -2.2, -1.8)
    assert (clamped != log_var).any() and (clamped == log_var).any()
    # Of (z - 2) / 2, the standard deviation is half.
    np.testing.assert_allclose(found_log_var, clamped + 2 * np.log(0.5), atol=1e-5)
    assert (moved.decode(found_mu) == plain.decode(mu)).mean() > 0.999


def test_models_that_take_no_channel_last_tensors_get_none(tmp_path):
    bundle = export_bundle(tmp_path / "b", source("Viewer", variance="log_var"), pictures())
    assert not bundle.manifest.interface.channels_last
    expected = PixelScaler(SPEC).scale_array(pictures()).reshape(6, -1)[:, :3].numpy()
    assert (bundle.encoder.encode(pictures())[0] == expected).all()


def test_a_name_that_is_given_stands_and_the_other_is_recognised(tmp_path):
    said = {"variance": "log_var", "mu_output": "1", "variance_output": "0"}
    swapped = export_bundle(tmp_path / "a", source("SwappedPair", **said), pictures())
    with torch.inference_mode():
        model = elsewhere.make("SwappedPair")
        load = safetensors.torch.load_file(tmp_path / "a" / MODEL)
        model.load_state_dict(load)
        mu, log_var = model.outputs(PixelScaler(SPEC).scale_array(pictures()))
    found = swapped.encoder.encode(pictures())
    np.testing.assert_allclose(found, [mu, log_var], atol=1e-5)
    named = Probe(
        source("OddlyNamed", variance="log_var", variance_output="spread", mu_output="mu")
    )
    assert (named.interface.mu, named.interface.spread) == ("mu", "spread")
    # The type says what the scale is; of another place it says nothing.
    assert Probe(source("ANormal", mu_output="mean")).variance == "sigma"
    assert Probe(source("ANormal", variance_output="variance")).variance is None


# ---- that the bundle is what was exported


@pytest.mark.parametrize("kind", ["ViewsItsWeights", "WithVolumes"])
def test_weights_that_cannot_lie_channel_last(tmp_path, kind):
    bundle = export_bundle(tmp_path / "b", source(kind, variance="log_var"), pictures())
    assert bundle.manifest.interface.channels_last == (kind == "WithVolumes")
    again = load_bundle(tmp_path / "b", trust_model=True)
    np.testing.assert_array_equal(
        again.encoder.encode(pictures()), bundle.encoder.encode(pictures())
    )


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


def test_very_many_dimensions(tmp_path):
    export_bundle(tmp_path / "b", source("Wide", variance="log_var"), pictures())
    text = (tmp_path / "b" / MANIFEST).read_text()
    assert len(text.splitlines()) < 200
    again = load_bundle(tmp_path / "b", trust_model=True)
    assert np.shape(again.manifest.z_range) == (2, 20_000)
    assert len(again.manifest.test_vector[0]) == 16


def test_an_encoder_that_gives_nan(tmp_path):
    bright = np.full((5, 16, 16, 3), 250, np.uint8)
    with pytest.raises(
        BundleError, match=r"a variance that is not finite for 5 of 5 pictures\. Are"
    ):
        export_bundle(tmp_path / "b", source("NotANumber", variance="log_var"), bright)


def test_a_flow_is_a_fine_prior(monkeypatch):
    class Coupling(torch.nn.Linear):
        __module__ = "nflows.transforms"

    for name in ("prior", "decoder_flow"):
        model = elsewhere.make("Pair")
        setattr(model, name, Coupling(1, 1))
        check_family(model)
    model.posterior = Coupling(1, 1)
    with pytest.raises(BundleError, match=r"nflows\.transforms\.\S*Coupling cannot be exported"):
        check_family(model)


# ---- weights, as they are saved


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 7},
        lambda state: {"model_state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"model": {f"_orig_mod.module.{k}": v for k, v in state.items()}},
        lambda state: {k: v.half() for k, v in state.items()},
    ],
)
def test_weights_of_torch_save(tmp_path, wrap):
    theirs = trained("Pair")
    torch.save(wrap(theirs.state_dict()), tmp_path / "weights.pt")
    bundle = export_bundle(
        tmp_path / "b", source(weights=tmp_path / "weights.pt", variance="log_var")
    )
    state = bundle.encoder.network.model.state_dict()
    assert state.keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert state[name].dtype == torch.float32
        np.testing.assert_allclose(state[name], tensor, atol=1e-3)


def test_weights_of_a_part(tmp_path):
    state = {f"vae.{k}": v for k, v in trained("Pair").state_dict().items()}
    torch.save({"state_dict": {**state, "loss.weight": torch.ones(3)}}, tmp_path / "w.ckpt")
    given = {"weights": tmp_path / "w.ckpt", "variance": "log_var"}
    with pytest.raises(BundleError, match=r"w.ckpt does not fit the model: 8 missing.*prefix"):
        Probe(source(**given))
    Probe(source(**given, weights_prefix="vae."))


def test_weights_that_do_not_fit(tmp_path):
    def refused(state, name="w.pt", **said):
        torch.save(state, tmp_path / name)
        with pytest.raises(BundleError) as error:
            Probe(source(weights=tmp_path / name, variance="log_var", **said))
        return str(error.value)

    state = trained("Pair").state_dict()
    less = {k: v for k, v in state.items() if k != "dec.bias"}
    assert "1 missing, such as dec.bias." in refused(less)
    assert "1 surplus, such as extra." in refused({**state, "extra": torch.ones(1)})
    assert "head.bias is (5,); the model expects (3,)" in refused(
        {**state, "head.bias": torch.ones(5)}
    )
    assert "head.bias has NaN or infinite" in refused(
        {**state, "head.bias": torch.full((3,), np.nan)}
    )
    assert "holds a list of 1: a tensor of shape (1,); expected a state_dict" in refused(
        [torch.ones(1)]
    )
    with pytest.raises(BundleError, match=r"none\.pt does not exist; expected a file of weights"):
        Probe(source(weights=tmp_path / "none.pt"))
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"no\.safetensors is not a safetensors file"):
        Probe(source(weights=tmp_path / "no.safetensors"))


class Runs:
    """A pickle that runs code when it is opened."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path):
    torch.save({"state_dict": Runs(tmp_path / "ran")}, tmp_path / "w.pt")
    with pytest.raises(
        BundleError, match=r"w\.pt is no file of weights alone: it holds \S*open, and to"
    ):
        Probe(source(weights=tmp_path / "w.pt"))
    torch.save(trained("Pair"), tmp_path / "whole.pt")  # a whole module
    with pytest.raises(
        BundleError, match=r"it holds tests\.support\.elsewhere\.Pair, and to"
    ) as error:
        Probe(source(weights=tmp_path / "whole.pt"))
    assert not (tmp_path / "ran").exists()
    # What it says to do, for whoever trusts the file, does it.
    loss = {"model_state_dict": trained("Pair").state_dict(), "loss": np.float64(0.1)}
    torch.save({**loss, "options": Namespace(a=1)}, tmp_path / "more.pt")
    importable = {**os.environ, "PYTHONPATH": str(Path(elsewhere.__file__).parents[2])}
    for name in ("whole.pt", "more.pt"):
        with pytest.raises(BundleError) as error:
            Probe(source(weights=tmp_path / name))
        command = re.search(r"weights out: python (-c .*)$", str(error.value))
        subprocess.run(
            [sys.executable, *shlex.split(command[1])], cwd=tmp_path, env=importable, check=True
        )
        assert Probe(source(weights=tmp_path / "weights.pt", variance="log_var"))


@pytest.mark.parametrize("scaling", ["zero_one", "minus_one_one"])
def test_the_scaling_that_a_model_was_trained_with(scaling):
    """An autoencoder that gives back what it gets tells how its pixels were scaled."""
    spec = replace(SPEC, scaling=scaling)
    model = {"arguments": {"kind": "Echo", "scaling": scaling}, "variance": "log_var"}
    for said in ("zero_one", "minus_one_one"):
        probe = Probe(source(image=replace(spec, scaling=said), **model))
        probe.use(pictures() // 128 * 255)
        errors = probe.errors_by_scaling()
        assert min(errors, key=errors.get) == scaling
        assert errors[said] == pytest.approx(probe.trial.reconstruction_error())
        assert errors[scaling] < 1e-4 < 0.02 < max(errors.values())


def test_parameters_that_share_memory(tmp_path):
    bundle = export_bundle(
        tmp_path / "b",
        source(factory="tests.model.test_export:tied", arguments={}, variance="log_var"),
    )
    weights = safetensors.torch.load_file(tmp_path / "b" / MODEL)
    assert (weights["head.weight"] == weights["spread.weight"]).all()
    assert bundle.encoder.encode(pictures())[0].shape == (6, 3)


def tied():
    model = elsewhere.Pair()
    model.spread.weight = model.head.weight
    return model


# ---- what is refused


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Full", r"a torch\.distributions\.multivariate_normal\.MultivariateNormal: its covari"),
        ("Flow", r"TransformedDistribution: its posterior is a Gaussian sent through a normali"),
        ("Laplace", r"Laplace: it is not a diagonal Gaussian\. Expected a Normal, or an Indep"),
        (
            "Sphere",
            r"tests\.support\.elsewhere\.VonMisesFisher: its posterior is a von Mises–Fisher",
        ),
        ("Concentrated", r"gives a log_concentration: its posterior is a von Mises–Fisher"),
        ("Noisy", r"gives another posterior for the same picture when it is asked again"),
        ("SlightlyNoisy", r"gives another posterior for the same picture when it is asked again"),
        ("Neighbourly", r"gives a picture another posterior when others are encoded beside"),
        ("Isotropic", r"tensor of shape \(4, 1\); expected the same shape\. One sigma for all"),
        ("Point", r"tensor of shape \(4, 3\): where are mu and the variance in it\? .*first-half"),
        ("KerasStyle", r"a list of 3: .*: which are mu and the variance\? .*--mu-output 0"),
        ("Odd", r"decoder gives a tensor of shape \(2, 768\); expected \(2, 3, 16, 16\)"),
    ],
)
def test_models_that_are_refused(kind, message):
    with pytest.raises(BundleError, match=message):
        Probe(source(kind, variance="log_var"))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"factory": "os.system"}, "factory 'os.system' is no factory; expected module:callable."),
        ({"factory": "a:b:c"}, "factory 'a:b:c' is no factory; expected module:callable."),
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


# ---- trust


def test_a_bundle_of_this_kind_needs_trust(tmp_path, monkeypatch):
    export_bundle(tmp_path / "bundle", source(variance="log_var"))
    monkeypatch.setattr(elsewhere, "make", None)  # not even looked at
    with pytest.raises(
        BundleError, match=r"own, tests\.support\.elsewhere:make; .*say so: --trust-model"
    ):
        load_bundle(tmp_path / "bundle")


def test_the_manifest_says_how_the_model_is_called(tmp_path):
    bundle = export_bundle(tmp_path / "bundle", source(variance="log_var"))
    content = json.loads((tmp_path / "bundle" / MANIFEST).read_text())
    assert content["architecture"] == "tests.support.elsewhere:make"
    assert content["arguments"] == {"kind": "Pair"}
    assert Interface.from_dict(content["interface"]) == bundle.manifest.interface
    assert sorted(p.name for p in (tmp_path / "bundle").iterdir()) == [MANIFEST, MODEL]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_shape": [4]}, "latent_dim is 3, but interface.latent_shape [4]; expected its"),
        ({"latent_shape": []}, "interface.latent_shape is (), which is not a value"),
        ({"latent_shape": [3, 1, 1]}, "interface.latent_shape is (3, 1, 1), which is not a value"),
        ({"latent_shape": "3"}, "interface.latent_shape is '3', which is not a value"),
        ({"latent_layout": "nchw"}, "interface.latent_layout is 'nchw', which is not a value"),
        ({"clamp": [0.0]}, "interface.clamp is (0.0,), which is not a value"),
        ({"clamp": ["a", "b"]}, "interface.clamp is ('a', 'b'), which is not a value"),
        ({"scale": -1.0}, "interface.scale is -1.0, which is not a value"),
        ({"scale": "1"}, "interface.scale is '1', which is not a value"),
        ({"shift": None}, "interface.shift is None, which is not a value"),
        ({"activation": "relu"}, "interface.activation is 'relu', which is not a value"),
        ({"channels_last": 1}, "interface.channels_last is 1, which is not a value"),
        ({"extra": 1}, "interface has the keys"),
    ],
)
def test_interfaces_that_cannot_be(tmp_path, change, message):
    export_bundle(tmp_path / "bundle", source(variance="log_var"))
    content = json.loads((tmp_path / "bundle" / MANIFEST).read_text())
    content["interface"].update(change)
    (tmp_path / "bundle" / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(BundleError, match=re.escape(message)):
        load_bundle(tmp_path / "bundle", trust_model=True)


def test_an_interface_is_for_factories_alone(tmp_path):
    export_bundle(tmp_path / "bundle", source(variance="log_var"))
    content = json.loads((tmp_path / "bundle" / MANIFEST).read_text())
    (tmp_path / "bundle" / MANIFEST).write_text(json.dumps({**content, "interface": None}))
    with pytest.raises(BundleError, match="and interface is null; expected an interface for a fac"):
        load_bundle(tmp_path / "bundle", trust_model=True)


def test_paths():
    class Thing:
        part = {"a": [1, {"b": 5}]}  # noqa: RUF012

    assert pick(Thing(), "part.a.1.b") == 5
    thing = Thing()
    assert pick(thing, "") is thing
    with pytest.raises(BundleError, match=r"^a Thing has no 'part\.a\.2'; name another place"):
        pick(thing, "part.a.2")
