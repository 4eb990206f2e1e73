"""Weights, and those that do not fit the network that a manifest names."""

from __future__ import annotations

import math

import pytest
import torch

from tests.support.bundles import edit_weights, refusal, write_weights
from vaeudf.errors import BundleError
from vaeudf.model.manifest import DECODER, ENCODER
from vaeudf.model.weights import (
    check_tensors,
    different_names,
    load_weights,
    size_of,
    to_safetensors,
)


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


def test_names_that_differ_are_told_apart():
    network = torch.nn.Linear(2, 2)
    assert different_names(network.state_dict(), network) == ([], [])
    weights = {"bias": torch.ones(2), "b": torch.ones(1), "a": torch.ones(1)}
    assert different_names(weights, network) == (["weight"], ["a", "b"])


def test_what_is_written_is_what_is_loaded():
    network, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    load_weights(other, to_safetensors(network), "w.safetensors")
    for name, tensor in network.state_dict().items():
        assert (other.state_dict()[name] == tensor).all()
    assert size_of(network) == 4 * (6 + 2)


def test_types_may_differ_where_that_is_allowed():
    network = torch.nn.Linear(2, 2)
    halves = {name: tensor.half() for name, tensor in network.state_dict().items()}
    check_tensors(halves, network, name="w.pt", owner="model", same_types=False)
    with pytest.raises(BundleError, match=r"w\.pt: weight is \(2, 2\) torch\.float16; the model"):
        check_tensors(halves, network, name="w.pt", owner="model")
    halves["weight"] = torch.ones(3)
    with pytest.raises(BundleError, match=r"is \(3,\); the model expects \(2, 2\)\. Well\?$"):
        check_tensors(
            halves, network, name="w.pt", owner="model", same_types=False, advice=" Well?"
        )
