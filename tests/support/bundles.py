"""Small bundles with random weights, and ways to damage them."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import safetensors.torch
import torch

from vaeudf.errors import BundleError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import load_bundle
from vaeudf.model.conv_vae import conv_vae
from vaeudf.model.manifest import DECODER, ENCODER, MANIFEST, Manifest

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


def networks_that_state(values):
    """An encoder that gives mu = 7, 8, 9 and these values for every picture."""
    networks = new_networks()
    with torch.no_grad():
        networks.encoder.head.weight.zero_()
        networks.encoder.head.bias[:] = torch.tensor([7.0, 8.0, 9.0, *values])
    return networks


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
