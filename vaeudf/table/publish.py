"""Publish a version of a posterior table: check its files, then name them in one atomic commit.

Executors write Parquet files into the table's folder. They are part of no version until
:func:`publish` names them.
"""

from __future__ import annotations

import json
import logging
import posixpath
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, TableFeatures
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction
from pyarrow import fs

from vaeudf.errors import PublishConflict, TableError, VaeUdfError, root_cause
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, RUN_ID_KEY, SOURCE_VERSION
from vaeudf.storage.locations import absolute, filesystem
from vaeudf.table.delta import (
    Commit,
    commit_path,
    commits,
    create_delta,
    is_last_in_log,
    last_transaction,
    latest_version,
    open_delta,
    publication_number,
    read_commits,
    transaction,
)
from vaeudf.table.footers import read_footer
from vaeudf.table.open import FORMAT, FORMAT_KEY, LATENT_DIM_KEY, PosteriorTable, open_table
from vaeudf.table.pixel_files import pixel_path
from vaeudf.table.snapshot import Snapshot

log = logging.getLogger(__name__)

# Footers read at a time; an object store answers each after some 50 ms.
_THREADS = 16


@dataclass(frozen=True)
class DataFile:
    """A Parquet file in the table's folder, written but not necessarily published.

    Attributes:
        path: Relative to the table.
        size: Bytes.
        num_rows: Rows.
        min_id: The lowest item_id.
        max_id: The highest item_id.
        pixel_bytes: Bytes of its pixel file; 0 if its pixels are not kept.
        repeated_id: An item_id that two of its rows have; None if there is none.
    """

    path: str
    size: int
    num_rows: int
    min_id: str
    max_id: str
    pixel_bytes: int = 0
    repeated_id: str | None = None


