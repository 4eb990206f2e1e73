"""Ids as names of files, safe on every file system and different for different ids."""

from __future__ import annotations

import hashlib
import re

# Small letters only, for file systems that ignore case; no character that shells, Windows or
# URIs treat as special.
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_HASHED = re.compile(r"-[0-9a-f]{16}$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])([.].*)?")
_LONGEST = 100


def file_name(name: str) -> str:
    """Return the stem of a file's name for an id.

    A plain id, of small letters, digits and ``._-``, is used as it is. Any other id keeps its plain
    characters and gets 16 hexadecimal digits of its SHA-256. So tasks choose names independently of
    each other, and choose the same names in every run.

    Args:
        name: Any text.

    Returns:
        At most 117 characters, without a separator and without a dot at the start. Different ids
        get different names, even on file systems that ignore case.
    """
    # Windows drops a dot at the end, and ".." is not a name.
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
