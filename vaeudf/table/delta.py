"""The posterior table on disk: a Delta table, read and committed without any Spark jar.

One version holds the posteriors of one model. Executors write Parquet files into the table's
folder, where they mean nothing until :func:`publish` names them in one atomic commit.
"""

from __future__ import annotations

import json
import logging
import posixpath
import re
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, TableFeatures, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction
from pyarrow import fs

from vaeudf.errors import PublishConflict, TableError, VaeUdfError, root_cause
from vaeudf.schema import ITEM_ID, LOG_VAR, MODEL_ID_KEY, MU, RUN_ID_KEY, SOURCE_VERSION
from vaeudf.storage.locations import (
    absolute,
    delta_options,
    delta_uri,
    exists,
    filesystem,
    is_empty_folder,
)
from vaeudf.table.footers import read_footer

log = logging.getLogger(__name__)

FORMAT = "1"
FORMAT_KEY = "vaeudf.format"
LATENT_DIM_KEY = "vaeudf.latent_dim"
LOG = "_delta_log"
QUARANTINE = "_quarantine"
STAGING = "_staging"
RUNS = "_runs"

_APP_ID = "vaeudf"
# Footers read at a time; an object store answers each after some 50 ms.
_THREADS = 16
_RUN_ID = re.compile(r"^\d{8}T\d{6}-[0-9a-f]{8}$")


@dataclass(frozen=True)
class DataFile:
    """A Parquet file in the table's folder, written but not necessarily published.

    Attributes:
        path: Relative to the table.
        size: Bytes.
        num_rows: Rows.
        min_id: The lowest item_id.
        max_id: The highest item_id.
    """

    path: str
    size: int
    num_rows: int
    min_id: str
    max_id: str


@dataclass(frozen=True)
class PosteriorTable:
    """One version of a posterior table.

    Attributes:
        uri: Where it is.
        version: The Delta version; None for plain Parquet, which has none.
        latent_dim: n.
        num_items: Rows.
        files: The data files' URIs.
        provenance: What the commit said of its model and catalog; has ``vaeudf.model_id``. Empty
            for plain Parquet.
        transaction: Number of the last publication; the next one must be this plus one.
    """

    uri: str
    version: int | None
    latent_dim: int
    num_items: int
    files: tuple[str, ...]
    provenance: dict[str, str]
    transaction: int

    @property
    def model_id(self) -> str:
        """sha256 of the bundle that the posteriors come from."""
        return self.provenance[MODEL_ID_KEY]


