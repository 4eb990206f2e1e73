"""What a catalog's path is: a pattern or not, the folder above its items, names passed over."""

from __future__ import annotations

import re

from vaeudf.storage.locations import absolute, exists, is_file

PATTERN = re.compile(r"[*?\[{]")
"""What patterns are known by."""


def root_of(path: str) -> str:
    """Return the folder that item_ids are relative to."""
    location = absolute(path).rstrip("/")
    glob = PATTERN.search(location) if is_glob(path) else None
    if glob is not None:
        return location[: glob.start()].rsplit("/", 1)[0]
    return location.rsplit("/", 1)[0] if is_file(path) else location


def is_glob(path: str) -> bool:
    """Whether the path is a pattern; what exists under its literal name is not."""
    return bool(PATTERN.search(path)) and not exists(path)


def is_hidden(rest: str) -> bool:
    """Whether Spark would pass over a file for one of the names in its path."""
    if "/" not in rest and rest[:1] not in "._" and not rest.endswith("_"):
        return False  # as of nearly all names of nearly all catalogs
    return any(
        name.startswith(".")
        or (name.startswith("_") and "=" not in name)
        or name.endswith("._COPYING_")
        for name in rest.split("/")
    )
