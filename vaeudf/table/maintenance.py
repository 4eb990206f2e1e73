"""Maintain a posterior table: list its versions, roll back to one, remove old files."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError, DeltaError
from pyarrow import fs

from vaeudf.errors import InputError, PublishConflict, TableError, root_cause
from vaeudf.schema import RUN_ID_KEY
from vaeudf.storage.locations import filesystem, remove_empty
from vaeudf.table.delta import Commit, commits, open_delta, transaction
from vaeudf.table.open import PosteriorTable, open_table
from vaeudf.table.pixel_files import pixel_path
from vaeudf.table.protocol import check_paths, check_writable, uses_vectors
from vaeudf.table.runs import PIXELS, began, is_run_id, new_run_id

FEWEST_DAYS = 1.0
"""Files that were replaced more recently are never removed: a run or a reader may use them."""


@dataclass(frozen=True)
class Version:
    """A version of a table that can be opened, since it was published for the first time.

    Attributes:
        version: Its number.
        commit: Who wrote it, and when.
        num_items: Rows.
        model_id: Of what model the posteriors are.
        is_whole: Whether all its files are still there.
    """

    version: int
    commit: Commit
    num_items: int
    model_id: str
    is_whole: bool


def list_versions(uri: str) -> list[Version]:
    """Return the versions of a table that the log still knows, the oldest first.

    Raises:
        TableError: There is no posterior table.
    """
    location = open_table(uri).uri
    found = []
    for commit in commits(location):
        if commit.is_note:
            continue
        try:
            table = open_table(location, commit.version)
        except (TableError, DeltaError, OSError):
            # Created only; or its commits are gone, and it is older than the oldest checkpoint.
            continue
        whole = not _missing(table)
        found.append(Version(commit.version, commit, table.num_items, table.model_id, whole))
    return found


def roll_back(uri: str, version: int) -> PosteriorTable:
    """Make an older version's rows the table's next version, and return that.

    Raises:
        TableError: There is no such version, or files of it are gone.
        PublishConflict: Somebody else published in the meantime.
    """
    table, old = open_table(uri), open_table(uri, version)
    latest = open_delta(table.uri)
    check_writable(table.uri, latest)
    if old.version == table.version:
        raise TableError(f"version {version} of table {uri} is its latest; name an older one.")
    if old.latent_dim != table.latent_dim:
        raise AssertionError("a table keeps its latent_dim")
    gone = _missing(old)
    if gone:
        raise TableError(
            f"version {version} of table {uri} cannot be restored: {len(gone)} of its files are "
            f"gone, such as {gone[0]}. It was vacuumed, perhaps; maintain_table lists the versions "
            "that are whole."
        )
    # The number makes it a compare-and-set, as in publish.
    commit = CommitProperties(
        app_transactions=[transaction(table.transaction + 1)],
        custom_metadata={RUN_ID_KEY: new_run_id()},
    )
    try:
        latest.restore(version, commit_properties=commit)
    except CommitFailedError as error:
        raise PublishConflict(
            f"table {uri} was changed in the meantime ({commits(table.uri)[-1]}). Nothing was "
            "rolled back; look at the new version first."
        ) from error
    except DeltaError as error:
        raise TableError(
            f"version {version} of table {uri} cannot be restored ({root_cause(error)}). Nothing "
            "was changed."
        ) from None
    return open_table(uri)


def _missing(table: PosteriorTable) -> list[str]:
    """Return the data files of a version that are not there any more."""
    system, _ = filesystem(table.uri)
    infos = system.get_file_info([filesystem(uri)[1] for uri in table.files])
    pairs = zip(table.files, infos, strict=True)
    return [uri for uri, info in pairs if info.type != fs.FileType.File]


@dataclass(frozen=True)
class Vacuumed:
    """What a vacuum did.

    Attributes:
        removed: The paths of the files that it removed, or would remove.
        left: How many others it left alone, which may be dead, or the vectors of live versions.
    """

    removed: list[str]
    left: int


def vacuum(uri: str, keep_days: float, *, dry_run: bool = False) -> Vacuumed:
    """Remove files that no version of the last days has.

    As in every Delta table, that is any file but those whose folder begins with an underscore. In a
    table with deletion vectors it is only the data files of vaeudf's runs: vectors are files too,
    and only the log tells the live ones from the dead. The pixel files of data files go with them.

    Args:
        uri: The table.
        keep_days: Files that were part of the table so many days ago, or later, stay.
        dry_run: Only return what would be removed.

    Raises:
        InputError: keep_days is too short to be safe.
        TableError: There is no posterior table, or it names files in its folder by full paths.
    """
    if not keep_days >= FEWEST_DAYS:
        raise InputError(
            f"keep-days is {keep_days:g}; expected at least {FEWEST_DAYS:g}, and more than the "
            "longest run and the longest query take: they would lose their files."
        )
    location = open_table(uri).uri
    delta, hours = open_delta(location), round(keep_days * 24)
    check_paths(location, delta)
    keep_versions = _current_within(location, keep_days)

    def clean(*, dry_run: bool) -> list[str]:
        return delta.vacuum(
            hours,
            dry_run=dry_run,
            enforce_retention_duration=False,
            # Else files that were never published stay, such as those of a task that was run twice.
            full=True,
            # A checkpoint keeps for a week only when a file was removed. Afterwards vacuum goes by
            # the time when the file was written, which may be long before it was replaced.
            keep_versions=keep_versions,
        )

    # delta-rs also names files that have been removed before, and those by their whole paths.
    named = clean(dry_run=True)
    paths = sorted(str(path).removeprefix(f"{location}/") for path in named)
    system, inner = filesystem(location)
    infos = system.get_file_info([posixpath.join(inner, path) for path in paths])
    there = [p for p, info in zip(paths, infos, strict=True) if info.type == fs.FileType.File]
    # Also after the feature is dropped: older versions may still need their vectors.
    vectors = any(posixpath.basename(path).startswith("deletion_vector") for path in there)
    one_by_one = vectors or uses_vectors(delta)
    ours = [path for path in there if _is_of_a_run(path)] if one_by_one else there
    pixels = _pixels_of_none(location, set(ours), keep_days)
    if not dry_run:
        if ours and not one_by_one:
            clean(dry_run=False)
        for path in [*(ours if one_by_one else []), *pixels]:
            system.delete_file(posixpath.join(inner, path))
        for folder in {*map(posixpath.dirname, pixels)}:
            remove_empty(posixpath.join(location, folder))
        remove_empty(posixpath.join(location, PIXELS))
    return Vacuumed([*ours, *pixels], len(there) - len(ours))


def _pixels_of_none(location: str, removed: set[str], keep_days: float) -> list[str]:
    """Return the pixel files of data files that are not there, or that are removed now.

    Args:
        location: The table.
        removed: The paths of the data files that are removed.
        keep_days: Runs that began since are left alone: they may be writing.
    """
    system, inner = filesystem(location)

    def names(*folder: str) -> list[str]:
        selector = fs.FileSelector(posixpath.join(inner, *folder), allow_not_found=True)
        try:
            return sorted(entry.base_name for entry in system.get_file_info(selector))
        except NotADirectoryError:  # somebody's file
            return []

    since = datetime.now(timezone.utc) - timedelta(days=keep_days)
    gone = {pixel_path(path) for path in removed}
    found = []
    for run in filter(is_run_id, names(PIXELS)):
        there = {pixel_path(posixpath.join(run, name)) for name in names(run)}
        for name in names(PIXELS, run):
            path = posixpath.join(PIXELS, run, name)
            if path in gone or (path not in there and began(run) < since):
                found.append(path)
    return found


def _is_of_a_run(path: str) -> bool:
    folder, _, name = path.partition("/")
    return is_run_id(folder) and name.startswith("part-") and name.endswith(".parquet")


def _current_within(location: str, days: float) -> list[int]:
    """Return the versions that were the latest one at some time within the last days."""
    since = datetime.now(timezone.utc) - timedelta(days=days)
    found: list[int] = []
    for commit in reversed(commits(location)):
        found.append(commit.version)
        if commit.written is not None and commit.written < since:
            break
    return found
