"""Files that a catalog's rows name, by paths or URIs as people write them."""

from __future__ import annotations

import os
import posixpath
import re
import stat
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from vaeudf.catalog.prefetch import call_all
from vaeudf.errors import InputError, StoreError
from vaeudf.storage.locations import absolute, filesystem

MISSING = "missing"
"""The source_version of an item whose file is not there."""

_STORE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/]*)/*(.*)", re.DOTALL)


class NamedFile(NamedTuple):
    """A file as it is now.

    Attributes:
        uri: Where; empty if the catalog has no path.
        version: When it was written and its length; `MISSING` if it is not there.
        length: Bytes.
        modified: Seconds since 1970.
    """

    uri: str
    version: str = MISSING
    length: int = 0
    modified: float = 0.0


def look_up_all(named: Sequence[tuple[str | None, str]]) -> list[NamedFile]:
    """Return what is known of files; nothing about a path raises.

    Args:
        named: Of each, its path as it is written, absolute, a URI, percent-encoded or not, or
            relative to a folder; and the folder, a local one or a URI.
    """
    uris = [_absolute(path, folder) if path else "" for path, folder in named]
    waits = [bool(_STORE.match(uri)) for uri in uris]
    calls = [(uri, *one) for uri, one in zip(uris, named, strict=True)]
    return call_all(_look_up, calls, waits)


def _absolute(path: str, folder: str) -> str:
    """Return where a path leads that a row of a file in a folder names."""
    # ~$photo.jpg is a file's name, as Office writes them.
    if path.startswith(("/", "~/", "file:")) or _STORE.match(path):
        return absolute(path)
    joined = f"{folder.rstrip('/')}/{path}"
    store = _STORE.fullmatch(joined)
    # A store knows no two dots, as in ../photos/1.jpg.
    return f"{store[1]}/{posixpath.normpath(store[2])}" if store else joined


def _look_up(uri: str, path: str | None, folder: str) -> NamedFile:
    """Return the file that a path names, as it is written or else as it may be called here."""
    found = _look_up_as(uri)
    if path and found.version == MISSING:
        for other in _other_spellings(uri, path, folder):
            now = _look_up_as(other)
            if now.version != MISSING:
                return now
    return found


def _other_spellings(uri: str, path: str, folder: str) -> list[str]:
    """Return where the path may lead besides.

    People leave blanks around it, Windows writes backslashes, most programs percent-encode the URIs
    of local files, and macOS takes accents apart from their letters when it unpacks an archive.
    """
    paths = [path, path.strip(), path.strip().replace("\\", "/")]
    paths += [unicodedata.normalize(form, one) for form in ("NFC", "NFD") for one in paths]
    uris = [_absolute(one, folder) for one in paths]
    uris += [unquote(one) for one in uris if one.startswith("/")]
    return [one for one in dict.fromkeys(uris) if one != uri]


def _look_up_as(uri: str) -> NamedFile:
    if not uri:
        return NamedFile(uri)
    if uri.startswith("/"):
        return _local(uri)
    try:
        files, inner = filesystem(uri)
        info = files.get_file_info(inner)
    except (OSError, pa.ArrowException, InputError, StoreError):
        return NamedFile(uri)  # who reads it will say what is wrong
    if info.type != fs.FileType.File:
        return NamedFile(uri)
    return _found(uri, info.size, info.mtime_ns or 0)


def _local(path: str) -> NamedFile:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return NamedFile(path)
    if not stat.S_ISREG(status.st_mode):
        return NamedFile(path)
    return _found(path, status.st_size, status.st_mtime_ns)


def _found(uri: str, length: int, nanoseconds: int) -> NamedFile:
    milliseconds = nanoseconds // 10**6
    return NamedFile(uri, f"{milliseconds * 1000}-{length}", length, milliseconds / 1000.0)