def new_run_id() -> str:
    """Return a name for a run, and for the folder of its files: when it began, and chance."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def open_table(uri: str, version: int | None = None) -> PosteriorTable:
    """Open a posterior table at its latest version, or at an older one.

    Raises:
        TableError: There is no Delta table, it is not one of posteriors, or not at that version.
    """
    table = _open(uri, version)
    if table.transaction == 0:
        raise TableError(
            f"nothing was published to table {uri} by version {table.version}; "
            "run encode_catalog first, or name a later version."
        )
    return table


def open_posteriors(uri: str, version: int | None = None) -> PosteriorTable:
    """Open a posterior table, or a file or folder of plain Parquet with item_id, mu and log_var.

    Raises:
        TableError: It is neither, or plain Parquet was asked for a version.
    """
    location = absolute(uri)
    files = [] if _has_log(location) else _parquet_files(location)
    if not files:
        if exists(location) and not _has_log(location):
            raise TableError(
                f"{uri} holds neither a Delta table nor Parquet; expected a posterior table, as "
                "encode_catalog writes it, or Parquet with item_id, mu and log_var."
            )
        return open_table(uri, version)
    if version is not None:
        raise TableError(
            f"{uri} is plain Parquet, which has no versions; leave out the version {version}."
        )
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(_examine, files))
    num_items = sum(num_rows for num_rows, _ in found)
    latent_dim = next((latent_dim for num_rows, latent_dim in found if num_rows), 0)
    if latent_dim == 0:
        raise TableError(f"{uri} has no posteriors: {num_items} rows, the first without a mu.")
    return PosteriorTable(location, None, latent_dim, num_items, tuple(files), {}, 0)


def _examine(uri: str) -> tuple[int, int]:
    """Return the rows of a file of plain Parquet, and the length of the first mu (or 0).

    Raises:
        TableError: It is none, or lacks a column of posteriors.
    """
    system, inner = filesystem(uri)
    try:
        parquet = pq.ParquetFile(inner, filesystem=system)
    except (OSError, pa.ArrowInvalid) as error:
        raise TableError(f"{uri} cannot be read as Parquet ({error}).") from None
    with parquet:
        names = parquet.schema_arrow.names
        missing = [name for name in (ITEM_ID, MU, LOG_VAR) if name not in names]
        if missing:
            raise TableError(
                f"{uri} has no column {', '.join(missing)}; found {', '.join(names)}, "
                "expected item_id, mu and log_var."
            )
        num_rows = parquet.metadata.num_rows
        if num_rows == 0:
            return 0, 0
        for name in (MU, LOG_VAR):
            kind = parquet.schema_arrow.field(name).type
            if not _is_list_of_numbers(kind):
                raise TableError(
                    f"{uri} has a column {name} of type {kind}; expected lists of numbers."
                )
        first = next(parquet.iter_batches(1, columns=[MU]))
        return num_rows, len(first.column(MU)[0].as_py() or ())


def _parquet_files(location: str) -> list[str]:
    """Return the Parquet files that a path stands for, as Spark would read them."""
    system, inner = filesystem(location)
    info = system.get_file_info(inner)
    if info.type == fs.FileType.File:
        return [location] if location.endswith(".parquet") else []
    if info.type != fs.FileType.Directory:
        return []
    found = system.get_file_info(fs.FileSelector(inner, recursive=True))
    relative = [posixpath.relpath(entry.path, inner) for entry in found if entry.is_file]
    shown = [
        path
        for path in sorted(relative)
        if path.endswith(".parquet") and not any(p[0] in "_." for p in path.split("/"))
    ]
    return [posixpath.join(location, path) for path in shown]


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(check(kind) for check in is_list):
        return False
    numbers = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
    return any(check(kind.value_type) for check in numbers)


def open_delta(location: str, version: int | None = None) -> DeltaTable:
    """Open a Delta table, at its latest version or an older one."""
    return DeltaTable(delta_uri(location), version=version, storage_options=delta_options(location))


def _open(uri: str, version: int | None = None) -> PosteriorTable:
    location = absolute(uri)
    latest = None if version is None else _latest_version(location)
    if version is not None and latest is not None and version > latest:
        # delta-rs would look for every version up to it.
        raise TableError(_no_version(uri, version, latest))
    try:
        delta = open_delta(location, version)
    except (TableNotFoundError, DeltaError, OSError) as error:
        if not exists(location):
            problem = "does not exist"
        elif not _has_log(location):
            problem = "is not a Delta table: it has no commits in _delta_log"
        elif version is not None and latest is not None:
            raise TableError(_no_version(uri, version, latest)) from None
        else:
            problem = f"cannot be read as a Delta table ({error})"
        raise TableError(
            f"table {uri} {problem}; expected a posterior table, as encode_catalog writes it."
        ) from None
    properties = delta.metadata().configuration
    if properties.get(FORMAT_KEY) != FORMAT:
        raise TableError(
            f"table {uri} is a Delta table with columns "
            f"{', '.join(f.name for f in delta.schema().fields)}, but not a posterior table of "
            f"format {FORMAT} (its property {FORMAT_KEY} is {properties.get(FORMAT_KEY)!r})."
        )
    fields = {field.name: field for field in delta.schema().fields}
    return PosteriorTable(
        uri=location,
        version=delta.version(),
        latent_dim=int(properties[LATENT_DIM_KEY]),
        num_items=delta.count(),
        files=tuple(posixpath.join(location, path) for path in _paths(delta)),
        provenance={key: str(value) for key, value in fields[MU].metadata.items()},
        transaction=delta.transaction_version(_APP_ID) or 0,
    )


def _no_version(uri: str, version: int, latest: int) -> str:
    return (
        f"table {uri} has no version {version} that can be read; the latest is {latest}, "
        "and old ones go when the table is vacuumed."
    )


def _latest_version(location: str) -> int | None:
    try:
        return open_delta(location).version()
    except (DeltaError, OSError):
        return None


def open_for_publishing(uri: str, latent_dim: int) -> PosteriorTable | None:
    """Return the table to publish a new version of, or None if it is to be created.

    Raises:
        TableError: Something else stands there, or the table has another latent_dim.
    """
    if "%" in absolute(uri):
        raise TableError(
            f"table {uri} has a % in its path, which delta-rs takes for the beginning of an "
            "escaped character; name another folder."
        )
    if not exists(uri) or is_empty_folder(uri):
        return None
    if not _has_log(absolute(uri)):
        if _holds_only_ours(uri):
            return None
        raise TableError(
            f"{uri} is not empty and not a posterior table; name another folder with --table."
        )
    table = _open(uri)
    if table.latent_dim != latent_dim:
        raise TableError(
            f"table {uri} holds posteriors of latent_dim {table.latent_dim}, but the model has "
            f"latent_dim {latent_dim}; publish them to another --table."
        )
    return table


def quarantine_folder(uri: str, run_id: str) -> str:
    """Return where a run keeps what it could not encode; not there if there is none."""
    # Readers of partitioned Parquet give run_id back as a column.
    return posixpath.join(uri, QUARANTINE, f"run_id={run_id}")


def began(run_id: str) -> datetime:
    """Return when a run began."""
    return datetime.strptime(run_id.split("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)


def is_run_id(name: str) -> bool:
    """Whether a folder's name is that of a run."""
    return _RUN_ID.match(name) is not None


