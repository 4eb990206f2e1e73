"""The files of a bundle, on this machine or in a store; no torch is needed to read them."""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from abc import ABC, abstractmethod
from pathlib import Path

from pyarrow import fs

from vaeudf.errors import BundleError, InputError
from vaeudf.storage.kept_files import KeptFiles, cache_folder
from vaeudf.storage.locations import absolute, filesystem, is_local
from vaeudf.storage.refusals import STORE_ERRORS, refused

MANIFEST = "bundle.json"
ENCODER = "encoder.safetensors"
DECODER = "decoder.safetensors"
MODEL = "model.safetensors"
"""The weights of a model made elsewhere, which is one module."""
ENCODER_ONNX = "encoder.onnx"
DECODER_ONNX = "decoder.onnx"

# A manifest has a few kilobytes, more with long arguments or thousands of dimensions.
_MOST_BYTES_OF_MANIFEST = 2**22


class BundleFiles(ABC):
    """The files of a bundle, which may be anything: of any size, damaged, or from somebody else.

    Attributes:
        path: The folder, as a path or URI.
    """

    def __init__(self, path: str) -> None:
        """Take the folder; nothing is read yet."""
        self.path = path

    def manifest(self) -> bytes:
        """Return the content of ``bundle.json``, whose sha256 is the model's id.

        Raises:
            BundleError: It is not there, or cannot be read.
            StoreError: The store does not answer.
        """
        return self._read(MANIFEST, _MOST_BYTES_OF_MANIFEST)

    def weights(self, name: str, sha256: str, most: int) -> bytes:
        """Return the content of a file of weights.

        Args:
            name: Of the file.
            sha256: What the manifest says of it.
            most: How many bytes it can need.

        Raises:
            BundleError: As :meth:`manifest`, or it has more bytes, or another sha256.
            StoreError: The store does not answer.
        """
        content = self._weights(name, sha256, most)
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise BundleError(
                f"{self._place(name)} has sha256 {found[:12]}…, but {MANIFEST} says "
                f"{sha256[:12]}…: the file is damaged or from another model. "
                "Copy the bundle again, or make it anew."
            )
        return content

    @abstractmethod
    def _read(self, name: str, most: int) -> bytes:
        """Return the content of a file."""

    @abstractmethod
    def _weights(self, name: str, sha256: str, most: int) -> bytes:
        """Return the content of a file of weights, unchecked."""

    def _place(self, name: str) -> str:
        return posixpath.join(self.path, name)

    def _check_size(self, name: str, size: int, most: int) -> None:
        if size > most:
            raise BundleError(
                f"{self._place(name)} has {size:,} bytes; {most:,} are the most that it can need."
            )

    def _missing(self, name: str, reason: str | None) -> BundleError:
        return BundleError(
            f"{self.path} has no readable {name} ({reason}); a bundle holds "
            f"{MANIFEST}, and {ENCODER} and {DECODER}, or {MODEL}, or {ENCODER_ONNX}."
        )


class _LocalFiles(BundleFiles):
    def manifest(self) -> bytes:
        if not Path(self.path).is_dir():
            raise BundleError(
                f"{self.path} is not a folder; expected a model bundle (from train_vae or "
                "export_model)."
            )
        return super().manifest()

    def _weights(self, name: str, sha256: str, most: int) -> bytes:
        return self._read(name, most)

    def _read(self, name: str, most: int) -> bytes:
        try:
            # Without O_NONBLOCK, opening a pipe waits for its other end.
            with open(os.open(self._place(name), os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise OSError(None, "not a file")
                self._check_size(name, status.st_size, most)
                return file.read(most)
        except OSError as error:
            raise self._missing(name, error.strerror) from None


class _StoredFiles(BundleFiles):
    """Files of a store; those of weights are kept on this machine, where the next job finds them.

    The manifest is read each time: it says which weights are the model's now.
    """

    def _weights(self, name: str, sha256: str, most: int) -> bytes:
        kept = KeptFiles(cache_folder() / "models")
        return kept.get(sha256, lambda: self._read(name, most))

    def _read(self, name: str, most: int) -> bytes:
        place = self._place(name)
        files, inner = filesystem(place)
        try:
            info = files.get_file_info(inner)
            if info.type == fs.FileType.NotFound:
                raise self._missing(name, "there is no such file")
            if info.type != fs.FileType.File:
                raise self._missing(name, "not a file")
            self._check_size(name, info.size, most)
            with files.open_input_stream(inner) as stream:
                return bytes(stream.read(most))
        except STORE_ERRORS as error:
            found = refused(place, error, "read")
            raise BundleError(str(found)) if isinstance(found, InputError) else found from None


def bundle_files(path: str | Path) -> BundleFiles:
    """Return the files of a bundle at a path or URI.

    Raises:
        BundleError: It is a URI of a store that cannot be opened.
        StoreError: The store does not answer.
    """
    text = os.fspath(path)
    if is_local(text):
        return _LocalFiles(absolute(text) if text.startswith("file:") else text)
    try:
        filesystem(text)
    except InputError as error:
        raise BundleError(str(error)) from None
    return _StoredFiles(text.rstrip("/"))
