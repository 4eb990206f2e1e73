"""Passes on Spark: work on the parts of a table, or of a DataFrame, whose results are merged.

Each task leaves its result as one row. Where there are many, tasks merge some each, as a tree: what
a task or the driver holds at a time does not grow with how many there are.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import StorageLevel, TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.errors import raised_in_task
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.schema import ITEM_ID
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.raised import SPARK_ERRORS
from vaeudf.spark.shared import Shared
from vaeudf.spark.tasks import numbered_tasks
from vaeudf.spark.worker import spare_modules
from vaeudf.table.footers import RowGroup, read_row_groups
from vaeudf.table.open import PosteriorTable
from vaeudf.table.passes import Batch, Merge, Work
from vaeudf.table.splits import Split, SplitReader, join, spread

Result = TypeVar("Result")

FIRST_ITEM = "the table's first item has"
"""What says how many dimensions items must have, for messages."""

# Rows that are read together, and rows that are worked on together: their arrays stay in the cache.
# Fewer of wide posteriors.
_ROWS_PER_SPLIT, _NUMBERS_PER_SPLIT = 65_536, 2**22
_ROWS_PER_BATCH, _NUMBERS_PER_BATCH = 4_096, 2**20
_TASKS_PER_CORE = 2
# More executors may start later: no task has more rows than this.
_ROWS_PER_TASK = 2_000_000
# So many results are merged by one task, or by the driver.
_MERGED_AT_ONCE = 16

_PART, _RESULT = "__vaeudf_part", "__vaeudf_result"
_RESULT_SCHEMA = pa.schema([(_PART, pa.int64()), (_RESULT, pa.binary())])
_RESULT_TYPE = from_arrow_schema(_RESULT_SCHEMA)


class Mergeable(Protocol):
    """A summary that another one can be merged into."""

    def merge(self, other: Any) -> None:
        """Take in another part."""


Summary = TypeVar("Summary", bound=Mergeable)


def merge_in_place(one: Summary, other: Summary) -> Summary:
    """Merge a summary into another and return that: for results with a method ``merge``."""
    one.merge(other)
    return one


class TablePasses:
    """Runs passes over a posterior table.

    Attributes:
        table: The table.
        groups: Its row groups that have rows.
        num_tasks: How many tasks share them.
    """

    def __init__(self, spark: SparkSession, table: PosteriorTable) -> None:
        """Cut a table into tasks; only footers are read."""
        Cluster.of(spark).check_seen(*table.snapshot.files[:1])
        self.table = table
        self.groups = [group for group in read_row_groups(table.snapshot) if group.num_rows]
        shares = _cut(spark, self.groups, table.latent_dim)
        self.num_tasks = len(shares)
        self._spark = spark
        self._shares: Shared[list[list[Split]]] = Cluster.of(spark).share(shares)

    def __call__(self, work: Work[Result], merge: Merge[Result]) -> Result:
        """Do the work on every task's items, and merge what comes out of it.

        Args:
            work: What a task does; pickled without cloudpickle, so no closure.
            merge: Merges two results; it may change the first one.
        """
        # Not in the closure: every task would be sent a copy of it.
        shared = Cluster.of(self._spark).share(work)
        batches_of = self._reader()

        def run(number: int) -> Iterator[pa.RecordBatch]:
            yield _result_row(number, shared.value(batches_of(number)))

        try:
            results = numbered_tasks(self._spark, self.num_tasks, run, _RESULT_TYPE)
            return _merged(results, self.num_tasks, merge)
        finally:
            # Every pass has a broadcast of its own; their disk and memory would add up.
            shared.free()

    def rows(
        self, work: Callable[[Iterator[Batch]], Iterator[pa.RecordBatch]], schema: pa.Schema
    ) -> DataFrame:
        """Return the rows that work on every task's items yields, when they are asked for.

        Args:
            work: What a task does.
            schema: Of the rows.
        """
        batches_of = self._reader()
        return numbered_tasks(
            self._spark,
            self.num_tasks,
            lambda number: work(batches_of(number)),
            from_arrow_schema(schema),
        )

    @contextmanager
    def result_and_rows(
        self,
        work: Callable[[Iterator[Batch]], Generator[pa.RecordBatch, None, Result]],
        schema: pa.Schema,
        merge: Merge[Result],
        columns: tuple[str, ...] = (),
    ) -> Iterator[tuple[Result, DataFrame]]:
        """Do the work on every task's items once, for a merged result and for rows besides.

        The rows stay on the executors' disks until the block ends.

        Args:
            work: What a task does: a generator that yields rows and returns its result.
            schema: Of the rows; none is null in its first column.
            merge: Merges two results; it may change the first one.
            columns: The payload columns that batches have.
        """
        batches_of = self._reader(columns)
        both = pa.schema([*_RESULT_SCHEMA, *schema])

        def run(number: int) -> Iterator[pa.RecordBatch]:
            results: list[Result] = []

            def rows() -> Iterator[pa.RecordBatch]:
                results.append((yield from work(batches_of(number))))

            for batch in rows():
                yield _filled(batch, both)
            yield _filled(_result_row(number, results[0]), both)

        found = numbered_tasks(self._spark, self.num_tasks, run, from_arrow_schema(both))
        found = found.persist(StorageLevel.DISK_ONLY)
        try:
            results = found.where(F.col(_RESULT).isNotNull()).select(_PART, _RESULT)
            merged = _merged(results, self.num_tasks, merge)
            yield merged, found.where(F.col(_RESULT).isNull()).select(*schema.names)
        finally:
            found.unpersist()

    def _reader(self, columns: tuple[str, ...] = ()) -> Callable[[int], Iterator[Batch]]:
        # The session, and so this object, cannot be pickled.
        shares, latent_dim = self._shares, self.table.latent_dim
        return lambda number: _read_batches(shares.value[number], latent_dim, columns)


def pass_over_frame(
    frame: DataFrame,
    num_partitions: int,
    work: Callable[[Iterator[pa.RecordBatch]], Result],
    merge: Merge[Result],
) -> Result:
    """Do work on every partition of a DataFrame, and merge what comes out of it.

    Args:
        frame: The rows.
        num_partitions: How many partitions it has, at most; to ask a join itself would run it.
        work: What a task does; that of no rows is the result if there are no partitions.
        merge: Merges two results; it may change the first one.
    """

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        spare_modules()
        context = TaskContext.get()
        assert context is not None
        yield _result_row(context.partitionId(), work(batches))

    return _merged(
        frame.mapInArrow(run, _RESULT_TYPE), num_partitions, merge, lambda: work(iter(()))
    )


def _merged(
    results: DataFrame,
    num_results: int,
    merge: Merge[Result],
    otherwise: Callable[[], Result] | None = None,
) -> Result:
    """Return the results of all parts as one; neighbouring parts are merged first.

    Args:
        results: Rows of results, each part once.
        num_results: How many there are, at most.
        merge: Merges two results.
        otherwise: Makes what is returned if there are none.
    """

    def merge_some(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        spare_modules()
        part, merged = _merge_rows(batches, merge)
        if part is not None:
            yield _result_row(part, merged)

    span = 1
    while num_results > _MERGED_AT_ONCE:
        num_results = math.ceil(num_results / _MERGED_AT_ONCE)
        span *= _MERGED_AT_ONCE
        # Not coalesced: then fewer tasks would make the results, at worst one after the other.
        results = results.repartition(num_results, F.floor(F.col(_PART) / span))
        results = results.sortWithinPartitions(_PART).mapInArrow(merge_some, _RESULT_TYPE)
    try:
        found = results.toArrow()
    except SPARK_ERRORS as error:
        raise raised_in_task(error) or error from None
    part, merged = _merge_rows(found.sort_by(_PART).to_batches(), merge)
    if part is None:
        assert otherwise is not None
        return otherwise()
    return merged  # type: ignore[no-any-return]


def _merge_rows(batches: Iterable[pa.RecordBatch], merge: Merge[Any]) -> tuple[int | None, Any]:
    """Return the first part's number and the merged result; None and None without rows."""
    first, merged = None, None
    for batch in batches:
        for part, data in zip(batch.column(_PART), batch.column(_RESULT), strict=True):
            result = _unpacked(data.as_buffer())
            first, merged = (
                (part.as_py(), result) if first is None else (first, merge(merged, result))
            )
    return first, merged


