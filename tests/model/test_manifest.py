"""bundle.json: what it says, and every way in which it can be wrong."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.bundles import edit_manifest, new_manifest, new_networks, refusal
from vaeudf.errors import BundleError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import load_bundle, save_bundle
from vaeudf.model.interface import Interface
from vaeudf.model.likelihood import MIN_VARIANCE, BernoulliPixels, GaussianPixels
from vaeudf.model.manifest import DECODER, ENCODER, MANIFEST, MODEL, Manifest

BERNOULLI = BernoulliPixels()
WRITTEN_BEFORE = Path(__file__).parents[1] / "fixtures" / "written_by_0_1_0"


def test_the_manifest_is_plain_json_with_checksums(folder):
    content = json.loads((folder / MANIFEST).read_text())
    assert (
        content["format"] == 2
        and content["interface"] is None
        and content["image"] == ImageSpec(16, 32).to_dict()
    )
    for name in (ENCODER, DECODER):
        assert content["files"][name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert (
        Manifest.from_json((folder / MANIFEST).read_bytes()).to_json()
        == (folder / MANIFEST).read_bytes()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "bundle.json is not JSON: "),
        (b"{", "bundle.json is not JSON: "),
        (b"\xff\xfe\xff", "bundle.json is not JSON: "),
        (b"[" * 100_000, "bundle.json is not JSON: "),
        (b"[]", "bundle.json has format 'list'; this version reads 1 to 3."),
        (b"3", "bundle.json has format 'int'; this version reads 1 to 3."),
        (b"{}", "bundle.json has format None; this version reads 1 to 3."),
        (b'{"format": 4}', "bundle.json has format 4; this version reads 1 to 3."),
        (b'{"format": "1"}', "bundle.json has format '1'; this version reads 1 to 3."),
    ],
)
def test_not_a_manifest(folder, text, message):
    (folder / MANIFEST).write_bytes(text)
    assert refusal(folder).startswith(message)


def test_keys_that_are_missing_or_surplus(folder):
    content = json.loads((folder / MANIFEST).read_text())
    keys = sorted(set(content) - {"format"})
    # A likelihood is a key of format 3, which this manifest does not have.
    edit_manifest(folder, likelihood={"kind": "bernoulli"})
    assert refusal(folder) == (
        f"bundle.json has the keys {sorted([*keys, 'likelihood'])}; expected {keys}."
    )
    (folder / MANIFEST).write_text(json.dumps(content))
    edit_manifest(folder, colour="red")
    assert refusal(folder) == (
        f"bundle.json has the keys {sorted([*keys, 'colour'])}; expected {keys}."
    )
    del content["variance"]
    (folder / MANIFEST).write_text(json.dumps(content))
    assert "expected" in refusal(folder) and "'variance'" in refusal(folder).split("expected")[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("architecture", ["conv_vae"]),
        ("arguments", [1, 2]),
        ("latent_dim", 0),
        ("latent_dim", True),
        ("latent_dim", 3.0),
        ("latent_dim", "3"),
        ("variance", "std"),
        ("variance", None),
        ("variance", ["sigma"]),
        ("z_range", [[0, 0], [1, 1]]),
        ("z_range", [[0, 0, 0], [1, 1]]),
        ("z_range", [[0, 0, 0], [1, 1, math.nan]]),
        ("z_range", "wide"),
        ("z_range", [["0", "0", "0"], ["1", "1", "1"]]),
        ("z_range", [[False] * 3, [True] * 3]),
        ("z_range", [[0, 0, 0], [1, 1, 10**400]]),
        ("z_range", {}),
        ("training", None),
        ("files", {}),
        ("files", {ENCODER: "0"}),
        ("files", {ENCODER: "0", DECODER: "0", "extra.py": "0"}),
        ("files", {ENCODER: 5, DECODER: "0"}),
        ("files", {ENCODER: "0", DECODER: None}),
        ("files", [ENCODER, DECODER]),
    ],
)
def test_values_that_a_key_cannot_have(folder, key, value):
    edit_manifest(folder, **{key: value})
    found = refusal(folder)
    assert found.startswith(f"bundle.json: {key} is {value!r}, which is not a value that this key")
    assert "see docs/models.md" in found


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"height": 16}, "bundle.json: image: the image spec lacks ['width']"),
        ({"height": 16, "width": 32, "channels": 4}, "ImageSpec.channels is 4; expected 1 or 3."),
        ({"height": 16, "width": 10**9}, "ImageSpec.width is 1000000000; expected an integer"),
        ("16x32", "bundle.json: image: the image spec is a str; expected a dictionary."),
        (None, "bundle.json: image: the image spec is a NoneType; expected a dictionary."),
    ],
)
def test_images_that_no_model_takes(folder, image, message):
    edit_manifest(folder, image=image)
    assert message in refusal(folder)


@pytest.mark.parametrize(
    ("change", "clash"),
    [
        ({"latent_dim": 5, "z_range": None}, ("latent_dim", 3, 5)),
        ({"image": ImageSpec(32, 32).to_dict()}, ("height", 16, 32)),
        ({"image": ImageSpec(16, 16).to_dict()}, ("width", 32, 16)),
        ({"image": ImageSpec(16, 32, 1).to_dict()}, ("channels", 3, 1)),
    ],
)
def test_a_manifest_that_contradicts_its_arguments(folder, change, clash):
    edit_manifest(folder, **change)
    name, argument, stated = clash
    assert refusal(folder) == (
        f"bundle.json: the argument {name} of conv_vae is {argument}, but the manifest says "
        f"{stated}; expected the same."
    )


def test_format_1_has_no_keys_of_models_made_elsewhere(folder):
    content = json.loads((folder / MANIFEST).read_text())
    for key in ("interface", "test_vector"):
        del content[key]
    (folder / MANIFEST).write_text(json.dumps({**content, "format": 1}))
    manifest = load_bundle(folder).manifest
    assert manifest.interface is None and manifest.test_vector is None
    assert json.loads(manifest.to_json())["format"] == 2


# ---- likelihood


@pytest.mark.parametrize("likelihood", [GaussianPixels(0.0123), GaussianPixels(1), BERNOULLI])
def test_a_likelihood_makes_it_format_3(folder, tmp_path, likelihood):
    plain = load_bundle(folder)
    found = save_bundle(tmp_path / "other", new_networks(), new_manifest(likelihood=likelihood))
    content = json.loads((tmp_path / "other" / MANIFEST).read_text())
    assert content.pop("format") == 3
    stated = content.pop("likelihood")
    assert stated == {**vars(likelihood), "kind": likelihood.kind}
    without = json.loads((folder / MANIFEST).read_text())
    assert {**content, "format": 2} == without and "likelihood" not in without
    assert found.manifest.likelihood == found.likelihood == likelihood
    assert found.model_id != plain.model_id
    text = (tmp_path / "other" / MANIFEST).read_bytes()
    assert Manifest.from_json(text).to_json() == text


@pytest.mark.parametrize("name", ["model", "own_model"])
def test_a_manifest_without_a_likelihood_is_written_as_before(name):
    """So the model keeps its id; these were written before there was any likelihood."""
    text = (WRITTEN_BEFORE / name / MANIFEST).read_bytes()
    manifest = Manifest.from_json(text)
    assert manifest.likelihood is None and manifest.to_json() == text


@pytest.mark.parametrize(
    ("likelihood", "message"),
    [
        (None, "likelihood is a NoneType; expected a dictionary with the key kind."),
        ("bernoulli", "likelihood is a str; expected a dictionary with the key kind."),
        ({}, "likelihood.kind is None; expected gaussian or bernoulli."),
        ({"kind": "laplace"}, "likelihood.kind is 'laplace'; expected gaussian or bernoulli."),
        ({"kind": ["a"]}, "likelihood.kind is ['a']; expected gaussian or bernoulli."),
        (
            {"kind": "gaussian"},
            "a likelihood of kind gaussian has the keys ['kind']; expected ['kind', 'variance'].",
        ),
        (
            {"kind": "bernoulli", "variance": 1},
            "a likelihood of kind bernoulli has the keys ['kind', 'variance']; expected ['kind'].",
        ),
        *(
            (
                {"kind": "gaussian", "variance": variance},
                f"the variance of a gaussian likelihood is {variance!r}; expected a finite number "
                "above 0, of levels in [0, 1], such as 0.0123.",
            )
            for variance in (0, -0.1, math.nan, math.inf, True, "0.1", None, [0.1], 10**400)
        ),
    ],
)
def test_likelihoods_that_are_none(folder, likelihood, message):
    edit_manifest(folder, format=3, likelihood=likelihood)
    assert refusal(folder) == f"bundle.json: {message}"


def test_a_likelihood_needs_a_decoder():
    interface = Interface("encode", "0", "1", None, "", (3,))
    manifest = new_manifest(
        architecture="my_vae:MyVae", interface=interface, files={MODEL: "0"}, likelihood=BERNOULLI
    )
    message = "likelihood is bernoulli, but the model has no decoder; expected a decoder, or no"
    with pytest.raises(BundleError, match=message):
        manifest.check()
    replace(manifest, likelihood=None).check()
    replace(manifest, interface=replace(interface, decoder="decode")).check()


def test_something_else_as_a_likelihood_is_not_written(tmp_path):
    with pytest.raises(BundleError, match=r"^bundle\.json: likelihood is 'bernoulli', which is"):
        save_bundle(tmp_path / "model", new_networks(), new_manifest(likelihood="bernoulli"))


@pytest.mark.parametrize(
    ("training", "changes", "variance"),
    [
        ({"held_out": {"squared_error": 0.0146}}, {}, 0.0146),
        ({"held_out": {"squared_error": 0.0}}, {}, MIN_VARIANCE),
        ({"held_out": {"squared_error": 0.0146}}, {"likelihood": BERNOULLI}, BERNOULLI),
        ({"held_out": {"squared_error": "0.0146"}}, {}, None),
        ({"held_out": {"squared_error": True}}, {}, None),
        ({"held_out": {"squared_error": math.nan}}, {}, None),
        ({"held_out": {}}, {}, None),
        ({"held_out": [0.0146]}, {}, None),
        ({}, {}, None),
        (
            {"held_out": {"squared_error": 0.0146}},
            {"image": ImageSpec(16, 32, scaling="minus_one_one")},
            None,
        ),
    ],
)
def test_the_likelihood_of_a_model_that_train_vae_made_before(folder, training, changes, variance):
    bundle = load_bundle(folder)
    found = replace(bundle, manifest=new_manifest(training=training, **changes)).likelihood
    assert found == (GaussianPixels(variance) if isinstance(variance, float) else variance)


def test_the_training_facts_of_another_program_are_no_likelihood(folder):
    manifest = new_manifest(
        architecture="my_vae:MyVae",
        interface=Interface("encode", "0", "1", "decode", "", (3,)),
        training={"held_out": {"squared_error": 0.0146}},
    )
    assert replace(load_bundle(folder), manifest=manifest).likelihood is None


@pytest.mark.parametrize(
    ("architecture", "files"),
    [("conv_vae", (ENCODER, DECODER)), ("my_vae:MyVae", (MODEL,))],
)
def test_the_files_of_weights(architecture, files):
    assert new_manifest(architecture=architecture).weight_files == files


def test_what_cannot_be_is_not_written(tmp_path):
    for change in ({"latent_dim": 0}, {"z_range": [[0.0] * 3, [math.nan] * 3]}):
        with pytest.raises(BundleError, match=r"which is not a value that this key can have"):
            save_bundle(tmp_path / "model", new_networks(), new_manifest(**change))
    assert not (tmp_path / "model").exists()
