"""Whether a catalog is a Delta table, and what is in it then."""

from __future__ import annotations

import posixpath

from deltalake.exceptions import DeltaError

from vaeudf.catalog.patterns import is_glob, root_of
from vaeudf.errors import InputError
from vaeudf.storage.locations import absolute
from vaeudf.table.delta import has_commits, open_delta
from vaeudf.table.other_formats import about_other_table
from vaeudf.table.snapshot import Snapshot, take_snapshot

_DEEPEST_PARTITION = 4


def is_delta(path: str) -> bool:
    """Whether a catalog is a Delta table.

    Raises:
        InputError: It is some of a Delta table's files, which may hold deleted rows.
    """
    location = absolute(path)
    if not is_glob(path) and has_commits(location):
        return True
    around = _table_around(root_of(path) + "/*" if is_glob(path) else location)
    if around is not None:
        raise InputError(
            f"catalog {path} is in the Delta table {around}, and its files may hold rows that "
            "are deleted there; name the table's folder."
        )
    return False


def delta_snapshot(path: str) -> Snapshot | None:
    """Return the latest version of a catalog that is a Delta table, else None.

    Raises:
        InputError: The table cannot be opened, or is of another format, or the path is some of a
            table's files.
    """
    if not is_delta(path):
        other = None if is_glob(path) else about_other_table(path, f"catalog {path} is")
        if other is not None:
            raise InputError(other)
        return None
    location = absolute(path)
    try:
        return take_snapshot(location, open_delta(location))
    except (DeltaError, OSError) as error:
        raise InputError(
            f"catalog {path} is a Delta table that cannot be opened ({error}); mend the table, or "
            "name other files."
        ) from None


def _table_around(location: str) -> str | None:
    """Return the Delta table that a file or folder is in, or None if none is known of."""
    scheme, separator, path = location.rpartition("://")
    # Files are at most as deep as a table has partition columns.
    for _ in range(_DEEPEST_PARTITION):
        path = posixpath.dirname(path)
        if path in ("", "/"):
            break
        folder = f"{scheme}{separator}{path}"
        try:
            if has_commits(folder):
                return folder
        except (OSError, InputError):
            break  # who may read a folder may not be allowed to look at what is above it
    return None
