"""The files of local folders, links among them.

Not by pyarrow, which passes over links to nowhere, goes round in circles of links until the
system's limit ends it, and cannot name files whose names are not UTF-8.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple


class LocalFile(NamedTuple):
    """A file, or a link to nowhere.

    Attributes:
        path: With replacement characters where it is not UTF-8. No file can be opened by such a
            path: it is an item that cannot be read, and not lost in silence.
        length: Bytes; of a link to nowhere, those of the link itself.
        modified: When it was written last, in nanoseconds since 1970.
    """

    path: str
    length: int
    modified: int


class LocalFolder(NamedTuple):
    """A folder to list.

    Attributes:
        path: As it is reached, maybe through links.
        way: What the folders on the way to it really are, and itself last, without links. One that
            is there already is not listed again.
    """

    path: str
    way: tuple[str, ...]


def first_on_its_way(path: str) -> LocalFolder:
    """Return the folder that a listing begins at."""
    return LocalFolder(path, (os.path.realpath(path),))


def list_folder(
    folder: LocalFolder, is_hidden: Callable[[str], bool]
) -> tuple[list[LocalFile], list[LocalFolder]]:
    """Return the files of a folder, and the folders in it.

    What is in a folder whose name is not UTF-8 counts as the folder's own: there is no name to list
    it by. A link to a folder is a folder, and one back to a folder on the way there is passed over:
    its files have been listed.

    Args:
        folder: What to list.
        is_hidden: Whether to pass over files and folders of a name.

    Raises:
        OSError: A folder cannot be listed.
    """
    files: list[LocalFile] = []
    below: list[LocalFolder] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        for entry in _entries(here.path):
            if is_hidden(entry.name):
                continue
            found = _status(entry)
            if found is None:
                continue
            if not stat.S_ISDIR(found.st_mode):
                files.append(LocalFile(_text(entry.path), found.st_size, found.st_mtime_ns))
                continue
            real = (
                os.path.realpath(entry.path)
                if entry.is_symlink()
                else os.path.join(here.way[-1], entry.name)
            )
            if real in here.way:
                continue
            (below if _text(entry.path) == entry.path else waiting).append(
                LocalFolder(entry.path, (*here.way, real))
            )
    return files, below


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        yield from entries


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return what is known of a file, a folder or a link to nowhere; None of anything else."""
    try:
        found = entry.stat()
    except OSError:
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            return None  # gone since
        return found if stat.S_ISLNK(found.st_mode) else None
    return found if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) else None


def _text(path: str) -> str:
    if path.isascii():
        return path
    return os.fsencode(path).decode(errors="replace")
