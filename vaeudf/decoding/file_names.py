"""Ids as names of files, safe on every file system and different for different ids."""

from __future__ import annotations

import hashlib
import re

# Also where capitals do not count, and without what shells, Windows and URIs read something into.
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_HASHED = re.compile(r"-[0-9a-f]{16}$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])([.].*)?")
_LONGEST = 100


def file_name(name: str) -> str:
    """Return the stem of a file's name for an id.

    A plain id, of small letters, digits and ``._-``, is its own file's name. Of any other what is
    plain is kept, and 16 hexadecimal digits of its SHA-256 tell it apart. So tasks name their files
    without asking each other, and a run again names them alike.

    Args:
        name: Any text.

    Returns:
        At most 117 characters; without a separator, and not beginning with a dot. Different for
        different ids, even where A and a are one name.
    """
    # A dot at the end would be lost on Windows, and two are no name.
    is_plain = (
        _PLAIN.fullmatch(name)
        and not name.endswith(".")
        and not _HASHED.search(name)
        and not _RESERVED.fullmatch(name)
    )
    if is_plain:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    kept = _UNSAFE.sub("-", name).strip(".-")[:_LONGEST]
    return f"{kept or 'id'}-{digest}"
