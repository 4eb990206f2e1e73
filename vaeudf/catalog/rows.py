"""Rows of a catalog's Parquet files, read by pyarrow in tasks.

Not by Spark's own reader: it refuses a file for a column that nobody has asked for, and it takes
the images through the JVM to hash them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as attribute
from itertools import islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as is_
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.catalog.files import CatalogFile
from vaeudf.catalog.names import find_column
from vaeudf.catalog.reader import BUFFER_BYTES, ParquetImages, check_unchanged, hashed_version
from vaeudf.catalog.types import converted, has_nanoseconds, is_exact
from vaeudf.errors import InputError, root_cause
from vaeudf.schema import IMAGE_FILE, IMAGE_LENGTH, IMAGE_MODIFIED, IMAGE_ROW
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.tasks import numbered_tasks
from vaeudf.storage.locations import filesystem
from vaeudf.table.ids import bits_of_whole_numbers

HASH = "__vaeudf_hash"
"""The column with an image's hash."""

_PLACE = pa.schema(
    [
        (IMAGE_FILE, pa.string()),
        (IMAGE_ROW, pa.int64()),
        (IMAGE_LENGTH, pa.int64()),
        (IMAGE_MODIFIED, pa.float64()),
    ]
)
_TASKS_PER_CORE = 4
# Work of a task, below which another one costs more than it saves.
_FEWEST_BYTES = 8 * 2**20
_BYTES_OF_PLACE = 100
# Rows are passed on so many at a time, or fewer that have so many bytes.
_ROWS_PER_BATCH = 10_000
_BYTES_PER_BATCH = 4 * 2**20
# Of a store, what a row group has is fetched ahead of time, unless that would fill the memory.
_MOST_BYTES_FETCHED = 64 * 2**20


class Field(NamedTuple):
    """A column of what is read.

    Attributes:
        name: Its name there.
        kind: Its type.
        source: What the catalog calls it.
        has_ids: Whether its values are the items' ids.
    """

    name: str
    kind: pa.DataType
    source: str
    has_ids: bool = False


@dataclass(frozen=True)
class FileRows:
    """Rows of a file.

    Attributes:
        file: The file.
        stored: What the file calls the columns that are read; None where it lacks one.
        values: Columns that have the same value in all rows, by their place among the fields.
        deleted: The rows that are left out, ascending.
        inner: Of what is a field of a struct, the names below the stored one, by its place.
    """

    file: CatalogFile
    stored: tuple[str | None, ...]
    values: dict[int, pa.Scalar]
    deleted: NDArray[np.int64] | None = None
    inner: Mapping[int, tuple[str, ...]] = attribute(default_factory=dict)


def list_rows(
    spark: SparkSession, fields: Sequence[Field], parts: Sequence[FileRows], image: str | None
) -> DataFrame:
    """Return the rows, and where each is.

    Args:
        spark: The session.
        fields: The columns to read.
        parts: The files.
        image: The column with the images, if they are to be hashed.

    Returns:
        The fields' columns; :data:`HASH`, if asked for; and :data:`vaeudf.schema.PLACE`.
    """
    own = [pa.field(field.name, field.kind) for field in fields]
    own += [] if image is None else [pa.field(HASH, pa.string())]
    schema = pa.schema([*own, *_PLACE])

    def read(part: FileRows, groups: Sequence[int]) -> Iterator[pa.RecordBatch]:
        return _rows(part, groups, fields, schema, image)

    return _in_tasks(spark, parts, [_bytes_per_row(part, image) for part in parts], read, schema)


def find_inexact(
    spark: SparkSession, fields: Sequence[Field], parts: Sequence[FileRows]
) -> dict[str, str]:
    """Return the columns with nanoseconds that are lost in microseconds, and a file of each."""
    fine = [_with_nanoseconds(part) for part in parts]
    if not any(fine):
        return {}
    schema = pa.schema([("name", pa.string()), ("file", pa.string())])

    def check(part: FileRows, groups: Sequence[int]) -> Iterator[pa.RecordBatch]:
        own = _with_nanoseconds(part)
        names = [str(part.stored[place]) for place in own]
        lost = set()
        for _, batch in _batches(part, groups, names, _ROWS_PER_BATCH) if names else ():
            for place, name in zip(own, names, strict=True):
                if not is_exact(batch.column(name), fields[place].kind):
                    lost.add(fields[place].name)
        rows = [{"name": name, "file": part.file.uri} for name in sorted(lost)]
        yield from pa.Table.from_pylist(rows, schema).to_batches()

    costs = [8.0 * len(places) for places in fine]
    rows = _in_tasks(spark, parts, costs, check, schema).collect()
    return {row["name"]: row["file"] for row in sorted(rows, reverse=True)}


