"""A model on disk: what it gives back, and every way in which its folder can be wrong."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import vaeudf.model.bundle
from tests.support.bundles import (
    MANY,
    SIZES,
    edit_manifest,
    networks_that_state,
    new_manifest,
    new_networks,
    pictures,
    refusal,
)
from vaeudf.errors import BundleError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import NetworkFiles, load_bundle, load_encoder, save_bundle
from vaeudf.model.manifest import DECODER, ENCODER, MANIFEST
from vaeudf.model.networks import Networks


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
        "bundle.json, and encoder.safetensors and decoder.safetensors, or model.safetensors, or "
        "encoder.onnx."
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


def test_a_worker_checks_as_well(folder):
    manifest, weights, _ = load_bundle(folder).encoder_files
    with pytest.raises(BundleError, match="is not a safetensors file"):
        load_encoder(NetworkFiles(manifest, weights[:100]))
    with pytest.raises(BundleError, match="is not JSON"):
        load_encoder(NetworkFiles(b"", weights))


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
    assert read and {os.path.dirname(path) for path in read} == {str(folder)}


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
