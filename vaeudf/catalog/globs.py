"""What a catalog's path names: a folder, a file, or all that a pattern matches."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import NamedTuple, NoReturn

from pyspark.sql import SparkSession

from vaeudf.catalog.patterns import PATTERN, is_glob, is_hidden, root_of
from vaeudf.errors import InputError, root_cause
from vaeudf.spark.cluster import Cluster
from vaeudf.storage.locations import absolute, exists, is_file

# Files asked for one by one, rather than by listing the folder that they are in.
_FEW = 64


class Folder(NamedTuple):
    """What to list: a folder, or some of the files in it.

    Attributes:
        path: Where it is.
        recursive: Whether the folders in it are listed, too.
        names: Of the files that are asked for; None for all.
        way: Of a local folder, the way to it; see `vaeudf.catalog.local_folders.LocalFolder`.
    """

    path: str
    recursive: bool
    names: frozenset[str] | None = None
    way: tuple[str, ...] = ()

    @property
    def asks_for_few(self) -> bool:
        """Whether to ask for files one by one."""
        return self.names is not None and len(self.names) <= _FEW


def check_exists(path: str) -> None:
    """Refuse a path at which nothing is; what a glob matches only Spark can tell.

    Raises:
        InputError: Nothing is there.
    """
    try:
        found = bool(PATTERN.search(path)) or exists(path)
    except OSError as error:
        raise InputError(f"catalog {path} cannot be read: {root_cause(error)}.") from None
    if not found:
        _refuse_nothing(path)


def _refuse_nothing(path: str) -> NoReturn:
    found = "matches nothing" if PATTERN.search(path) else "does not exist"
    raise InputError(f"catalog {path} {found}; expected a folder, a glob or a file.")


def folders_at(spark: SparkSession, path: str) -> list[Folder]:
    """Return what a path or a glob names.

    Raises:
        InputError: Nothing is there.
    """
    try:
        if is_glob(path):
            matches = _matches(spark, path)
        elif exists(path):
            matches = {absolute(path).rstrip("/"): is_file(path)}
        else:
            matches = {}
    except OSError as error:
        raise InputError(f"catalog {path} cannot be read: {root_cause(error)}.") from None
    if not matches:
        _refuse_nothing(path)
    whole = {match for match, alone in matches.items() if not alone}
    names: dict[str, set[str]] = {}
    for match, alone in matches.items():
        parent, name = match.rsplit("/", 1)
        if alone and parent not in whole:
            names.setdefault(parent, set()).add(name)
    folders = [Folder(match, recursive=True) for match in sorted(whole) if not _above(match, whole)]
    return folders + [
        Folder(parent, recursive=False, names=frozenset(some))
        for parent, some in sorted(names.items())
        if not _above(parent, whole)
    ]


def _above(path: str, folders: Container[str]) -> bool:
    """Whether one of the folders is above the path."""
    while "/" in path:
        path = path.rsplit("/", 1)[0]
        if path in folders:
            return True
    return False


def _matches(spark: SparkSession, path: str) -> dict[str, bool]:
    """Return what matches a glob, and of each whether it is a file."""
    root, cluster = root_of(path).rstrip("/"), Cluster.of(spark)
    cluster.check_connectors(path)
    below = cluster.glob(path, root or "/")
    if not re.search(r"/[._](?![./])", absolute(path)[len(root) :]):  # not asked for by name
        below = {rest: is_file for rest, is_file in below.items() if not is_hidden(rest)}
    return {f"{root}{rest}": is_file for rest, is_file in below.items()}
