"""Runs of encode_catalog: their ids, and the folders that they have in a table's folder."""

from __future__ import annotations

import posixpath
import re
import uuid
from datetime import datetime, timezone

from pyarrow import fs

from vaeudf.storage.locations import absolute, filesystem
from vaeudf.table.delta import LOG, data_paths, has_commits, open_delta, read_commits

QUARANTINE = "_quarantine"
STAGING = "_staging"
RUNS = "_runs"
PIXELS = "_pixels"

_RUN_ID = re.compile(r"^\d{8}T\d{6}-[0-9a-f]{8}$")


def new_run_id() -> str:
    """Return a name for a run and for the folder of its files: its start, and a random number."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def is_run_id(name: str) -> bool:
    """Whether a folder's name is that of a run."""
    return _RUN_ID.match(name) is not None


def began(run_id: str) -> datetime:
    """Return when a run began."""
    return datetime.strptime(run_id.split("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)


def quarantine_folder(uri: str, run_id: str) -> str:
    """Return where a run keeps what it could not encode; a run without failures has no folder."""
    # Readers of partitioned Parquet give run_id back as a column.
    return posixpath.join(uri, QUARANTINE, f"run_id={run_id}")


def published_runs(uri: str) -> set[str] | None:
    """Return the runs that published the versions of a table, or None if that cannot be known."""
    location = absolute(uri)
    if not has_commits(location):
        return set()
    try:
        commits = read_commits(location)
        paths = {a["add"]["path"] for _, actions in commits for a in actions if "add" in a}
        # Old commits are removed from the log; the files of the latest version never are.
        paths |= set(data_paths(location, open_delta(location)))
    except Exception:  # a log that cannot be read may name any file
        return None
    # The folder that a file is in, for paths may be full.
    return {posixpath.basename(posixpath.dirname(path)) for path in paths}


def holds_only_runs(uri: str) -> bool:
    """Whether a folder without a log holds only what an unfinished first run leaves."""
    system, inner = filesystem(uri)
    if system.get_file_info(inner).type != fs.FileType.Directory:
        return False
    names = {entry.base_name for entry in system.get_file_info(fs.FileSelector(inner))}
    return all(
        name in (LOG, STAGING, QUARANTINE, RUNS, PIXELS) or is_run_id(name) for name in names
    )
