"""Work that is known by its number, in tasks of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from vaeudf.spark.worker import spare_modules


def numbered_tasks(
    spark: SparkSession,
    num_tasks: int,
    work: Callable[[int], Iterator[pa.RecordBatch]],
    row_type: str | StructType,
) -> DataFrame:
    """Return the rows that ``work(0)`` … ``work(num_tasks - 1)`` yield, each run in its own task.

    Args:
        spark: The session.
        num_tasks: How many tasks.
        work: Pickled for every task: what is large belongs in a shared value.
        row_type: The type of the rows.
    """

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        spare_modules()
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from work(number)

    return spark.range(0, num_tasks, 1, num_tasks).mapInArrow(run, row_type)