def _result_row(part: int, result: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {_PART: [part], _RESULT: [_packed(result)]}, schema=_RESULT_SCHEMA
    )


def _packed(result: Any) -> bytes:
    """Return a result as bytes, compressed, for sketches are mostly zeros."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        pickle.dump(result, stream, pickle.HIGHEST_PROTOCOL)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _unpacked(data: pa.Buffer) -> Any:
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        return pickle.loads(stream.read())


def _filled(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with all columns of a schema, null where it has none."""
    return pa.RecordBatch.from_arrays(
        [
            batch.column(field.name)
            if field.name in batch.schema.names
            else pa.nulls(batch.num_rows, field.type)
            for field in schema
        ],
        schema=schema,
    )


def _cut(spark: SparkSession, groups: list[RowGroup], latent_dim: int) -> list[list[Split]]:
    """Return row groups as splits, by the tasks that are to read them all."""
    rows = max(1, min(_ROWS_PER_SPLIT, _NUMBERS_PER_SPLIT // latent_dim))
    # All are read: the boxes are not needed, and would be sent to every task.
    splits = [replace(split, box=None) for split in join(groups, rows)]
    costs = np.array([split.num_rows for split in splits], np.float64)
    by_cores = _TASKS_PER_CORE * Cluster.of(spark).num_cores
    by_rows = -(-int(costs.sum()) // _ROWS_PER_TASK)
    return spread(splits, costs, max(1, min(len(splits), max(by_cores, by_rows))))


def _read_batches(
    splits: list[Split], latent_dim: int, columns: tuple[str, ...]
) -> Iterator[Batch]:
    """Yield the items of some splits, within a task."""
    reader = SplitReader(latent_dim, columns, FIRST_ITEM)
    rows_per_batch = max(1, min(_ROWS_PER_BATCH, _NUMBERS_PER_BATCH // latent_dim))
    for split in splits:
        mu, log_var = reader.posteriors(split)
        for first in range(0, len(mu), rows_per_batch):
            rows = slice(first, first + rows_per_batch)
            items = Gaussians(mu[rows].astype(np.float64), log_var[rows].astype(np.float64))
            payload = _payload(reader, first)
            yield Batch(items, _names(payload), payload)


def _payload(reader: SplitReader, first: int) -> Callable[[NDArray[np.int64]], pa.Table]:
    return lambda rows: reader.items(rows + first)


def _names(
    payload: Callable[[NDArray[np.int64]], pa.Table],
) -> Callable[[NDArray[np.int64]], pa.Array]:
    return lambda rows: payload(rows).column(ITEM_ID).combine_chunks()
