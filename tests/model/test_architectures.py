"""Architectures that are unknown, or cannot be built as a manifest asks."""

from __future__ import annotations

import re

import pytest

from tests.support.bundles import (
    SIZES,
    edit_manifest,
    refusal,
)
from vaeudf.errors import BundleError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.architectures import build


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