def _with_nanoseconds(part: FileRows) -> list[int]:
    return [
        place
        for place, name in enumerate(part.stored)
        if name is not None
        and place not in part.values
        and has_nanoseconds(part.file.columns[name].kind)
    ]


def _bytes_per_row(part: FileRows, image: str | None) -> float:
    columns = part.file.columns
    names = {n for place, n in enumerate(part.stored) if n is not None and place not in part.inner}
    size = sum(columns[name].size for name in names)
    if image is not None:
        path = find_column(part.file.kinds, image)
        size += 0 if path is None else columns[path[0]].size
    return _BYTES_OF_PLACE + size / max(1, part.file.num_rows)


def _in_tasks(
    spark: SparkSession,
    parts: Sequence[FileRows],
    costs: Sequence[float],
    read: Callable[[FileRows, Sequence[int]], Iterator[pa.RecordBatch]],
    schema: pa.Schema,
) -> DataFrame:
    """Return what a function yields of each file's row groups, neighbours in the same task.

    Args:
        spark: The session.
        parts: The files.
        costs: Bytes to read for a row, by file.
        read: Takes a file and some of its row groups.
        schema: Of what it yields.
    """
    row_type = from_arrow_schema(schema, prefer_timestamp_ntz=True)
    groups = [
        (number, group, rows * cost)
        for number, (part, cost) in enumerate(zip(parts, costs, strict=True))
        for group, rows in enumerate(part.file.groups)
        if rows
    ]
    if not groups:
        return spark.createDataFrame([], row_type)
    cluster = Cluster.of(spark)
    total = sum(cost for _, _, cost in groups)
    most = min(len(groups), _TASKS_PER_CORE * cluster.num_cores)
    num_tasks = max(1, min(most, int(total // _FEWEST_BYTES)))
    shares: list[dict[int, list[int]]] = [{} for _ in range(num_tasks)]
    before = 0.0
    for number, group, cost in groups:
        # By the middle of each, so that all tasks have something to do, and none much more.
        share = shares[min(num_tasks - 1, int((before + cost / 2) / total * num_tasks))]
        share.setdefault(number, []).append(group)
        before += cost
    shared = cluster.share((list(parts), shares))

    def work(task: int) -> Iterator[pa.RecordBatch]:
        files, dealt = shared.value
        for number, own in dealt[task].items():
            yield from read(files[number], own)

    return numbered_tasks(spark, num_tasks, work, row_type)


def _batches(
    part: FileRows, groups: Sequence[int], names: Sequence[str], most_rows: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield rows of some columns as the file has them, and the number of the first in the file.

    Raises:
        InputError: The file is not as it was listed, or cannot be read.
    """
    file = part.file
    check_unchanged(file.uri, file.length, file.modified)
    starts = np.cumsum([0, *file.groups])
    with _readable(file):
        system, inner = filesystem(file.uri)
        size = sum(file.columns[name].size for name in names if name in file.columns)
        fetched = size / max(1, len(file.groups)) <= _MOST_BYTES_FETCHED
        with pq.ParquetFile(
            inner,
            filesystem=system,
            pre_buffer=fetched,
            buffer_size=0 if fetched else BUFFER_BYTES,
            coerce_int96_timestamp_unit="us",
        ) as opened:
            for group in groups:
                first = int(starts[group])
                for batch in opened.iter_batches(
                    most_rows, row_groups=[group], columns=list(names), use_threads=False
                ):
                    yield first, batch
                    first += batch.num_rows


@contextmanager
def _readable(file: CatalogFile) -> Iterator[None]:
    """Raise InputError for what pyarrow raises of a damaged file."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"file {file.uri} of the catalog cannot be read: {root_cause(error)} Mend it, or move "
            "it away."
        ) from None


def _rows(
    part: FileRows,
    groups: Sequence[int],
    fields: Sequence[Field],
    schema: pa.Schema,
    image: str | None,
) -> Iterator[pa.RecordBatch]:
    file = part.file
    whole = {n for place, n in enumerate(part.stored) if n is not None and place not in part.inner}
    # Only the field: a struct with a path in it may have an image's bytes beside that.
    fields_of = {".".join([str(part.stored[place]), *path]) for place, path in part.inner.items()}
    names = sorted(whole | fields_of)
    size = sum(file.columns[name].size for name in whole)
    mean = max(1, size // max(1, file.num_rows))
    most_rows = max(1, min(_ROWS_PER_BATCH, _BYTES_PER_BATCH // mean))
    images = None if image is None else _hashes(file, image, groups)
    for first, batch in _batches(part, groups, names, most_rows):
        count = batch.num_rows
        columns: list[pa.Array] = []
        for place, (field, name) in enumerate(zip(fields, part.stored, strict=True)):
            if place in part.values:
                columns.append(pa.repeat(part.values[place], count))
            elif name is None:
                columns.append(pa.nulls(count, field.kind))
            elif place in part.inner:
                value = pc.struct_field(batch.column(name), list(part.inner[place]))
                columns.append(converted(value, field.kind))
            else:
                columns.append(_converted(batch.column(name), name, field, part))
            _check_text(columns[-1], field, part)
        if images is not None:
            columns.append(pa.array(islice(images, count), pa.string()))
        numbers = np.arange(first, first + count)
        columns.append(pa.repeat(file.uri, count))
        columns.append(pa.array(numbers))
        columns.append(pa.repeat(file.length, count))
        columns.append(pa.repeat(file.modified, count))
        rows = pa.RecordBatch.from_arrays(columns, schema=schema)
        if part.deleted is not None:
            start, end = np.searchsorted(part.deleted, [first, first + count])
            live = np.ones(count, dtype=bool)
            live[part.deleted[start:end] - first] = False
            rows = rows.filter(pa.array(live))
        for place, field in enumerate(fields):
            if field.has_ids:
                _check_ids(rows.column(place), field, part, part.stored[place])
        yield rows


def _hashes(file: CatalogFile, image: str, groups: Sequence[int]) -> Iterator[str]:
    with _readable(file):
        for data in ParquetImages(file.uri, image).rows(groups):
            yield hashed_version(data)


def _converted(array: pa.Array, name: str, field: Field, part: FileRows) -> pa.Array:
    try:
        # First to the file's own carried type: of 16 bytes, that says whether they are a UUID.
        carried = part.file.columns[name].carried
        own = array if carried is None else converted(array, carried)
        return converted(own, field.kind)
    except pa.ArrowException as error:
        if is_.is_string(field.kind):
            raise _no_text(field, part, error) from None
        raise InputError(
            f"column {field.source!r} is {array.type} in {part.file.uri}, and other files of the "
            f"catalog need {field.kind}, which does not hold all of its values: "
            f"{root_cause(error)} Write all files alike, or name with --payload-columns what is "
            "to be carried."
        ) from None


def _check_text(array: pa.Array, field: Field, part: FileRows) -> None:
    """Refuse text that is no UTF-8: some writers do not check it, and no reader would take it."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise _no_text(field, part, error) from None


def _no_text(field: Field, part: FileRows, error: pa.ArrowException) -> InputError:
    return InputError(
        f"column {field.source!r} has bytes in {part.file.uri} that are not text in UTF-8: "
        f"{root_cause(error)}. Convert it to text, or name another column."
    )


def _check_ids(ids: pa.Array, field: Field, part: FileRows, stored: str | None) -> None:
    """Refuse ids in floating point that are no whole numbers, or may have been rounded to others.

    Raises:
        InputError: There are some.
    """
    kind = field.kind if stored is None else part.file.columns[stored].kind
    if is_.is_dictionary(kind):
        kind = kind.value_type
    if not (is_.is_floating(kind) and is_.is_floating(ids.type)):
        return
    values = pc.drop_null(ids).to_numpy(zero_copy_only=False)
    numbers = values.astype(np.float64)
    bits = bits_of_whole_numbers(kind)
    about = f"column {field.source!r} in {part.file.uri} has ids of type {kind}, such as"
    rounded = numbers[(np.abs(numbers) >= 2.0**bits) & np.isfinite(numbers)]
    if len(rounded):
        raise InputError(
            f"{about} {rounded[0]:.0f}; from 2^{bits} on that type can no longer represent every "
            "whole number, and an id may have been rounded to another one. Write them again, as "
            "text or int64, from where they are still exact."
        )
    wrong = values[~np.isfinite(numbers) | (numbers != np.rint(numbers))]
    if len(wrong):
        raise InputError(
            f"{about} {wrong[0]!s}; expected text or whole numbers. Convert them to text, leave "
            "out rows without an id, or name another column with --id-column."
        )
