"""bundle.json: what it says, and every way in which it can be wrong."""

from __future__ import annotations

import hashlib
import json
import math

import pytest

from tests.support.bundles import edit_manifest, new_manifest, new_networks, refusal
from vaeudf.errors import BundleError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import load_bundle, save_bundle
from vaeudf.model.manifest import DECODER, ENCODER, MANIFEST, MODEL, Manifest


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
        (b"[]", "bundle.json has format 'list'; this version reads 1 to 2."),
        (b"3", "bundle.json has format 'int'; this version reads 1 to 2."),
        (b"{}", "bundle.json has format None; this version reads 1 to 2."),
        (b'{"format": 3}', "bundle.json has format 3; this version reads 1 to 2."),
        (b'{"format": "1"}', "bundle.json has format '1'; this version reads 1 to 2."),
    ],
)
def test_not_a_manifest(folder, text, message):
    (folder / MANIFEST).write_bytes(text)
    assert refusal(folder).startswith(message)


def test_keys_that_are_missing_or_surplus(folder):
    content = json.loads((folder / MANIFEST).read_text())
    keys = sorted(set(content) - {"format"})
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
