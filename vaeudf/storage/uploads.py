"""Folders that are made on this machine, and then taken to where they are wanted."""

from __future__ import annotations

import logging
import os
import posixpath
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vaeudf.errors import StoreError, VaeUdfError
from vaeudf.storage.locations import filesystem, is_local, make_folder
from vaeudf.storage.outputs import replacing
from vaeudf.storage.refusals import STORE_ERRORS, cause_of

log = logging.getLogger(__name__)

_BYTES_AT_A_TIME = 2**22


@contextmanager
def replacing_from_here(path: str, last: str) -> Iterator[Path]:
    """Give a folder on this machine; it takes the place of ``path`` when the block ends well.

    As with :func:`vaeudf.storage.outputs.replacing`, nobody sees a part of it for the whole, and an
    older ``path`` stays until then. What was made is not lost if a store does not take it.

    Args:
        path: What to replace, a folder with files and no folders in it.
        last: The file without which nobody takes the folder for whole.

    Raises:
        StoreError: The store has not taken the folder, which is still on this machine, at the path
            that the message names. It names the machine, too: it may be any of a cluster.
    """
    if is_local(path):
        with replacing(path) as staging:
            folder = Path(staging)
            folder.mkdir(parents=True)
            yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="vaeudf-"))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        with replacing(path, last=last) as staging:
            _upload(folder, staging)
    except (*STORE_ERRORS, VaeUdfError) as error:
        raise StoreError(
            f"{path} cannot be written ({cause_of(error)}). Nothing is lost: all that it was to "
            f"hold is in {folder} on {socket.gethostname()}. Use it from there, or copy that "
            f"folder to where it is wanted, {last} last."
        ) from None
    except BaseException:
        log.warning("what %s was to hold is in %s on %s.", path, folder, socket.gethostname())
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _upload(folder: Path, uri: str) -> None:
    files, inner = filesystem(uri)
    make_folder(files, inner)
    for name in sorted(os.listdir(folder)):
        target = posixpath.join(inner, name)
        with open(folder / name, "rb") as file, files.open_output_stream(target) as stream:
            shutil.copyfileobj(file, stream, _BYTES_AT_A_TIME)
