"""Work in tasks: on batches of a DataFrame's rows, or known by its number, in tasks of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import LongType, StructField, StructType

from vaeudf.schema import quoted
from vaeudf.spark.counters import TaskCounts
from vaeudf.spark.worker import spare_modules

Batches = Iterator[pa.RecordBatch]

_COUNT = "__vaeudf_count_"


def numbered_tasks(
    spark: SparkSession,
    num_tasks: int,
    work: Callable[[int], Batches],
    row_type: str | StructType,
    counts: TaskCounts | None = None,
) -> DataFrame:
    """Return the rows that ``work(0)`` … ``work(num_tasks - 1)`` yield, each run in its own task.

    Args:
        spark: The session.
        num_tasks: How many tasks.
        work: Pickled for every task: what is large belongs in a shared value.
        row_type: The type of the rows.
        counts: What the work counts into.
    """

    def run(batches: Batches) -> Batches:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from work(number)

    return tasks_on(spark.range(0, num_tasks, 1, num_tasks), run, row_type, counts)


def tasks_on(
    frame: DataFrame,
    work: Callable[[Batches], Batches],
    row_type: str | StructType,
    counts: TaskCounts | None = None,
) -> DataFrame:
    """Return the rows that work on each partition of a DataFrame yields.

    Args:
        frame: The rows to work on.
        work: Pickled for every task: what is large belongs in a shared value.
        row_type: The type of the rows.
        counts: What the work counts into.
    """

    def run(batches: Batches) -> Batches:
        spare_modules()
        yield from work(batches)

    in_rows = {} if counts is None else counts.in_rows()
    if counts is None or not in_rows:
        return frame.mapInArrow(run, row_type)
    assert isinstance(row_type, StructType)

    columns = [f"{_COUNT}{name}" for name in in_rows]
    both = StructType(
        [
            # A row of counts has nothing else.
            *(StructField(field.name, field.dataType) for field in row_type),
            *(StructField(column, LongType()) for column in columns),
        ]
    )

    def run_and_count(batches: Batches) -> Batches:
        schema = _arrow_schema(row_type)
        for batch in run(batches):
            schema = batch.schema
            nothing = [pa.nulls(batch.num_rows, pa.int64())] * len(columns)
            yield pa.RecordBatch.from_arrays(
                [*batch.columns, *nothing], names=[*schema.names, *columns]
            )
        # The very objects that the work has counted into: both are in what this task was sent.
        numbers = [pa.array([count.here], pa.int64()) for count in counts.in_rows().values()]
        yield pa.RecordBatch.from_arrays(
            [*(pa.nulls(1, field.type) for field in schema), *numbers],
            names=[*schema.names, *columns],
        )

    counted = frame.mapInArrow(run_and_count, both)
    sums = [F.sum(column).alias(name) for name, column in zip(in_rows, columns, strict=True)]
    observation = Observation()
    told = _Told(observation, counted.agg(*sums))
    for name, count in in_rows.items():
        count.hear(partial(told, name))
    rows = counted.observe(observation, *sums).where(F.col(columns[0]).isNull())
    return rows.select(*(F.col(quoted(field.name)) for field in row_type))


def _arrow_schema(row_type: StructType) -> pa.Schema:
    """Return the schema of rows as Spark's workers have them; its times are in UTC."""
    # Earlier versions of PySpark take UTC without a word.
    told = "timezone" in inspect.signature(to_arrow_schema).parameters
    return to_arrow_schema(row_type, **({"timezone": "UTC"} if told else {}))  # type: ignore[arg-type]


class _Told:
    """Tells the sums of a DataFrame's rows of counts."""

    def __init__(self, observation: Observation, sums: DataFrame) -> None:
        self._observation = observation
        self._sums = sums
        self._found: dict[str, int] | None = None

    def __call__(self, name: str) -> int:
        if self._found is None:
            # Where not one row is left, Spark drops the part of a plan that has been observed. Then
            # the tasks, which have found nothing, run once more.
            found = self._observation.get or self._sums.collect()[0].asDict()
            self._found = {name: number or 0 for name, number in found.items()}
        return self._found[name]