def check_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema as it is, if Delta has a type for every column.

    Raises:
        TableError: A column has a type that Delta lacks.
    """
    for field in schema:
        try:
            Schema.from_arrow(pa.schema([field]))
        except Exception as error:  # deltalake raises plain Exceptions here, with a Rust backtrace
            raise TableError(
                f"column {field.name!r} of type {field.type} cannot be stored in a Delta table "
                f"({root_cause(error)}); leave it out with --payload-columns."
            ) from None
    return schema


def unpublished(
    uri: str, files: Sequence[DataFile], latent_dim: int, provenance: Mapping[str, str]
) -> PosteriorTable:
    """Return files that are written, but are no version yet, as a table to read.

    Args:
        uri: The table.
        files: Its next version.
        latent_dim: Of the posteriors.
        provenance: Of the posteriors, see :func:`vaeudf.schema.posterior_schema`.
    """
    location = absolute(uri)
    uris = tuple(posixpath.join(location, file.path) for file in files)
    snapshot = Snapshot(uris, sum(file.num_rows for file in files))
    return PosteriorTable(location, None, latent_dim, snapshot, dict(provenance), 0)


def publish(
    uri: str,
    previous: PosteriorTable | None,
    files: Sequence[DataFile],
    schema: pa.Schema,
    latent_dim: int,
    run_id: str,
) -> PosteriorTable:
    """Make these files the table's next version, in one commit.

    Args:
        uri: The table.
        previous: The version that this one replaces, from :func:`open_for_publishing`; None if
            there was no table.
        files: All data files of the new version.
        schema: Their schema, from :func:`vaeudf.schema.posterior_schema`.
        latent_dim: n.
        run_id: The run, kept with the commit.

    Raises:
        PublishConflict: Somebody else published since ``previous`` was opened.
        TableError: delta-rs cannot commit to the table, or a file is not there, not as it was
            written, or has numbers that are not finite; or what was published cannot be opened,
            and the version before is back.
    """
    location = absolute(uri)
    _check_files(location, files, schema)
    now = int(time.time() * 1000)
    adds = [
        AddAction(
            path=file.path,
            size=file.size,
            partition_values={},
            modification_time=now,
            data_change=True,
            stats=_stats(file, schema),
        )
        for file in files
    ]
    delta_schema = Schema.from_arrow(schema)
    # The same application id with the next number makes the commit a compare-and-set: of two
    # runs that started from one version, delta-rs lets only the first through.
    number = (previous.transaction if previous else 0) + 1
    commit = CommitProperties(
        app_transactions=[transaction(number)],
        custom_metadata={RUN_ID_KEY: run_id},
    )
    try:
        if previous is None:
            # Empty: delta-rs refuses properties of ours along with files. Until the commit that
            # follows the table is there but unpublished; see open_table.
            properties = {FORMAT_KEY: FORMAT, LATENT_DIM_KEY: str(latent_dim)}
            delta = create_delta(location, delta_schema, properties)
            # Two runs may both succeed in creating it; one of them then finds the other's version.
            if last_transaction(delta):
                raise CommitFailedError("its first version was published in the meantime")
        else:
            delta = open_delta(location, previous.version)
            # delta-rs would let an INSERT of others go first, and both versions' rows be there.
            if _newer(location, previous):
                raise CommitFailedError("there is a newer version")
            _allow_types(delta, schema, previous.transaction)
        # "overwrite" removes the version's own files, and alone replaces the schema and with it
        # the provenance in the same commit.
        delta.create_write_transaction(
            list(adds), "overwrite", delta_schema, commit_properties=commit
        )
    except CommitFailedError as error:
        # If a store's answer is lost, delta-rs tries again and finds the commit there already.
        if _our_commit(location, previous, files) is None:
            newer = _newer(location, previous)
            if previous is not None and not newer:
                raise TableError(
                    f"table {uri} took no new version ({root_cause(error)}). Nothing of this run "
                    "is visible."
                ) from None
            raise _conflict(uri, newer) from None
    except (DeltaError, OSError) as error:
        # The checkpoint that follows a commit can fail, for example.
        if _our_commit(location, previous, files) is None:
            raise
        log.warning("%s is published, as it should be, but: %s", uri, root_cause(error))
    return _published(uri, previous, files)


def _newer(location: str, previous: PosteriorTable | None) -> list[Commit]:
    """Return the commits that have changed the table since a version, the oldest first."""
    return [one for one in commits(location, _next(previous)) if not one.is_note]


def _next(previous: PosteriorTable | None) -> int:
    return 0 if previous is None or previous.version is None else previous.version + 1


def _conflict(uri: str, newer: Sequence[Commit]) -> PublishConflict:
    # A run creates the table before it publishes to it.
    by_engine = newer and not newer[-1].run_id and newer[-1].operation != "CREATE TABLE"
    did = f"another engine changed {uri}" if by_engine else f"another run published to {uri}"
    which = f" ({newer[-1]})" if newer else ""
    return PublishConflict(
        f"{did} while this one was encoding{which}. "
        "Nothing of this run is visible; start it again to build on the new version."
    )


def _our_commit(
    location: str, previous: PosteriorTable | None, files: Sequence[DataFile]
) -> int | None:
    """Return the version that published these files after another version, if there is one."""
    paths = {file.path for file in files}
    for version, actions in read_commits(location, _next(previous)):
        if publication_number(actions) is None:
            continue
        if paths == {action["add"]["path"] for action in actions if "add" in action}:
            return version
    return None


def _published(
    uri: str, previous: PosteriorTable | None, files: Sequence[DataFile]
) -> PosteriorTable:
    """Open what was published; if it cannot be used, put the version before back.

    Raises:
        TableError: It cannot be opened, or has not the rows that were written.
        PublishConflict: It has files of others besides.
    """
    location = absolute(uri)
    version = _our_commit(location, previous, files)
    if version is None:
        raise PublishConflict(
            f"what this run published to table {uri} is not in its log: another writer wrote the "
            "same version at the same time, and the store took both. It does not support "
            "conditional writes (If-None-Match). Nothing of this run is visible; run it again when "
            "no other program writes to the table."
        )
    try:
        table = open_table(uri, version)
    except (VaeUdfError, DeltaError, OSError) as error:
        if not _withdraw(location, version):
            raise
        raise TableError(
            f"version {version}, which was published to {uri}, cannot be opened "
            f"({root_cause(error)}). The table is back at version {version - 1}, and nothing of "
            "this run is visible."
        ) from None
    expected = sum(file.num_rows for file in files)
    others = {*table.files} - {posixpath.join(table.uri, file.path) for file in files}
    if not others and table.num_items == expected:
        return table
    undone = _undo(table)
    if others and undone:
        raise _conflict(uri, [one for one in commits(location) if one.version < version])
    kept = f"The rows of version {version - 1} are back" if undone else "It could not be undone"
    raise TableError(
        f"version {version} of table {uri} has {table.num_items} items, and {expected} were "
        f"written. {kept}; maintain_table --action describe shows who wrote what."
    )


def _undo(table: PosteriorTable) -> bool:
    """Restore the version before one that is the latest; return whether that was done."""
    assert table.version is not None
    delta = open_delta(table.uri)
    if delta.version() != table.version:
        return False
    commit = CommitProperties(app_transactions=[transaction(table.transaction + 1)])
    try:
        delta.restore(table.version - 1, commit_properties=commit)
    except (CommitFailedError, DeltaError):
        return False
    return True


def _withdraw(location: str, version: int) -> bool:
    """Take a version that nobody can open out of the log; return whether that was done.

    Only if nothing came after it. Not by a RESTORE, which would have to open it.
    """
    if not is_last_in_log(location, version):
        return False
    try:
        open_delta(location, version - 1)
    except (DeltaError, OSError):
        return False  # it is the store, and not what was published
    system, inner = filesystem(commit_path(location, version))
    system.delete_file(inner)
    return latest_version(location) == version - 1


def _allow_types(delta: DeltaTable, schema: pa.Schema, number: int) -> None:
    """Enable the table feature that timestamps without a time zone need.

    delta-rs does so when it creates a table, but not when it commits another schema to one. Without
    the feature, the table cannot be read any more.
    """
    features = delta.protocol().writer_features or []
    if not any(_is_local_time(field.type) for field in schema) or "timestampNtz" in features:
        return
    delta.alter.add_feature(
        TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True
    )
    delta.update_incremental()
    # The commit that follows now starts from here: what came in between would go unnoticed.
    if last_transaction(delta) != number:
        raise CommitFailedError("a version was published in the meantime")


def _is_local_time(kind: pa.DataType) -> bool:
    if pa.types.is_timestamp(kind):
        return kind.tz is None
    return any(_is_local_time(kind.field(i).type) for i in range(kind.num_fields))


def _check_files(location: str, files: Sequence[DataFile], schema: pa.Schema) -> None:
    """Check what delta-rs does not: that the files are there, and as they were written."""
    system, inner = filesystem(location)
    written = [("data file", file.path, file.size) for file in files]
    written += [
        ("pixel file", pixel_path(file.path), file.pixel_bytes)
        for file in files
        if file.pixel_bytes
    ]
    infos = system.get_file_info([posixpath.join(inner, path) for _, path, _ in written])
    for (kind, path, size), info in zip(written, infos, strict=True):
        if info.type != fs.FileType.File or info.size != size:
            raise TableError(
                f"{kind} {path} should have {size} bytes and has {info.size}; "
                "it changed between writing and publishing. Nothing was published."
            )

    def check(file: DataFile) -> None:
        path = posixpath.join(inner, file.path)
        try:
            footer = pq.read_metadata(path, filesystem=system)
            found = footer.schema.to_arrow_schema()
            groups = read_footer(posixpath.join(location, file.path))
        except (OSError, pa.ArrowInvalid) as error:
            raise TableError(
                f"data file {file.path} cannot be read ({root_cause(error)})."
            ) from None
        finite = all(group.box is None or group.box.is_finite for group in groups)
        if footer.num_rows != file.num_rows or not found.equals(schema) or not finite:
            raise TableError(
                f"data file {file.path} has {footer.num_rows} rows of {', '.join(found.names)}, "
                f"{'all finite' if finite else 'with a mu or log_var that is not finite'}; "
                f"expected {file.num_rows} finite rows of {', '.join(schema.names)}, of the types "
                "that were written. Nothing was published."
            )

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(check, files))


def _stats(file: DataFile, schema: pa.Schema) -> str:
    required = [name for name in (ITEM_ID, MU, LOG_VAR, SOURCE_VERSION) if name in schema.names]
    return json.dumps(
        {
            "numRecords": file.num_rows,
            "minValues": {ITEM_ID: file.min_id},
            "maxValues": {ITEM_ID: file.max_id},
            "nullCount": dict.fromkeys(required, 0),
        }
    )