def runs_of(uri: str) -> set[str] | None:
    """Return the runs that published the versions of a table, or None if that cannot be known."""
    if not _has_log(absolute(uri)):
        return set()
    runs = set()
    try:
        # Not history(): it finds none in a folder whose name has a #.
        system, inner = filesystem(posixpath.join(absolute(uri), LOG))
        for entry in system.get_file_info(fs.FileSelector(inner)):
            if entry.path.endswith(".json"):
                with system.open_input_stream(entry.path) as stream:
                    actions = map(json.loads, stream.read().splitlines())
                    runs |= {action["add"]["path"] for action in actions if "add" in action}
        # Commits are forgotten after some weeks; the files of the latest version never are.
        runs |= set(_paths(open_delta(absolute(uri))))
    except Exception:  # a log that cannot be read may name any file
        return None
    return {path.split("/")[0] for path in runs}


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
        TableError: A file is not there, not as it was written, or has numbers that are not finite.
    """
    location = absolute(uri)
    _check_files(location, files, schema)
    now = int(time.time() * 1000)
    adds = [AddAction(file.path, file.size, {}, now, True, _stats(file, schema)) for file in files]
    delta_schema = Schema.from_arrow(schema)
    # The same application id with the next number makes the commit a compare-and-set: of two
    # runs that started from one version, delta-rs lets only the first through.
    transaction = (previous.transaction if previous else 0) + 1
    properties = CommitProperties(
        app_transactions=[Transaction(_APP_ID, transaction)],
        custom_metadata={RUN_ID_KEY: run_id},
    )
    try:
        if previous is None:
            delta = _create(location, delta_schema, latent_dim)
            # Of two runs that create it at once both may succeed, and one find the other's version.
            if delta.transaction_version(_APP_ID):
                raise CommitFailedError("its first version was published in the meantime")
        else:
            delta = open_delta(location, previous.version)
            _allow_types(delta, schema, previous.transaction)
        # "overwrite" removes the version's own files, and alone replaces the schema and with it
        # the provenance in the same commit.
        delta.create_write_transaction(
            list(adds), "overwrite", delta_schema, commit_properties=properties
        )
    except CommitFailedError as error:
        # A store whose answer was lost is asked again, and says that the commit is there already.
        if _is_published(uri, transaction, files):
            return open_table(uri)
        raise PublishConflict(
            f"another run published to {uri} while this one was encoding ({error}). "
            "Nothing of this run is visible; start it again to build on the new version."
        ) from None
    except (DeltaError, OSError) as error:
        # Such as from the checkpoint that is written after the commit.
        if not _is_published(uri, transaction, files):
            raise
        log.warning("%s is published, as it should be, but: %s", uri, root_cause(error))
    return open_table(uri)


def _is_published(uri: str, transaction: int, files: Sequence[DataFile]) -> bool:
    try:
        table = open_table(uri)
    except (VaeUdfError, DeltaError, OSError):
        return False
    paths = {posixpath.join(table.uri, file.path) for file in files}
    return table.transaction == transaction and set(table.files) == paths


def check_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema as it is, if Delta has a type for every column.

    Raises:
        TableError: It has not.
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


def _paths(delta: DeltaTable) -> list[str]:
    # Not file_uris(): it gives the folder's own name percent-encoded, even for a local path.
    paths = pa.table(delta.get_add_actions()).column("path").to_pylist()
    return [str(path) for path in paths]


def _create(location: str, schema: Schema, latent_dim: int) -> DeltaTable:
    """Create the table, empty: delta-rs refuses properties of ours along with files.

    Until the commit that follows the table is there but unpublished; see :func:`open_table`.
    """
    try:
        return DeltaTable.create(
            delta_uri(location),
            schema=schema,
            configuration={FORMAT_KEY: FORMAT, LATENT_DIM_KEY: str(latent_dim)},
            raise_if_key_not_exists=False,
            storage_options=delta_options(location),
        )
    except DeltaError as error:
        if DeltaTable.is_deltatable(delta_uri(location), delta_options(location)):
            raise CommitFailedError(str(error)) from None
        raise


def _allow_types(delta: DeltaTable, schema: pa.Schema, transaction: int) -> None:
    """Enable the table feature that timestamps without a time zone need.

    delta-rs does so when it creates a table, but not when it commits another schema to one, which
    nobody could read any more.
    """
    features = delta.protocol().writer_features or []
    if not any(_is_local_time(field.type) for field in schema) or "timestampNtz" in features:
        return
    delta.alter.add_feature(
        TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True
    )
    delta.update_incremental()
    # The commit that follows now starts from here: what came in between would go unnoticed.
    if delta.transaction_version(_APP_ID) != transaction:
        raise CommitFailedError("a version was published in the meantime")


def _is_local_time(kind: pa.DataType) -> bool:
    if pa.types.is_timestamp(kind):
        return kind.tz is None
    return any(_is_local_time(kind.field(i).type) for i in range(kind.num_fields))


def _check_files(location: str, files: Sequence[DataFile], schema: pa.Schema) -> None:
    """Do what delta-rs does not: look whether the files it is to name are there, and whole."""
    system, inner = filesystem(location)
    infos = system.get_file_info([posixpath.join(inner, file.path) for file in files])
    for file, info in zip(files, infos, strict=True):
        if info.type != fs.FileType.File or info.size != file.size:
            raise TableError(
                f"data file {file.path} should have {file.size} bytes and has {info.size}; "
                "it changed between writing and publishing. Nothing was published."
            )

    def check(file: DataFile) -> None:
        path = posixpath.join(inner, file.path)
        try:
            footer = pq.read_metadata(path, filesystem=system)
            found = footer.schema.to_arrow_schema()
            groups = read_footer(posixpath.join(location, file.path))
        except (OSError, pa.ArrowInvalid) as error:
            raise TableError(f"data file {file.path} cannot be read ({error}).") from None
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


def _holds_only_ours(uri: str) -> bool:
    """Whether a folder without a log holds only what an unfinished first run leaves."""
    system, inner = filesystem(uri)
    if system.get_file_info(inner).type != fs.FileType.Directory:
        return False
    names = {entry.base_name for entry in system.get_file_info(fs.FileSelector(inner))}
    return all(name in (LOG, STAGING, QUARANTINE, RUNS) or is_run_id(name) for name in names)


def _has_log(location: str) -> bool:
    """Whether anything was ever committed; a run may end before its first commit is written."""
    system, inner = filesystem(posixpath.join(location, LOG))
    if system.get_file_info(inner).type == fs.FileType.File:
        return False
    entries = system.get_file_info(fs.FileSelector(inner, allow_not_found=True))
    return any(entry.extension in ("json", "parquet") for entry in entries)
