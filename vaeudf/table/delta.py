"""A table's Delta log, read and written by delta-rs without any Spark jar.

Everything that opens a log goes through :func:`open_delta`.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from pyarrow import fs

from vaeudf.schema import RUN_ID_KEY
from vaeudf.storage.locations import delta_options, delta_uri, filesystem
from vaeudf.storage.places import path_inside

LOG = "_delta_log"
"""The log's folder in a table's folder."""
_APP_ID = "vaeudf"
# A path that begins with a scheme, such as s3://.
_WITH_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def open_delta(location: str, version: int | None = None) -> DeltaTable:
    """Open a Delta table, at its latest version or at an older one.

    Args:
        location: The table, absolute.
        version: Which version; None is the latest.

    Raises:
        TableNotFoundError: There is no Delta table.
        DeltaError: The log cannot be read.
        OSError: The store cannot be read.
        StoreError: The store does not answer.
    """
    filesystem(location)  # which does not wait as long as delta-rs for a store to answer
    return DeltaTable(delta_uri(location), version=version, storage_options=delta_options(location))


def create_delta(location: str, schema: Schema, properties: dict[str, str]) -> DeltaTable:
    """Create an empty Delta table.

    Raises:
        CommitFailedError: There is a table by now.
    """
    try:
        return DeltaTable.create(
            delta_uri(location),
            schema=schema,
            configuration=dict(properties),
            raise_if_key_not_exists=False,
            storage_options=delta_options(location),
        )
    except DeltaError as error:
        if DeltaTable.is_deltatable(delta_uri(location), delta_options(location)):
            raise CommitFailedError(str(error)) from None
        raise


def has_commits(location: str) -> bool:
    """Whether anything was ever committed; a run may end before its first commit is written."""
    system, inner = filesystem(posixpath.join(location, LOG))
    if system.get_file_info(inner).type == fs.FileType.File:
        return False
    entries = system.get_file_info(fs.FileSelector(inner, allow_not_found=True))
    return any(entry.extension in ("json", "parquet") for entry in entries)


def latest_version(location: str) -> int | None:
    """Return the number of a table's latest version, or None if its log cannot be read."""
    try:
        return open_delta(location).version()
    except (DeltaError, OSError):
        return None


def data_paths(location: str, delta: DeltaTable) -> list[str]:
    """Return the paths of a version's data files, relative to the table.

    Those of files that are not in the table's folder are full.
    """
    return [path_in_table(location, path) or path for path in _paths(delta)]


def full_paths(location: str, delta: DeltaTable) -> list[str]:
    """Return the full paths by which a version names files in the table's folder, if it does."""
    full = filter(is_full, _paths(delta))
    return [path for path in full if path_in_table(location, path) is not None]


def is_full(path: str) -> bool:
    """Whether a data file's path is absolute or a URI, and not relative to the table."""
    return path.startswith("/") or _WITH_SCHEME.match(path) is not None


def path_in_table(location: str, path: str) -> str | None:
    """Return the path of a data file relative to the table; None if it is not in its folder.

    Args:
        location: The table, absolute.
        path: Relative to the table, or full; not percent-encoded.
    """
    if not is_full(path):
        return path
    return path_inside(location, path)


def _paths(delta: DeltaTable) -> list[str]:
    """Return the paths of a version's data files as the log has them, decoded."""
    # Not file_uris(): it gives the folder's own name percent-encoded, even for a local path.
    paths = pa.table(delta.get_add_actions()).column("path").to_pylist()
    return [unquote(path) for path in paths]


def last_transaction(delta: DeltaTable) -> int:
    """Return the number of the publication that a version is from; 0 if nothing was published."""
    return delta.transaction_version(_APP_ID) or 0


def transaction(number: int) -> Transaction:
    """Return the action by which a commit says which publication it is."""
    return Transaction(_APP_ID, number)


def commit_path(location: str, version: int) -> str:
    """Return where a version's commit is, as JSON."""
    return posixpath.join(location, LOG, f"{version:020}.json")


def is_last_in_log(location: str, version: int) -> bool:
    """Whether a version's commit is all that the log has of it, and of later ones."""
    system, inner = filesystem(posixpath.join(location, LOG))
    names = [entry.base_name for entry in system.get_file_info(fs.FileSelector(inner))]
    numbered = [name for name in names if name.split(".")[0].isdigit()]
    late = [name for name in numbered if int(name.split(".")[0]) >= version]
    return late == [f"{version:020}.json"]


@dataclass(frozen=True)
class Commit:
    """A version, as its commit tells.

    Attributes:
        version: Its number.
        written: When; None if the commit does not say.
        engine: The program that wrote it.
        operation: What that called it.
        run_id: The run of vaeudf that published it; empty if none did.
    """

    version: int
    written: datetime | None
    engine: str
    operation: str
    run_id: str

    @classmethod
    def of(cls, version: int, actions: list[dict[str, Any]]) -> Commit:
        """Return what a commit's actions tell."""
        info: dict[str, Any] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
        milliseconds = info.get("timestamp")
        return cls(
            version=version,
            written=None
            if milliseconds is None
            else datetime.fromtimestamp(milliseconds / 1000, timezone.utc),
            engine=str(info.get("engineInfo", "an unknown engine")),
            operation=str(info.get("operation", "unknown")),
            run_id=str(info.get(RUN_ID_KEY, "")),
        )

    @property
    def is_note(self) -> bool:
        """Whether it changes nothing: engines note in the log that they have removed files."""
        return self.operation.startswith("VACUUM")

    def __str__(self) -> str:
        """Say who wrote it."""
        if self.run_id:
            return f"version {self.version} by run {self.run_id}"
        return f"version {self.version} ({self.operation}) by {self.engine}"


def commits(location: str, first: int = 0) -> list[Commit]:
    """Return what the commits that the log still has tell, from a version on, the oldest first."""
    return [Commit.of(version, actions) for version, actions in read_commits(location, first)]


def publication_number(actions: list[dict[str, Any]]) -> int | None:
    """Return which publication a commit's actions are, or None if they are none."""
    numbers = (a["txn"]["version"] for a in actions if a.get("txn", {}).get("appId") == _APP_ID)
    return next((int(number) for number in numbers), None)


def read_commits(
    location: str, first: int = 0, *, newest_first: bool = False
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield the commits that the log still has as JSON: their versions and actions, in order.

    Each is read when it is asked for.

    Args:
        location: The table.
        first: The oldest version that is wanted.
        newest_first: Whether the newest one comes first.
    """
    system, inner = filesystem(posixpath.join(location, LOG))
    # Not DeltaTable.history(): it finds nothing in a folder whose name has a #.
    found = system.get_file_info(fs.FileSelector(inner))
    for entry in sorted(found, key=lambda one: one.base_name, reverse=newest_first):
        stem, suffix = posixpath.splitext(entry.base_name)
        if suffix == ".json" and stem.isdigit() and int(stem) >= first:
            with system.open_input_stream(entry.path) as stream:
                yield int(stem), [json.loads(line) for line in stream.read().splitlines()]
