"""Bundles that are made to harm whoever loads them, and a process that tries to load each.

Run as a program with a folder, it makes them there, loads each, and prints as JSON what came of it:
the message, what the process did that loading has no business to do, and its memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MANIFEST, ENCODER, DECODER = "bundle.json", "encoder.safetensors", "decoder.safetensors"
SIZES = {"height": 16, "width": 16, "channels": 3, "latent_dim": 3, "base_channels": 2}


class Runs:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.mark}",))


def pickled(mark: Path) -> bytes:
    return pickle.dumps({"state_dict": Runs(mark)})


def torch_zip(folder: Path, mark: Path) -> bytes:
    """What torch.save writes, with a pickle that runs code."""
    path = folder / "made.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(mark))
        archive.writestr("archive/version", "3\n")
    data = path.read_bytes()
    path.unlink()
    return data


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


class Corpus:
    """Every hostile bundle, as a change to a good one."""

    def __init__(self, good: Path, root: Path) -> None:
        self.good, self.root, self.mark = good, root, root / "code-has-run"
        self.made: dict[str, Callable[[Path], None]] = dict(self._all())

    def make(self, name: str) -> Path:
        folder = self.root / str(list(self.made).index(name))
        folder.mkdir()
        for file in self.good.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        self.made[name](folder)
        return folder

    def _all(self) -> Iterator[tuple[str, Callable[[Path], None]]]:
        yield from self._code()
        yield from self._paths()
        yield from self._sizes()
        yield from self._numbers()

    def _code(self) -> Iterator[tuple[str, Callable[[Path], None]]]:
        for file in (MANIFEST, ENCODER, DECODER):
            yield f"pickle as {file}", self.file(file, lambda f: pickled(self.mark))
            yield f"torch zip as {file}", self.file(file, lambda f: torch_zip(f, self.mark))
        text = pickled(self.mark).hex()
        yield (
            "pickle in metadata",
            self.file(ENCODER, lambda f: safetensors({"__metadata__": {"pickle": text}})),
        )
        yield "factory of the system", self.manifest(architecture="os:system")
        yield (
            "factory with arguments",
            self.manifest(architecture="os:system", arguments={"command": f"touch {self.mark}"}),
        )
        interface = dict.fromkeys(("encoder", "mu", "spread", "picture"), "") | {
            "decoder": None,
            "latent_shape": [3],
            "latent_layout": "flat",
            "pixel_layout": "chw",
            "clamp": None,
            "scale": 1.0,
            "shift": 0.0,
            "activation": "none",
            "channels_last": False,
        }
        yield (
            "factory and interface",
            self.manifest(
                architecture="os:system",
                arguments={"command": f"touch {self.mark}"},
                interface=interface,
                files={"model.safetensors": "0" * 64},
            ),
        )
        yield "interface without factory", self.manifest(interface=interface)
        yield (
            "architecture is an expression",
            self.manifest(architecture=f"__import__('os').system('touch {self.mark}')"),
        )
        yield "architecture is a dunder", self.manifest(architecture="__class__")
        yield (
            "arguments with code",
            self.manifest(arguments={**SIZES, "height": "__import__('os')"}),
        )
        yield "python module beside", self.beside("torch.py", MANIFEST)
        yield "yaml tag", self.file(MANIFEST, lambda f: b"!!python/object/apply:os.system ['id']")

    def _paths(self) -> Iterator[tuple[str, Callable[[Path], None]]]:
        for name in ("../good/encoder.safetensors", "/etc/passwd", "..\\encoder", "encoder\0"):
            yield f"files name {name!r}", self.manifest(files={name: "0", DECODER: "0"})
        for file in (MANIFEST, ENCODER):
            yield f"{file} is a device", self.link(file, "/dev/zero")
            yield f"{file} is a pipe", self.pipe(file)
            yield f"{file} is a folder", self.folder(file)
            yield f"{file} is a dangling link", self.link(file, "/nowhere/at/all")
        yield "encoder is a link to a secret", self.link(ENCODER, "/etc/hostname")

    def _sizes(self) -> Iterator[tuple[str, Callable[[Path], None]]]:
        yield "manifest of a terabyte", self.sparse(MANIFEST, 2**40)
        yield "weights of a terabyte", self.sparse(ENCODER, 2**40)
        yield "manifest of nested lists", self.file(MANIFEST, lambda f: b"[" * 1_000_000)
        yield (
            "manifest of a long number",
            self.file(MANIFEST, lambda f: b'{"format": ' + b"9" * 900_000 + b"}"),
        )
        gigabyte = struct.pack("<Q", 2**30) + b"{"
        yield "header says a gigabyte", self.file(ENCODER, lambda f: gigabyte)
        endless = struct.pack("<Q", 2**64 - 1)
        yield "header says 2 to the 64", self.file(ENCODER, lambda f: endless)
        yield (
            "header of 16 megabytes",
            self.file(ENCODER, lambda f: safetensors({"__metadata__": {"x": " " * 15_000_000}})),
        )
        for name, value in (("latent_dim", 2**62), ("height", 2**31), ("base_channels", 10**9)):
            yield f"{name} is absurd", self.sizes(**{name: value})
        yield (
            "weights for all the memory",
            self.sizes(height=4096, width=4096, latent_dim=65536, base_channels=1024),
        )
        yield "latent_dim is negative", self.sizes(latent_dim=-3)
        yield "latent_dim is a bool", self.sizes(latent_dim=True)
        yield "z_range is absurd", self.manifest(z_range=[[1e308] * 3, [1e999] * 3])
        digits = [[10**400] * 3, [10**401] * 3]
        yield "z_range of 400 digits", self.manifest(z_range=digits)
        yield "test vector of 400 digits", self.manifest(test_vector=digits)
        absurd = {"head.bias": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 24]}}
        yield "shape overflows", self.file(ENCODER, lambda f: safetensors(absurd, bytes(24)))
        behind = {"head.bias": {"dtype": "F32", "shape": [6], "data_offsets": [2**40, 2**40 + 24]}}
        yield "offsets behind the end", self.file(ENCODER, lambda f: safetensors(behind, bytes(24)))
        negative = {"head.bias": {"dtype": "F32", "shape": [-6], "data_offsets": [0, 24]}}
        yield "negative shape", self.file(ENCODER, lambda f: safetensors(negative, bytes(24)))
        both = {
            "a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]},
            "b": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]},
        }
        yield "tensors that overlap", self.file(ENCODER, lambda f: safetensors(both, bytes(24)))
        twice = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},' * 2
        yield (
            "names that repeat",
            self.file(ENCODER, lambda f: safetensors(b"{" + twice[:-1] + b"}", b"0000")),
        )

    def _numbers(self) -> Iterator[tuple[str, Callable[[Path], None]]]:
        def nan(weights: dict[str, Any]) -> None:
            weights["head.bias"][0] = float("nan")

        def infinite(weights: dict[str, Any]) -> None:
            weights["head.bias"][0] = float("inf")

        def double(weights: dict[str, Any]) -> None:
            weights["head.bias"] = weights["head.bias"].double()

        def integer(weights: dict[str, Any]) -> None:
            weights["head.bias"] = weights["head.bias"].int()

        def reshaped(weights: dict[str, Any]) -> None:
            weights["head.bias"] = weights["head.bias"].reshape(-1, 1)

        def extra(weights: dict[str, Any]) -> None:
            weights["extra"] = weights["head.bias"].clone()

        def less(weights: dict[str, Any]) -> None:
            del weights["head.bias"]

        for name, change in (
            ("NaN weights", nan),
            ("infinite weights", infinite),
            ("weights of double", double),
            ("weights of integers", integer),
            ("weights of another shape", reshaped),
            ("weights too many", extra),
            ("weights too few", less),
        ):
            yield name, self.weights(change)
        yield "empty weights", self.file(ENCODER, lambda f: b"")
        yield "checksum of others", self.manifest(files={ENCODER: "0" * 64, DECODER: "0" * 64})
        yield "checksum that is none", self.manifest(files={ENCODER: "", DECODER: "zz"})
        yield "one bit of the weights", self.flip(ENCODER)
        yield "one bit of the decoder", self.flip(DECODER)
        yield (
            "truncated weights",
            self.file(DECODER, lambda f: (f / DECODER).read_bytes()[:-4], honest=True),
        )
        yield "variance that is none", self.manifest(variance="logsigma")
        yield "format of the future", self.manifest(format=99)
        yield "format that is a float", self.manifest(format=2.0)
        yield "manifest with NaN", self.manifest(latent_dim=float("nan"))
        yield "image of no size", self.manifest(image={"height": 0, "width": 16})
        yield "image keys", self.manifest(image={"height": 16, "width": 16, "__class__": "x"})

    # ---- what a bundle is changed by

    def manifest(self, **changes: Any) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            content = json.loads((folder / MANIFEST).read_text())
            (folder / MANIFEST).write_text(json.dumps({**content, **changes}))

        return change

    def sizes(self, **changes: Any) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            arguments = {**SIZES, **changes}
            content = json.loads((folder / MANIFEST).read_text())
            content |= {"arguments": arguments, "latent_dim": arguments["latent_dim"]}
            content["image"] |= {name: arguments[name] for name in ("height", "width")}
            (folder / MANIFEST).write_text(json.dumps({**content, "z_range": None}))

        return change

    def file(
        self, name: str, data: Callable[[Path], bytes], honest: bool = True
    ) -> Callable[[Path], None]:
        """Replace a file; its checksum is right, for that is the easiest to forge."""

        def change(folder: Path) -> None:
            content = data(folder)
            (folder / name).write_bytes(content)
            if name != MANIFEST and honest:
                files = json.loads((folder / MANIFEST).read_text())["files"]
                files[name] = hashlib.sha256(content).hexdigest()
                self.manifest(files=files)(folder)

        return change

    def weights(self, change_them: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            import safetensors.torch

            weights = safetensors.torch.load((folder / ENCODER).read_bytes())
            change_them(weights)
            data = safetensors.torch.save(weights)
            self.file(ENCODER, lambda f: data)(folder)

        return change

    def flip(self, name: str) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            data = bytearray((folder / name).read_bytes())
            data[-1] ^= 1
            (folder / name).write_bytes(bytes(data))

        return change

    def sparse(self, name: str, size: int) -> Callable[[Path], None]:
        return lambda folder: os.truncate(folder / name, size)

    def link(self, name: str, target: str) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            (folder / name).unlink()
            (folder / name).symlink_to(target)

        return change

    def pipe(self, name: str) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            (folder / name).unlink()
            os.mkfifo(folder / name)

        return change

    def folder(self, name: str) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            (folder / name).unlink()
            (folder / name).mkdir()

        return change

    def beside(self, name: str, without: str) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            (folder / name).write_text(f"open({str(self.mark)!r}, 'w')")
            (folder / without).unlink()

        return change


# What only code that is run does.
_EVENTS = (
    "os.system",
    "subprocess.Popen",
    "pickle.find_class",
    "exec",
    "os.exec",
    "socket.connect",
)


def main(root: Path) -> None:
    import torch

    from vaeudf.errors import BundleError
    from vaeudf.images.spec import ImageSpec
    from vaeudf.model.bundle import load_bundle, save_bundle
    from vaeudf.model.conv_vae import conv_vae
    from vaeudf.model.manifest import Manifest

    torch.manual_seed(0)
    good = root / "good"
    save_bundle(good, conv_vae(**SIZES), Manifest("conv_vae", SIZES, 3, ImageSpec(16, 16)))
    corpus = Corpus(good, root)
    folders = {name: corpus.make(name) for name in corpus.made}
    load_bundle(good)  # what is imported is imported

    watching, seen = False, []

    def watch(event: str, arguments: Any) -> None:
        if watching and event in _EVENTS:
            seen.append(f"{event} {arguments!r}"[:200])

    sys.addaudithook(watch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {}
    for name, folder in folders.items():
        os.chdir(folder)
        watching = True
        try:
            load_bundle(folder)
            told[name] = "LOADED"
        except BundleError as error:
            told[name] = str(error).replace(str(folder), "BUNDLE")
        except BaseException as error:
            told[name] = f"RAISED {type(error).__name__}: {error}"
        watching = False
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    report = {"told": told, "events": seen, "ran": corpus.mark.exists(), "grown_kb": grown}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
