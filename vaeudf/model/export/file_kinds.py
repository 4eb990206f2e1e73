"""What a file is that is no checkpoint of PyTorch, told by its first bytes, and what to do."""

from __future__ import annotations

import re
import tarfile
import zipfile
from pathlib import Path

_TO_ONNX = (
    "Export the encoder as ONNX where it was trained, and name that file with --onnx in place of "
    "--factory and --weights"
)
_KERAS = f'{_TO_ONNX}; Keras 3: model.export("encoder.onnx", format="onnx").'
_AGAIN = "Copy or download it again."

# How files begin, as far as spaces; what that is, and what to do.
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (
        rb"version https://git-lfs",
        "a Git LFS pointer, which stands for a file that was not fetched",
        "Fetch it with 'git lfs pull' in its repository.",
    ),
    (
        rb"(?i)<!doctype html|<html|<\?xml",
        "a web page",
        "A server has answered with a page in place of the file; download the file itself.",
    ),
    (rb"\x89HDF\r\n", "HDF5, such as Keras writes", _KERAS),
    (rb"GGUF", "GGUF, quantized weights of language models", "Name a checkpoint of PyTorch."),
    (rb"\x93NUMPY", "an array of NumPy", "Name a state_dict: names and tensors."),
    (rb"\x1f\x8b", "compressed with gzip", "Unpack it, and name the file in it."),
    (rb"BZh", "compressed with bzip2", "Unpack it, and name the file in it."),
    (
        rb"x[\x01\x5e\x9c\xda]|\x5d\0\0",
        "compressed, as by joblib",
        "Load it as it was saved, and save its weights with torch.save(model.state_dict(), …).",
    ),
    (rb"\xfd7zXZ", "compressed with xz", "Unpack it, and name the file in it."),
    (rb"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it, and name the file in it."),
    (rb"7z\xbc\xaf|Rar!", "an archive", "Unpack it, and name the file in it."),
    (rb"[{\[]", "JSON, such as a configuration or an index", "Name the file of weights beside it."),
)
# Weights of others that no first bytes tell.
_SUFFIXES = {
    ".msgpack": ("weights of Flax", f"{_TO_ONNX}."),
    ".pb": ("a model of TensorFlow", f"{_TO_ONNX}, with tf2onnx."),
    ".index": ("a part of a checkpoint of TensorFlow", f"{_TO_ONNX}, with tf2onnx."),
    ".mlmodel": ("a model of Core ML", f"{_TO_ONNX}."),
    ".tflite": ("a model of TensorFlow Lite", f"{_TO_ONNX}, with tf2onnx."),
}
_LONGEST_BEGINNING = 512
_READ_AT_ONCE = 2**20
_DISTRIBUTED = (
    "a checkpoint of torch.distributed",
    "Make one file of it: python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
    "{folder} weights.pt",
)
# Folders that are checkpoints, by a file that each of them has.
_FOLDERS = {
    ".metadata": _DISTRIBUTED,
    "zero_to_fp32.py": (
        "a checkpoint of DeepSpeed",
        "Its own zero_to_fp32.py makes one file of it; name that.",
    ),
    "manifest.ocdbt": ("a checkpoint of Orbax, such as JAX and Flax write", f"{_TO_ONNX}."),
    "_CHECKPOINT_METADATA": ("a checkpoint of Orbax, such as JAX and Flax write", f"{_TO_ONNX}."),
    "saved_model.pb": ("a model of TensorFlow", f"{_TO_ONNX}, with tf2onnx."),
}
_SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})\.(safetensors|bin)")


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do, whatever it is called."""
    with open(path, "rb") as file:
        begins = file.read(9)
    # The length of a header of JSON, and then the header.
    return len(begins) == 9 and begins[8:] == b"{" and begins[4:8] == bytes(4)


def folder_kind(path: Path) -> str:
    """Return what a folder is, and what to do, in words that go on after its name."""
    names = sorted(one.name for one in path.iterdir() if one.is_file())
    for name, (what, advice) in _FOLDERS.items():
        if name in names:
            return f"is {what}. {advice.format(folder=path)}"
    inside = f", such as {', '.join(names[:3])}" if names else ""
    return f"is a folder; name the file of weights in it{inside}."


def about_shard(path: Path) -> str | None:
    """Return what to do about one of several files that a model was saved in; None if it is not.

    Args:
        path: The file, named as Hugging Face's libraries name such files.
    """
    found = _SHARD.fullmatch(path.name)
    if found is None:
        return None
    stem, count, suffix = found.groups()
    read = "torch.load(f)" if suffix == "bin" else "safetensors.torch.load_file(f)"
    modules = "glob, torch" if suffix == "bin" else "glob, safetensors.torch, torch"
    return (
        f"is one of {int(count)} files that hold the weights together. Put them into one: python "
        f"-c 'import {modules}; torch.save({{k: v for f in glob.glob(\"{stem}-*-of-{count}."
        f'{suffix}") for k, v in {read}.items()}}, "weights.pt")\''
    )


def other_kind(path: Path) -> str | None:
    """Return what a file is, and what to do, if it is no checkpoint that vaeudf reads.

    Args:
        path: A file.

    Returns:
        One or two sentences that go on after its name; None if it may well be a checkpoint.
    """
    with open(path, "rb") as file:
        begins = file.read(_LONGEST_BEGINNING)
    if not begins:
        return f"is empty. {_AGAIN}"
    if path.suffix == ".distcp":
        what, advice = _DISTRIBUTED
        return f"is a part of {what}. {advice.format(folder=path.parent)}"
    if begins.startswith(b"PK\x03\x04"):
        return _kind_of_archive(path)
    for pattern, what, advice in _BEGINNINGS:
        if re.match(pattern, begins.lstrip()):
            return f"is {what}. {advice}"
    if path.suffix in _SUFFIXES:
        what, advice = _SUFFIXES[path.suffix]
        return f"is {what}. {advice}"
    if is_onnx(begins):
        return f"is an ONNX model. Name it with --onnx {path} in place of --factory and --weights."
    # To tarfile, zeros are an archive without files.
    if begins.strip(b"\0") and tarfile.is_tarfile(path):
        return _kind_of_tar(path)
    return None


def is_onnx(begins: bytes) -> bool:
    """Whether a file that begins so may be a model of ONNX."""
    # A model of ONNX begins with its version, a small number, and then texts, numbers or a graph.
    return re.match(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]", begins) is not None


def damaged(path: Path) -> str:
    """Return what to say of a file that looks like a checkpoint and cannot be read."""
    return (
        f"is not a checkpoint that can be read: of its {path.stat().st_size:,} bytes some are "
        f"missing or damaged. {_AGAIN}"
    )


def _fails_checksums(archive: zipfile.ZipFile) -> bool:
    """Whether some files in an archive are not as they were written, which torch does not check."""
    sound = set()
    for info in archive.infolist():
        if info.file_size:
            try:
                with archive.open(info) as file:
                    while file.read(_READ_AT_ONCE):
                        pass
                sound.add(True)
            except Exception:  # zipfile and zlib raise many kinds for damaged archives
                sound.add(False)
    # torch.save can be told to write none; then no file has the one that it should have.
    return sound == {True, False}


def _kind_of_archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("/data.pkl") for name in names) and _fails_checksums(archive):
                return damaged(path)
    except (zipfile.BadZipFile, NotImplementedError):
        return damaged(path)
    ends = {name.split("/", 1)[-1] for name in names}
    name = path.name
    if "constants.pkl" in ends:
        return (
            "is TorchScript, which holds code. If you trust it, take its weights out: python -c "
            f'\'import torch; torch.save(torch.jit.load("{name}", '
            'map_location="cpu").state_dict(), "weights.pt")\''
        )
    if "archive_format" in ends or "serialized_exported_program.json" in names:
        return (
            "is a program of torch.export, which holds code. If you trust it, take its weights "
            f'out: python -c \'import torch; torch.save(dict(torch.export.load("{name}")'
            '.state_dict), "weights.pt")\''
        )
    if "data.pkl" in ends:
        return None
    if "model.weights.h5" in names:
        return f"is a model of Keras. {_KERAS}"
    if names and all(name.endswith(".npy") for name in names):
        return (
            "is arrays of NumPy. Save them as tensors: python -c 'import numpy, torch; "
            f'torch.save({{k: torch.from_numpy(v) for k, v in numpy.load("{name}").items()}}, '
            '"weights.pt")\''
        )
    return (
        f"is an archive of {len(names)} files, such as {', '.join(names[:2])}. Unpack it, and name "
        "the file of weights in it."
    )


def _kind_of_tar(path: Path) -> str:
    with tarfile.open(path) as archive:
        names = [member.name for member in archive.getmembers()[:20]]
    if {"storages", "tensors", "pickle"} <= set(names):
        return (
            "is a tar file of PyTorch's first years, and opening that can run code. If you trust "
            f'it, save it anew: python -c \'import torch; torch.save(torch.load("{path.name}", '
            'weights_only=False, map_location="cpu"), "weights.pt")\''
        )
    return (
        f"is an archive of {', '.join(names[:2])} and more. Unpack it, and name the file of "
        "weights in it."
    )
