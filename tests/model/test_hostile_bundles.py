"""Whatever a bundle from a stranger holds, loading it runs nothing and ends with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REASONS = {
    "pickle as bundle.json": "is not JSON",
    "torch zip as bundle.json": "is not JSON",
    "pickle as encoder.safetensors": "is not a safetensors file",
    "torch zip as encoder.safetensors": "is not a safetensors file",
    "pickle as decoder.safetensors": "is not a safetensors file",
    "torch zip as decoder.safetensors": "is not a safetensors file",
    "pickle in metadata": "does not fit the architecture",
    "factory of the system": "files is {'encoder.safetensors'",
    "factory with arguments": "files is {'encoder.safetensors'",
    "factory and interface": "to load it is to run that code",
    "interface without factory": "expected an interface for a factory",
    "architecture is an expression": "is unknown; expected one of ['conv_vae']",
    "architecture is a dunder": "is unknown; expected one of ['conv_vae']",
    "arguments with code": "but the manifest says 16",
    "python module beside": "no readable bundle.json (No such file",
    "yaml tag": "is not JSON",
    "files name '../good/encoder.safetensors'": "files is {'../good/encoder.safetensors'",
    "files name '/etc/passwd'": "files is {'/etc/passwd'",
    "files name '..\\\\encoder'": "files is {'..\\\\encoder'",
    "files name 'encoder\\x00'": "files is {'encoder\\x00'",
    "bundle.json is a device": "no readable bundle.json (not a file)",
    "bundle.json is a pipe": "no readable bundle.json (not a file)",
    "bundle.json is a folder": "no readable bundle.json (Is a directory)",
    "bundle.json is a dangling link": "no readable bundle.json (No such file",
    "encoder.safetensors is a device": "no readable encoder.safetensors (not a file)",
    "encoder.safetensors is a pipe": "no readable encoder.safetensors (not a file)",
    "encoder.safetensors is a folder": "no readable encoder.safetensors (Is a directory)",
    "encoder.safetensors is a dangling link": "no readable encoder.safetensors (No such file",
    "encoder is a link to a secret": "the file is damaged or from another model",
    "manifest of a terabyte": "bundle.json has 1,099,511,627,776 bytes; 4,194,304 are the most",
    "weights of a terabyte": "encoder.safetensors has 1,099,511,627,776 bytes; 16,",
    "manifest of nested lists": "is not JSON",
    "manifest of a long number": "is not JSON",
    "header says a gigabyte": "header too large",
    "header says 2 to the 64": "header too large",
    "header of 16 megabytes": "does not fit the architecture",
    "latent_dim is absurd": "conv_vae got latent_dim 4611686018427387904",
    "height is absurd": "ImageSpec.height is 2147483648",
    "base_channels is absurd": "conv_vae got latent_dim 3 and base_channels 1000000000",
    "weights for all the memory": "asks for a model of 262,147 GiB",
    "latent_dim is negative": "latent_dim is -3",
    "latent_dim is a bool": "latent_dim is True",
    "z_range is absurd": "z_range is [[1e+308",
    "z_range of 400 digits": "z_range is [[1000",
    "test vector of 400 digits": "test_vector is [[1000",
    "shape overflows": "overflow computing buffer size",
    "offsets behind the end": "invalid offset",
    "negative shape": "is not a safetensors file",
    "tensors that overlap": "invalid offset",
    "names that repeat": "missing or surplus: ['a', ",
    "NaN weights": "head.bias has NaN or infinite weights",
    "infinite weights": "head.bias has NaN or infinite weights",
    "weights of double": "head.bias is (6,) torch.float64",
    "weights of integers": "head.bias is (6,) torch.int32",
    "weights of another shape": "head.bias is (6, 1) torch.float32",
    "weights too many": "missing or surplus: ['extra']",
    "weights too few": "missing or surplus: ['head.bias']",
    "empty weights": "header too small",
    "checksum of others": "but bundle.json says 000000000000…",
    "checksum that is none": "but bundle.json says …",
    "one bit of the weights": "the file is damaged or from another model",
    "one bit of the decoder": "the file is damaged or from another model",
    "truncated weights": "decoder.safetensors is not a safetensors file",
    "variance that is none": "variance is 'logsigma'",
    "format of the future": "has format 99; this version reads 1 to 3",
    "format that is a float": "has format 2.0; this version reads 1 to 3",
    "manifest with NaN": "latent_dim is nan",
    "image of no size": "ImageSpec.height is 0",
    "image keys": "the image spec has unknown keys ['__class__']",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("hostile")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.support.hostile_bundles", str(folder)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_each_is_refused_with_its_reason(report):
    told = report["told"]
    assert set(told) == set(REASONS)
    wrong = {name: text for name, text in told.items() if REASONS[name] not in text}
    assert not wrong


def test_nothing_is_run_and_little_is_read(report):
    assert not report["ran"] and report["events"] == []
    # The largest that is read at all is a file of 16 MB.
    assert report["grown_kb"] < 100_000
