"""What the footers of a catalog's Parquet files say, read by the driver, or by tasks if many."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from vaeudf.catalog.types import carried_type, num_leaves
from vaeudf.errors import InputError, raised_in_task, root_cause
from vaeudf.images.formats import kind_of
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.tasks import numbered_tasks
from vaeudf.storage.locations import filesystem

# Footers read at a time; a store answers each request after some 50 ms.
_THREADS = 16
# The driver has read fewer before a task would have started.
_MANY = 500
_FEWEST_PER_TASK = 50
_TASKS_PER_CORE = 2
_HEAD_BYTES = 64


class Listed(NamedTuple):
    """A file as it was listed; length, and seconds since 1970, are None if not known yet."""

    uri: str
    length: int | None = None
    modified: float | None = None


class StoredColumn(NamedTuple):
    """A column of a file.

    Attributes:
        kind: Its type.
        carried: The type that it is carried in; None if there is none.
        size: Its bytes in the whole file, before compression.
    """

    kind: pa.DataType
    carried: pa.DataType | None
    size: int


@dataclass(frozen=True)
class CatalogFile:
    """A Parquet file of a catalog.

    Attributes:
        uri: Where it is.
        length: Its bytes.
        modified: When it was written last, in seconds since 1970.
        groups: How many rows each of its row groups has.
        columns: Its columns by name, but for those of which it has two with one name.
        repeated: The names of these.
    """

    uri: str
    length: int
    modified: float
    groups: tuple[int, ...]
    columns: Mapping[str, StoredColumn]
    repeated: frozenset[str]

    @property
    def num_rows(self) -> int:
        """How many rows it has."""
        return sum(self.groups)

    @property
    def kinds(self) -> dict[str, pa.DataType]:
        """The types of its columns."""
        return {name: column.kind for name, column in self.columns.items()}


def read_footers(spark: SparkSession, files: Sequence[Listed]) -> list[CatalogFile]:
    """Return what the files' footers say, in order.

    Raises:
        InputError: A file cannot be read as Parquet.
    """
    if len(files) < _MANY:
        return _read_all(files)
    cluster = Cluster.of(spark)
    num_tasks = min(_TASKS_PER_CORE * cluster.num_cores, -(-len(files) // _FEWEST_PER_TASK))
    shares = cluster.share([list(files[i::num_tasks]) for i in range(num_tasks)])

    def read_share(task: int) -> Iterator[pa.RecordBatch]:
        found = pickle.dumps(_read_all(shares.value[task]))
        yield pa.RecordBatch.from_pydict({"task": [task], "found": [found]})

    try:
        rows = numbered_tasks(spark, num_tasks, read_share, "task long, found binary").collect()
    except PySparkException as error:
        raise raised_in_task(error) or error from None
    shared = {row["task"]: pickle.loads(row["found"]) for row in rows}
    return [shared[place % num_tasks][place // num_tasks] for place in range(len(files))]


def _read_all(files: Sequence[Listed]) -> list[CatalogFile]:
    if len(files) == 1:
        return [_read(files[0])]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_read, files))


def _read(file: Listed) -> CatalogFile:
    system, inner = filesystem(file.uri)
    length, modified = file.length, file.modified
    try:
        if length is None or modified is None:
            info = system.get_file_info(inner)
            length = info.size
            modified = 0.0 if info.mtime_ns is None else info.mtime_ns / 1e9
        if length == 0:
            raise InputError(
                f"file {file.uri} of the catalog has no bytes; expected Parquet. Write it again, "
                "or move it away."
            )
        with pq.ParquetFile(inner, filesystem=system) as opened:
            footer, schema = opened.metadata, opened.schema_arrow
            columns = _columns(footer, schema)
    except (OSError, pa.ArrowException) as error:
        cause = _other_kind(system, inner) or root_cause(error).rstrip(".")
        raise InputError(
            f"file {file.uri} of the catalog cannot be read as Parquet: {cause}. "
            "Mend it, or move it away."
        ) from None
    groups = tuple(footer.row_group(i).num_rows for i in range(footer.num_row_groups))
    repeated = frozenset(name for name, count in Counter(schema.names).items() if count > 1)
    return CatalogFile(file.uri, length or 0, modified or 0.0, groups, columns, repeated)


def _other_kind(system: fs.FileSystem, inner: str) -> str | None:
    """Return what a file is by its first bytes; None if it begins as Parquet does."""
    try:
        with system.open_input_file(inner) as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, pa.ArrowException):
        return None
    return None if head.startswith((b"PAR1", b"PARE")) else f"it is {kind_of(head)}"


def _columns(footer: pq.FileMetaData, schema: pa.Schema) -> dict[str, StoredColumn]:
    sizes = [0] * footer.num_columns
    for i in range(footer.num_row_groups):
        group = footer.row_group(i)
        for leaf in range(footer.num_columns):
            sizes[leaf] += group.column(leaf).total_uncompressed_size
    columns, start = {}, 0
    for field in schema:
        end = start + num_leaves(field.type)
        leaves = [footer.schema.column(i) for i in range(start, end)]
        carried = carried_type(field.type, leaves)
        columns[field.name] = StoredColumn(field.type, carried, sum(sizes[start:end]))
        start = end
    return {name: columns[name] for name in columns if schema.names.count(name) == 1}
