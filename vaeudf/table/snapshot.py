"""The rows of one version of a Delta table, and how its data files keep them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from numpy.typing import NDArray

from vaeudf.errors import TableError, root_cause
from vaeudf.schema import LOG_VAR, MU
from vaeudf.storage.locations import filesystem
from vaeudf.table.delta import data_paths, is_full
from vaeudf.table.protocol import (
    check_readable,
    column_ids,
    constraints,
    stored_names,
    uses_vectors,
)

_FIELD_ID = b"PARQUET:field_id"


@dataclass(frozen=True)
class FileColumns:
    """The columns of a table, and what its data files call them.

    Attributes:
        schema: The columns as the table's log declares them.
        names: The files' names of the columns that have another one there (column mapping).
        partitions: The columns that are not in the files; the log has their values.
    """

    schema: pa.Schema
    names: Mapping[str, str] = field(default_factory=dict)
    partitions: tuple[str, ...] = ()

    @property
    def stored_schema(self) -> pa.Schema:
        """The columns as the files have them; all may be null, for a file may lack them."""
        in_files = [field for field in self.schema if field.name not in self.partitions]
        return pa.schema([(self.names.get(f.name, f.name), f.type) for f in in_files])

    def stored(self, columns: Iterable[str]) -> list[str]:
        """Return the files' names of some columns."""
        return [self.names.get(name, name) for name in columns]

    def declared(self, rows: pa.Table) -> pa.Table:
        """Return rows of a file with the columns' own names, and with the declared types.

        Raises:
            TableError: A file has a column of a type that cannot be converted.
        """
        own = {stored: name for name, stored in self.names.items()}
        rows = rows.rename_columns([own.get(name, name) for name in rows.column_names])
        for place, name in enumerate(rows.column_names):
            declared = _nullable(self.schema.field(name).type)
            # Whoever reads the posteriors takes any lists of numbers.
            if name in (MU, LOG_VAR) or _nullable(rows.field(place).type) == declared:
                continue
            try:
                column = rows.column(place).cast(declared)
            except pa.ArrowException as error:
                raise TableError(
                    f"column {name!r} is declared as {declared}, and a data file has "
                    f"{rows.field(place).type}, which does not convert ({error})."
                ) from None
            rows = rows.set_column(place, name, column)
        return rows


@dataclass(frozen=True)
class Snapshot:
    """What a version's rows are.

    Attributes:
        files: The data files' URIs.
        num_rows: Rows, without those that deletion vectors delete.
        columns: The columns; None if the files alone say what they have (plain Parquet).
        deleted: The rows of files that deletion vectors delete: their numbers in the file,
            ascending, by the file's URI.
        constraints: What every row must fulfil, also those of the next version: conditions in
            SQL by name.
        partition_values: The values of the partition columns, a row for each file.
    """

    files: tuple[str, ...]
    num_rows: int
    columns: FileColumns | None = None
    deleted: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    constraints: Mapping[str, str] = field(default_factory=dict)
    partition_values: pa.Table | None = None


def take_snapshot(location: str, delta: DeltaTable) -> Snapshot:
    """Return what the rows of a version are.

    Args:
        location: The table, absolute.
        delta: A version of it.

    Raises:
        TableError: The version uses a feature of Delta's that vaeudf does not read.
    """
    check_readable(location, delta)
    paths = data_paths(location, delta)
    _check_inside(location, delta.version(), paths)
    files = tuple(posixpath.join(location, path) for path in paths)
    if len(set(files)) < len(files):
        raise TableError(
            f"version {delta.version()} of table {location} has a data file twice: whoever wrote "
            "it did not remove what it replaced. Roll back to a version before it."
        )
    try:
        deleted = _deleted_rows(delta, files)
    except DeltaError as error:
        raise TableError(
            f"the deletion vectors of table {location} cannot be read ({root_cause(error)}). Roll "
            "back to a version without them."
        ) from None
    columns = FileColumns(
        schema=pa.schema(delta.schema().to_arrow()),
        names=stored_names(delta),
        partitions=tuple(delta.metadata().partition_columns),
    )
    _check_ids(files, columns, column_ids(delta))
    num_rows = _stored_rows(delta, files) - sum(len(rows) for rows in deleted.values())
    values = None
    if columns.partitions:
        rows = pa.table(delta.get_add_actions())
        values = pa.Table.from_struct_array(rows.column("partition")).select(columns.partitions)
    return Snapshot(files, num_rows, columns, deleted, constraints(delta), values)


def tail_depth(uris: Sequence[str]) -> int:
    """Return how many components of their paths tell files apart, from the end.

    Libraries state the same file's URI in different ways: ``file:/``, ``file:///`` or none.
    """
    depth = 1
    while len({tail(uri, depth) for uri in uris}) < len(uris):
        depth += 1
    return depth


def tail(uri: str, depth: int) -> str:
    """Return the last components of a path."""
    return "/".join(uri.split("/")[-depth:])


def _nullable(kind: pa.DataType) -> pa.DataType:
    """Return a type in which all that is nested may be null, as some engines' files have it."""
    if pa.types.is_list(kind):
        return pa.list_(_nullable(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _nullable(f.type)) for f in kind.fields])
    return kind


def _check_inside(location: str, version: int, paths: Sequence[str]) -> None:
    """Check that no data file is one of another table, as those of a shallow clone are."""
    for path in paths:
        if is_full(path):
            raise TableError(
                f"version {version} of table {location} has the data file {path}, named by a full "
                "path: it is a shallow clone, whose files are another table's. Read that table, or "
                "write these rows to a table of their own, such as with CREATE TABLE … AS SELECT."
            )


def _deleted_rows(delta: DeltaTable, files: tuple[str, ...]) -> dict[str, NDArray[np.int64]]:
    # Only with the feature: to look for vectors reads the log once more.
    if not uses_vectors(delta):
        return {}
    depth = tail_depth(files)
    named = {tail(uri, depth): uri for uri in files}
    found = {}
    for batch in pa.table(delta.deletion_vectors()).to_batches():
        for path, live in zip(*batch.columns, strict=True):
            uri = named[tail(unquote(path.as_py()), depth)]
            found[uri] = np.flatnonzero(~live.values.to_numpy(zero_copy_only=False))
    return {uri: rows for uri, rows in found.items() if len(rows)}


def _stored_rows(delta: DeltaTable, files: tuple[str, ...]) -> int:
    """Return how many rows the files have, deleted ones included."""
    counts = pa.table(delta.get_add_actions()).column("num_records")
    if counts.null_count == 0:
        return int(sum(counts.to_pylist()))
    return sum(_footer(uri).num_rows for uri in files)  # other engines may write no statistics


def _footer(uri: str) -> pq.FileMetaData:
    system, inner = filesystem(uri)
    try:
        return pq.read_metadata(inner, filesystem=system)
    except (OSError, pa.ArrowInvalid) as error:
        raise TableError(
            f"data file {uri} cannot be read as Parquet ({root_cause(error)})."
        ) from None


def _check_ids(files: tuple[str, ...], columns: FileColumns, ids: Mapping[str, int]) -> None:
    """Check that files in which columns go by their field ids have the expected names, too."""
    if not ids:
        return
    for uri in files:
        schema = _footer(uri).schema.to_arrow_schema()
        found = {int((f.metadata or {}).get(_FIELD_ID, b"-1")): f.name for f in schema}
        for name, number in ids.items():
            [expected] = columns.stored([name])
            if found.get(number, expected) != expected:
                raise TableError(
                    f"data file {uri} calls the column {name!r}, of field id {number}, "
                    f"{found[number]!r}; the table's log says {expected!r}."
                )
