"""A single file that a job writes: what may be replaced, and writing it in one step."""

from __future__ import annotations

import posixpath
import uuid

from pyarrow import fs

from vaeudf.errors import InputError
from vaeudf.storage.locations import absolute, exists, filesystem, has_folders, is_file
from vaeudf.storage.refusals import STORE_ERRORS, check_writable, refused

# Where the mark of a kind of file is looked for.
_BYTES_WITH_MARK = 4096


def check_file(path: str, overwrite: bool, mark: bytes) -> None:
    """Refuse to write where something is that must stay.

    Args:
        path: A file to be written.
        overwrite: Whether an older one may be replaced.
        mark: What every file of this kind has near its beginning: nothing else is ever replaced.

    Raises:
        InputError: The file may not be written, or cannot be, or its folder is not there.
        StoreError: Its store does not answer.
    """
    try:
        _check_what_is_there(path, overwrite, mark)
    except STORE_ERRORS as error:
        raise refused(path, error, "read") from None
    check_writable(path)


def _check_what_is_there(path: str, overwrite: bool, mark: bytes) -> None:
    files, inner = filesystem(path)
    folder = posixpath.dirname(inner)
    if has_folders(files) and files.get_file_info(folder or "/").type != fs.FileType.Directory:
        raise InputError(f"the folder of {path} does not exist; make it, or name another file.")
    if not exists(path):
        return
    if not is_file(path):
        raise InputError(f"{path} is a folder; name a file in it.")
    with files.open_input_stream(inner) as stream:
        is_own = mark in stream.read(_BYTES_WITH_MARK)
    if not is_own:
        raise InputError(f"{path} is a file that this job has not made; name another one.")
    if not overwrite:
        raise InputError(f"{path} exists already; name another file, or replace it: --overwrite.")


def write_file(path: str, content: bytes) -> str:
    """Write a file, which is there as a whole or not at all; return its absolute path or URI."""
    files, inner = filesystem(path)
    target = inner
    if has_folders(files):
        # A store's object is not there before it is complete.
        target = posixpath.join(posixpath.dirname(inner), f".{uuid.uuid4().hex}.part")
    try:
        with files.open_output_stream(target) as stream:
            stream.write(content)
        if target != inner:
            files.move(target, inner)
    except BaseException:
        if target != inner and files.get_file_info(target).type == fs.FileType.File:
            files.delete_file(target)
        raise
    return absolute(path)
