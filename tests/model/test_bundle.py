"""A model on disk: what it gives back, and every way in which it can be wrong."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import vaeudf.model.bundle
from vaeudf.errors import BundleError, InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.architectures import build
from vaeudf.model.bundle import NetworkFiles, load_bundle, load_encoder, save_bundle
from vaeudf.model.conv_vae import conv_vae
from vaeudf.model.manifest import DECODER, ENCODER, MANIFEST, Manifest
from vaeudf.model.networks import Networks

SIZES = {"height": 16, "width": 32, "channels": 3, "latent_dim": 3, "base_channels": 2}
MANY = MANIFEST, ENCODER, DECODER


def new_networks(seed=0, **sizes):
    torch.manual_seed(seed)
    return conv_vae(**{**SIZES, **sizes})


def new_manifest(**changes):
    values = {
        "architecture": "conv_vae",
        "arguments": dict(SIZES),
        "latent_dim": 3,
        "image": ImageSpec(16, 32),
        "z_range": [[-1.0, -2.0, -3.0], [1.0, 2.0, 3.5]],
        "training": {"epochs": 2, "where": "Köln"},
    }
    return Manifest(**{**values, **changes})


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    save_bundle(path, new_networks(), new_manifest())
    return path


def pictures(count=5, channels=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 16, 32, channels), dtype=np.uint8)


def edit_manifest(folder, **changes):
    content = {**json.loads((folder / MANIFEST).read_text()), **changes}
    (folder / MANIFEST).write_text(json.dumps(content))


def edit_weights(folder, name, change):
    """Change weights and make the checksum right again."""
    weights = safetensors.torch.load((folder / name).read_bytes())
    change(weights)
    write_weights(folder, name, safetensors.torch.save(weights))


def write_weights(folder, name, data):
    (folder / name).write_bytes(data)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    edit_manifest(folder, files={**files, name: hashlib.sha256(data).hexdigest()})


def refusal(folder):
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    return str(caught.value)


# ---- round trip


def test_what_is_saved_is_what_is_loaded(folder):
    networks, manifest = new_networks(), new_manifest()
    bundle = load_bundle(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(MANY)
    assert replace(bundle.manifest, files={}) == manifest
    assert bundle.latent_dim == bundle.encoder.latent_dim == 3
    assert bundle.encoder.spec == ImageSpec(16, 32)
    for saved, loaded in (
        (networks.encoder, bundle.encoder.network),
        (networks.decoder, bundle.decoder),
    ):
        assert {k: v.tolist() for k, v in saved.state_dict().items()} == {
            k: v.tolist() for k, v in loaded.state_dict().items()
        }
        assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


def test_save_returns_what_load_gives(tmp_path):
    saved = save_bundle(tmp_path / "a" / "b" / "model", new_networks(), new_manifest())
    loaded = load_bundle(str(tmp_path / "a" / "b" / "model"))
    assert saved.model_id == loaded.model_id and saved.manifest == loaded.manifest
    assert (saved.encoder.encode(pictures())[0] == loaded.encoder.encode(pictures())[0]).all()


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


def test_loading_leaves_the_random_numbers_alone(folder):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_bundle(folder)
    assert (torch.rand(4) == expected).all()


def test_no_z_range_and_grey(tmp_path):
    manifest = new_manifest(
        z_range=None, image=ImageSpec(16, 32, 1), arguments={**SIZES, "channels": 1}
    )
    bundle = save_bundle(tmp_path / "model", new_networks(channels=1), manifest)
    assert bundle.manifest.z_range is None
    assert bundle.encoder.encode(pictures(channels=1))[0].shape == (5, 3)
    assert bundle.decode(np.zeros((2, 3))).shape == (2, 16, 32, 1)


# ---- model_id


def test_model_id_is_the_checksum_of_the_manifest(folder):
    expected = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    assert load_bundle(folder).model_id == expected == load_bundle(folder).model_id


def test_model_id_tells_models_apart(tmp_path):
    def model_id(networks, manifest):
        return save_bundle(tmp_path / "model", networks, manifest).model_id

    first = model_id(new_networks(), new_manifest())
    assert model_id(new_networks(), new_manifest()) == first
    other = new_networks()
    with torch.no_grad():
        other.encoder.head.bias[0] += 1e-6
    changed = [
        model_id(other, new_manifest()),
        model_id(new_networks(seed=1), new_manifest()),
        model_id(new_networks(), new_manifest(variance="sigma")),
        model_id(new_networks(), new_manifest(image=ImageSpec(16, 32, resize="crop"))),
    ]
    assert len({first, *changed}) == 5


# ---- encoding and decoding


def test_encode_gives_the_networks_mu_and_log_var(folder):
    images = pictures()
    mu, log_var = load_bundle(folder).encoder.encode(images)
    assert mu.shape == log_var.shape == (5, 3) and mu.dtype == log_var.dtype == np.float32
    with torch.no_grad():
        scaled = torch.from_numpy((images / np.float32(255)).transpose(0, 3, 1, 2).copy())
        expected = new_networks().encoder(scaled.float())
    np.testing.assert_allclose(mu, expected[0].numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(log_var, expected[1].numpy(), rtol=1e-4, atol=1e-6)
    alone = [load_bundle(folder).encoder.encode(images[i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(np.concatenate(alone), mu, rtol=1e-4, atol=1e-6)


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


STATED = [0.25, 1.0, 3.0]
READINGS = {
    "log_var": STATED,
    "log_sigma": [0.5, 2.0, 6.0],
    "sigma": [2 * math.log(0.25), 0.0, 2 * math.log(3)],
    "variance": [math.log(0.25), 0.0, math.log(3)],
}


def networks_that_state(values):
    """An encoder that gives mu = 7, 8, 9 and these values for every picture."""
    networks = new_networks()
    with torch.no_grad():
        networks.encoder.head.weight.zero_()
        networks.encoder.head.bias[:] = torch.tensor([7.0, 8.0, 9.0, *values])
    return networks


@pytest.mark.parametrize("variance", READINGS)
def test_every_reading_of_the_variance(tmp_path, variance):
    networks = networks_that_state(STATED)
    bundle = save_bundle(tmp_path / "model", networks, new_manifest(variance=variance))
    mu, log_var = bundle.encoder.encode(pictures(2))
    assert mu.tolist() == [[7, 8, 9]] * 2
    np.testing.assert_allclose(log_var, [READINGS[variance]] * 2, rtol=1e-6, atol=1e-7)
    assert log_var.dtype == np.float32


@pytest.mark.parametrize("variance", ["sigma", "variance"])
def test_a_sigma_that_is_not_positive_is_not_finite(tmp_path, variance):
    networks = networks_that_state([0.0, -1.0, 1.0])
    bundle = save_bundle(tmp_path / "model", networks, new_manifest(variance=variance))
    log_var = bundle.encoder.encode(pictures(1))[1]
    assert np.isfinite(log_var).tolist() == [[False, False, True]]


def test_a_worker_rebuilds_the_same_encoder(folder):
    bundle = load_bundle(folder)
    encoder = load_encoder(bundle.encoder_files)
    assert encoder.spec == bundle.encoder.spec and encoder.latent_dim == 3
    for found, expected in zip(
        encoder.encode(pictures()), bundle.encoder.encode(pictures()), strict=True
    ):
        assert (found == expected).all()
    sigma = load_encoder(
        NetworkFiles(new_manifest_json(folder, variance="sigma"), bundle.encoder_files.weights)
    )
    assert sigma.variance == "sigma" and not sigma.training


def new_manifest_json(folder, **changes):
    edit_manifest(folder, **changes)
    return (folder / MANIFEST).read_bytes()


# ---- a folder that is no bundle


def test_not_a_folder(tmp_path, folder):
    for path in (tmp_path / "none", folder / MANIFEST):
        assert refusal(path) == (
            f"{path} is not a folder; expected a model bundle (from train_vae or export_model)."
        )


@pytest.mark.parametrize("name", MANY)
def test_a_file_is_missing(folder, name):
    (folder / name).unlink()
    assert refusal(folder) == (
        f"{folder} has no readable {name} (No such file or directory); a bundle holds "
        "bundle.json, and encoder.safetensors and decoder.safetensors, or model.safetensors."
    )


def test_a_folder_in_the_place_of_a_file(folder):
    (folder / DECODER).unlink()
    (folder / DECODER).mkdir()
    assert f"{folder} has no readable {DECODER} (Is a directory)" in refusal(folder)


@pytest.mark.parametrize("name", [ENCODER, DECODER])
def test_wrong_checksum(folder, name):
    data = (folder / name).read_bytes()
    right = hashlib.sha256(data).hexdigest()
    (folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert refusal(folder) == (
        f"{folder / name} has sha256 {found[:12]}…, but bundle.json says {right[:12]}…: the file "
        "is damaged or from another model. Copy the bundle again, or make it anew."
    )


# ---- a manifest that is none


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


@pytest.mark.parametrize(
    "name",
    ["resnet", "", "os.system", "vaeudf.model.conv_vae.conv_vae", "../conv_vae", "__class__"],
)
def test_unknown_architectures(folder, name):
    edit_manifest(folder, architecture=name)
    assert refusal(folder) == f"architecture {name!r} is unknown; expected one of ['conv_vae']."


@pytest.mark.parametrize("value", [16.0, "16", True, None, [16], {"a": 1}])
def test_arguments_that_are_no_whole_numbers(folder, value):
    arguments = {**SIZES, "base_channels": value}
    edit_manifest(folder, arguments=arguments)
    assert refusal(folder) == f"arguments of conv_vae must be whole numbers, found {arguments}."


@pytest.mark.parametrize(
    ("arguments", "why"),
    [({**SIZES, "depth": 3}, "depth"), ({"height": 16, "width": 32}, "channels"), ({}, "height")],
)
def test_arguments_that_the_architecture_does_not_have(folder, arguments, why):
    edit_manifest(folder, arguments=arguments)
    found = refusal(folder)
    assert found.startswith("architecture 'conv_vae' refused its arguments: ") and why in found


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"height": 0}, "conv_vae cannot take images of 0 × 32 pixels; expected multiples of 16"),
        ({"height": 24}, "conv_vae cannot take images of 24 × 32 pixels"),
        ({"width": -16}, "conv_vae cannot take images of 16 × -16 pixels"),
        ({"width": 8192}, "16 × 8192 pixels; expected multiples of 16, from 16 to 4096."),
        ({"height": 10**30}, f"conv_vae cannot take images of {10**30} × 32 pixels"),
        ({"channels": 4}, "conv_vae cannot take 4 channels; expected 1 or 3."),
        ({"latent_dim": 0}, "conv_vae got latent_dim 0 and base_channels 2; expected 1 to 65536"),
        ({"latent_dim": 65537}, "conv_vae got latent_dim 65537"),
        ({"base_channels": 0}, "base_channels 0; expected 1 to 65536 and 1 to 1024."),
        ({"base_channels": 1025}, "base_channels 1025; expected 1 to 65536 and 1 to 1024."),
    ],
)
def test_sizes_that_conv_vae_does_not_have(sizes, message):
    with pytest.raises(BundleError, match=re.escape(message)):
        build("conv_vae", {**SIZES, **sizes})


def test_sizes_beyond_any_memory_are_refused_before_they_are_allocated(folder):
    huge = {"height": 4096, "width": 4096, "latent_dim": 65536, "base_channels": 1024}
    edit_manifest(
        folder,
        arguments={**SIZES, **huge},
        latent_dim=65536,
        z_range=None,
        image=ImageSpec(4096, 4096).to_dict(),
    )
    assert refusal(folder) == (
        "bundle.json asks for a model of 262,147 GiB in encoder.safetensors; at most 4 GiB are "
        "loaded."
    )


# ---- weights that do not fit


def drop(weights):
    del weights["head.bias"]


def add(weights):
    weights["extra"] = torch.zeros(2)


def rename(weights):
    weights["head.offset"] = weights.pop("head.bias")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (drop, ["head.bias"]),
        (add, ["extra"]),
        (rename, ["head.bias", "head.offset"]),
    ],
)
def test_weights_that_are_missing_or_surplus(folder, change, names):
    edit_weights(folder, ENCODER, change)
    assert refusal(folder) == (
        "encoder.safetensors does not fit the architecture: these weights are missing or "
        f"surplus: {names}."
    )


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (torch.zeros(7), "(7,) torch.float32"),
        (torch.zeros(1, 6), "(1, 6) torch.float32"),
        (torch.zeros(6, dtype=torch.float64), "(6,) torch.float64"),
        (torch.zeros(6, dtype=torch.float16), "(6,) torch.float16"),
        (torch.zeros(6, dtype=torch.int32), "(6,) torch.int32"),
        (torch.zeros(6, dtype=torch.float8_e4m3fn), "(6,) torch.float8_e4m3fn"),
    ],
)
def test_weights_of_another_shape_or_type(folder, value, found):
    edit_weights(folder, ENCODER, lambda weights: weights.update({"head.bias": value}))
    assert refusal(folder) == (
        f"encoder.safetensors: head.bias is {found}; the architecture expects (6,) torch.float32."
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite(folder, value):
    edit_weights(folder, DECODER, lambda weights: weights["stem.weight"][1].fill_(value))
    assert refusal(folder) == ("decoder.safetensors: stem.weight has NaN or infinite weights.")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not safetensors at all",
        (2**62).to_bytes(8, "little") + b"{}",
        (8).to_bytes(8, "little") + b"{'a': 1}",
        b"\x80\x04\x95K.",
    ],
)
@pytest.mark.parametrize("name", [ENCODER, DECODER])
def test_files_that_are_no_safetensors(folder, name, data):
    write_weights(folder, name, data)
    assert refusal(folder).startswith(f"{name} is not a safetensors file: ")


def test_a_truncated_file_with_the_right_checksum(folder):
    write_weights(folder, ENCODER, (folder / ENCODER).read_bytes()[:-10])
    assert refusal(folder).startswith("encoder.safetensors is not a safetensors file: ")


def test_the_weights_of_another_architecture(folder):
    write_weights(folder, ENCODER, (folder / DECODER).read_bytes())
    assert "does not fit the architecture" in refusal(folder)


def test_a_worker_checks_as_well(folder):
    manifest, weights, _ = load_bundle(folder).encoder_files
    with pytest.raises(BundleError, match="is not a safetensors file"):
        load_encoder(NetworkFiles(manifest, weights[:100]))
    with pytest.raises(BundleError, match="is not JSON"):
        load_encoder(NetworkFiles(b"", weights))


# ---- paths


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/etc/passwd", "sub/encoder.safetensors"]
)
def test_a_manifest_cannot_name_files_elsewhere(folder, monkeypatch, name):
    read = []

    def spy(path, *flags):
        read.append(path)
        return original(path, *flags)

    original = os.open
    monkeypatch.setattr(os, "open", spy)
    for files in ({name: "0", DECODER: "0"}, {ENCODER: name, DECODER: name}):
        edit_manifest(folder, files=files, architecture=name)
        refusal(folder)
    assert read and {path.parent for path in read} == {folder}


# ---- saving


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_older_bundle_is_replaced_whole(folder):
    (folder / "stray.txt").write_text("old")
    new = save_bundle(folder, new_networks(seed=1), new_manifest())
    assert load_bundle(folder).model_id == new.model_id
    assert names(folder) == sorted(MANY) and names(folder.parent) == ["model"]


def fail_to_write(monkeypatch):
    original = Path.write_bytes

    def write_bytes(path, data):
        if path.name == DECODER:
            raise OSError(28, "No space left on device")
        return original(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


def fail_to_load(monkeypatch):
    def load(path, **trust):
        raise KeyboardInterrupt

    monkeypatch.setattr(vaeudf.model.bundle, "load_bundle", load)


@pytest.mark.parametrize(
    ("fail", "error"), [(fail_to_write, OSError), (fail_to_load, KeyboardInterrupt)]
)
def test_a_failure_leaves_the_older_bundle(folder, monkeypatch, fail, error):
    model_id = load_bundle(folder).model_id
    with monkeypatch.context() as patched:
        fail(patched)
        with pytest.raises(error):
            save_bundle(folder, new_networks(seed=1), new_manifest())
        with pytest.raises(error):
            save_bundle(folder.parent / "other", new_networks(seed=1), new_manifest())
    assert load_bundle(folder).model_id == model_id
    assert names(folder.parent) == ["model"] and names(folder) == sorted(MANY)


def test_networks_that_do_not_fit_their_manifest_are_not_saved(folder):
    model_id = load_bundle(folder).model_id
    with pytest.raises(BundleError, match="the architecture expects"):
        save_bundle(folder, new_networks(base_channels=3), new_manifest())
    with pytest.raises(BundleError, match="variance is 'std'"):
        save_bundle(folder, new_networks(), new_manifest(variance="std"))
    swapped = Networks(new_networks().decoder, new_networks().encoder)
    with pytest.raises(BundleError, match="does not fit the architecture"):
        save_bundle(folder, swapped, new_manifest())
    broken = networks_that_state([math.nan, 0, 0])
    with pytest.raises(BundleError, match=r"head\.bias has NaN"):
        save_bundle(folder, broken, new_manifest())
    assert load_bundle(folder).model_id == model_id and names(folder.parent) == ["model"]


def test_a_bundle_says_what_it_is_in_a_few_lines(bundle):
    assert bundle.model_id in repr(bundle) and len(repr(bundle)) < 2000
