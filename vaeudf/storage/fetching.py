"""Files of stores, for libraries that read files of this machine alone."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from vaeudf.errors import InputError
from vaeudf.storage.locations import absolute, filesystem, is_file, is_local
from vaeudf.storage.refusals import STORE_ERRORS, refused

_BYTES_AT_A_TIME = 2**22


@contextmanager
def on_this_machine(path: str) -> Iterator[str]:
    """Give the local path of a file: its own, or that of a copy of the same name.

    Args:
        path: A path or URI. Of a local one nothing is checked.

    Raises:
        InputError: The file is in a store, and not there, or cannot be read.
        StoreError: The store does not answer.
    """
    if is_local(path):
        yield absolute(path) if path.startswith("file:") else path
        return
    files, inner = filesystem(path)
    with tempfile.TemporaryDirectory(prefix="vaeudf-fetched-") as folder:
        copy = posixpath.join(folder, posixpath.basename(inner.rstrip("/")))
        try:
            if not is_file(path):
                raise InputError(f"{path} does not exist; expected a file.")
            with files.open_input_stream(inner) as stream, open(copy, "wb") as file:
                while part := stream.read(_BYTES_AT_A_TIME):
                    file.write(part)
        except STORE_ERRORS as error:
            raise refused(path, error, "read") from None
        yield copy
