"""Files that are no checkpoints are called by their name, and what the messages advise works."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import re
import runpy
import shlex
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.support.exports import source, trained
from vaeudf.errors import BundleError
from vaeudf.model.export.probe import Probe


def archive(**names):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as content:
        for name, text in names.items():
            content.writestr(name.replace("__", "."), text)
    return data.getvalue()


def numpy_archive():
    data = io.BytesIO()
    np.savez(data, a=np.zeros(3), b=np.ones(2))
    return data.getvalue()


def tar(*names):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as content:
        for name in names:
            content.addfile(tarfile.TarInfo(name), io.BytesIO())
    return data.getvalue()


def saved(**form):
    data = io.BytesIO()
    torch.save(trained("Pair").state_dict(), data, **form)
    return data.getvalue()


def one_bit_flipped(data):
    """torch itself would load other weights of it, without a word."""
    place = data.index(trained("Pair").state_dict()["dec.weight"].numpy().tobytes()) + 100
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.0.1:\x03\x0a\x01a"
DAMAGED = r"is not a checkpoint that can be read: of its [\d,]+ bytes some are missing or damaged"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pt", b"", r"is empty\. Copy or download it again"),
        ("w.safetensors", POINTER, r"is a Git LFS pointer, .* 'git lfs pull' in its repository"),
        ("w.pt", b"\n<!DOCTYPE html><html>", r"is a web page\. A server has answered"),
        ("w.pt", b"<HTML><head>", "is a web page"),
        ("w.pt", b'<?xml version="1.0"?><Error>', "is a web page"),
        ("w.h5", b"\x89HDF\r\n\x1a\n" + bytes(40), r"is HDF5, such as Keras writes\. .*--onnx"),
        (
            "w.keras",
            archive(config__json="{}", model__weights__h5="x"),
            r"model of Keras\. .*--o",
        ),
        ("w.pt", ONNX, r"is an ONNX model\. Name it with --onnx \S*w\.pt in place of --factory"),
        ("w.npz", numpy_archive(), r"is arrays of NumPy\. Save them as tensors: python -c"),
        ("w.npy", b"\x93NUMPY\x01\x00", r"is an array of NumPy"),
        ("w.msgpack", b"\x81\xa6params\x80", r"is weights of Flax\. .*--onnx"),
        ("saved_model.pb", b"\x08\x01\x12\x01x", r"is a model of TensorFlow\. .*tf2onnx"),
        ("w.pt.gz", gzip.compress(saved()), r"is compressed with gzip\. Unpack it"),
        ("w.pkl", zlib.compress(saved()), r"is compressed, as by joblib\. Load it as it was saved"),
        ("w.pkl", lzma.compress(b"x", format=lzma.FORMAT_ALONE), r"is compressed, as by joblib"),
        ("__0_0.distcp", saved(), r"is a part of a checkpoint of torch\.distributed\. Make one"),
        ("w.pt", one_bit_flipped(saved()), DAMAGED),
        ("w.tar", tar("w.pt", "x"), r"is an archive of w\.pt, x and more\. Unpack it, and name"),
        ("w.zip", archive(w__pt="x"), r"is an archive of 1 files, such as w\.pt\. Unpack it"),
        ("config.json", b'{"in_channels": 3}', r"is JSON, such as .* file of weights beside it"),
        ("w.gguf", b"GGUF\x03", "is GGUF"),
        ("w.pt", saved()[:-100], DAMAGED),
        ("w.pt", saved()[:2000], DAMAGED),
        ("w.pt", saved(_use_new_zipfile_serialization=False)[:-500], DAMAGED),
        ("w.pt", b"nothing that anybody knows", DAMAGED),
        ("w.pt", bytes(5000), DAMAGED),
        ("w.mlmodel", b"\x08\x04\x12\x0a" + bytes(20), r"is a model of Core ML\. .*--onnx"),
    ],
)
def test_what_is_no_checkpoint(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=message) as error:
        Probe(source(weights=tmp_path / name, variance="log_var"))
    assert str(error.value).startswith(str(tmp_path / name))


@pytest.mark.slow
def test_arrays_of_numpy(tmp_path):
    """What the message says to do makes tensors of them."""
    state = trained("Pair").state_dict()
    np.savez(tmp_path / "w.npz", **{name: tensor.numpy() for name, tensor in state.items()})
    found = torch.load(take_weights_out(tmp_path / "w.npz", tmp_path), weights_only=True)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_a_checkpoint_without_checksums(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        state = {**trained("Pair").state_dict(), "step": torch.zeros(0)}
        torch.save(state, tmp_path / "w.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    Probe(source(weights=tmp_path / "w.pt", variance="log_var"))


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_one_of_several_files(tmp_path, monkeypatch, suffix):
    """What the message says to do makes one of them."""
    state = trained("Pair").state_dict()
    names = sorted(state)
    for number, some in enumerate((names[:3], names[3:]), 1):
        path = tmp_path / f"model-0000{number}-of-00002.{suffix}"
        save = torch.save if suffix == "bin" else safetensors.torch.save_file
        save({name: state[name] for name in some}, path)
    with pytest.raises(
        BundleError, match=r"is one of 2 files that hold the weights together\."
    ) as e:
        Probe(source(weights=path))
    monkeypatch.chdir(tmp_path)
    # In this process, for another one takes seconds to import torch.
    exec(shlex.split(str(e.value))[-1], {})
    found = torch.load("weights.pt", weights_only=True)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.filterwarnings("ignore")
def test_a_distributed_checkpoint(tmp_path, monkeypatch):
    """What the message says to do makes a file that is taken."""
    from torch.distributed import checkpoint  # takes a second, which other tests need not wait

    state = trained("Pair").state_dict()
    checkpoint.save({"model": state}, checkpoint_id=tmp_path / "dcp")
    with pytest.raises(
        BundleError, match=r"/dcp is a checkpoint of torch\.distributed\. M"
    ) as error:
        Probe(source(weights=tmp_path / "dcp"))
    command = shlex.split(re.search(r"python -m (.*)$", str(error.value))[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_module(command[0], run_name="__main__")
    found = Probe(source(weights=tmp_path / "weights.pt", variance="log_var")).model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "zero_to_fp32.py",
            r"is a checkpoint of DeepSpeed\. Its own zero_to_fp32\.py makes one file",
        ),
        ("manifest.ocdbt", r"is a checkpoint of Orbax, such as JAX and Flax write\. .*--onnx"),
        ("saved_model.pb", r"is a model of TensorFlow\. .*tf2onnx"),
    ],
)
def test_folders_of_other_libraries(tmp_path, file, message):
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(BundleError, match=message):
        Probe(source(weights=tmp_path))


def test_a_folder(tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"is a folder; name the .* in it, such as model\.safet"):
        Probe(source(weights=tmp_path / "vae"))


def take_weights_out(path, folder):
    """Run the command that a message prints, and return the file that it makes."""
    with pytest.raises(BundleError) as error:
        Probe(source(weights=path))
    command = re.search(r"python (-c .*)$", str(error.value))
    subprocess.run([sys.executable, *shlex.split(command[1])], cwd=folder, check=True)
    return folder / "weights.pt"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_weights_of_torchscript(tmp_path):
    theirs = trained("Pair")
    torch.jit.trace_module(theirs, {"encode": torch.rand(2, 3, 16, 16)}).save(tmp_path / "m.pt")
    weights = take_weights_out(tmp_path / "m.pt", tmp_path)
    found = Probe(source(weights=weights, variance="log_var")).model.state_dict()
    assert torch.equal(found["head.weight"], theirs.state_dict()["head.weight"])


class InTar(pickle.Pickler):
    """Tensors are in other files of the tar."""

    def persistent_id(self, found):
        return found.key if isinstance(found, Name) else None


class Name:
    def __init__(self, key):
        self.key = key


def first_years(state, path):
    """Write weights as torch.save did at first: storages, tensors, and a pickle in a tar file."""
    storages, tensors, names = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for file in (storages, tensors):
        pickle.dump(len(state), file, protocol=2)
    for number, tensor in enumerate(state.values()):
        pickle.dump((1000 + number, "cpu", torch.FloatStorage), storages, protocol=2)
        storages.write(struct.pack("<q", tensor.numel()) + tensor.numpy().tobytes())
        pickle.dump((number, 1000 + number, torch.FloatTensor), tensors, protocol=2)
        tensors.write(struct.pack("<i4x", tensor.ndim))
        for sizes in (tensor.shape, tensor.stride(), (0,)):
            tensors.write(struct.pack(f"<{len(sizes)}q", *sizes))
    pickle.dump([], storages, protocol=2)
    InTar(names, protocol=2).dump({name: Name(str(i)) for i, name in enumerate(state)})
    files = {"sys_info": io.BytesIO(), "pickle": names, "tensors": tensors, "storages": storages}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as content:
        for name, file in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(file.getvalue())
            content.addfile(member, io.BytesIO(file.getvalue()))


@pytest.mark.slow
def test_weights_of_the_first_format(tmp_path):
    state = trained("Pair").state_dict()
    first_years(state, tmp_path / "m.pth")
    weights = take_weights_out(tmp_path / "m.pth", tmp_path)
    found = Probe(source(weights=weights, variance="log_var")).model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.slow
def test_weights_of_a_program_of_torch_export(tmp_path):
    theirs = trained("Encoder")
    program = torch.export.export(theirs, (torch.rand(2, 3, 16, 16),))
    torch.export.save(program, tmp_path / "m.pt2")
    weights = take_weights_out(tmp_path / "m.pt2", tmp_path)
    assert set(torch.load(weights, weights_only=True)) <= set(theirs.state_dict())
