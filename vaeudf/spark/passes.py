"""Passes over all items of a table on Spark: tasks read its splits, results are merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from vaeudf.errors import raised_in_task
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.schema import ITEM_ID
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.shared import Shared
from vaeudf.table.footers import RowGroup, read_footers
from vaeudf.table.open import PosteriorTable
from vaeudf.table.passes import Batch, Merge, Work
from vaeudf.table.splits import Split, SplitReader, join, spread

Result = TypeVar("Result")

FIRST_ITEM = "the table's first item has"
"""Who says how many dimensions items must have, for messages."""

# Rows that are read together, and rows that are worked on together: their arrays stay in the cache.
_ROWS_PER_SPLIT = 65_536
_NUMBERS_PER_SPLIT = 2**22
_ROWS_PER_BATCH = 4_096
_TASKS_PER_CORE = 2
# Of executors that are yet to come nobody knows: no task has more than this to do.
_ROWS_PER_TASK = 2_000_000
# Results that the driver merges itself; of more, tasks merge some each.
_MERGED_BY_DRIVER = 16


class TablePasses:
    """Runs passes over a posterior table.

    Attributes:
        num_tasks: How many tasks share the table.
        tasks: What they read, broadcast: for each task its splits.
    """

    def __init__(self, spark: SparkSession, table: PosteriorTable) -> None:
        """Cut a table into tasks; only footers are read."""
        self._spark = spark
        shares = cut(
            spark,
            [group for group in read_footers(table.files) if group.num_rows],
            table.latent_dim,
        )
        self.num_tasks = len(shares)
        self.tasks: Shared[list[list[Split]]] = Cluster(spark).share(shares)
        self._latent_dim = table.latent_dim

    def __call__(self, work: Work[Result], merge: Merge[Result]) -> Result:
        """Do the work on every task's items, and merge what comes out of it."""
        tasks, latent_dim = self.tasks, self._latent_dim
        shared = Cluster(self._spark).share(work)

        def run(numbers: Iterable[int]) -> Iterable[Any]:
            for number in numbers:
                yield shared.value(read_batches(tasks.value[number], latent_dim))

        numbers = self._spark.sparkContext.parallelize(range(self.num_tasks), self.num_tasks)
        results = numbers.mapPartitions(run)
        try:
            if self.num_tasks > _MERGED_BY_DRIVER:
                merged: Result = results.treeReduce(merge)
                return merged
            # In the order of the tasks, though none of the merges depends on it.
            first, *others = cast(list[Result], results.collect())
            for other in others:
                first = merge(first, other)
            return first
        except (PySparkException, Py4JError) as error:
            raise raised_in_task(error) or error from None
        finally:
            # A pass has one of its own: what they take of disk and memory would add up.
            shared.free()


def cut(spark: SparkSession, groups: list[RowGroup], latent_dim: int) -> list[list[Split]]:
    """Return a table's row groups as splits, by the tasks that are to read them all.

    Args:
        spark: The session, which says how many tasks pay.
        groups: The row groups, none of them empty.
        latent_dim: n: wide posteriors are read fewer at a time.
    """
    rows = max(1, min(_ROWS_PER_SPLIT, _NUMBERS_PER_SPLIT // latent_dim))
    # All are read: nobody asks for their boxes, which would travel to every task.
    splits = [replace(split, box=None) for split in join(groups, rows)]
    costs = np.array([split.num_rows for split in splits], np.float64)
    by_cores = _TASKS_PER_CORE * Cluster(spark).num_cores
    by_rows = -(-int(costs.sum()) // _ROWS_PER_TASK)
    return spread(splits, costs, max(1, min(len(splits), max(by_cores, by_rows))))


def read_batches(splits: list[Split], latent_dim: int) -> Iterator[Batch]:
    """Yield the items of some splits, within a task."""
    reader = SplitReader(latent_dim, (), FIRST_ITEM)
    for split in splits:
        mu, log_var = reader.posteriors(split)
        for first in range(0, len(mu), _ROWS_PER_BATCH):
            rows = slice(first, first + _ROWS_PER_BATCH)
            items = Gaussians(mu[rows].astype(np.float64), log_var[rows].astype(np.float64))
            yield Batch(items, _names(reader, first))


def _names(reader: SplitReader, first: int) -> Callable[[NDArray[np.int64]], pa.Array]:
    def names(rows: NDArray[np.int64]) -> pa.Array:
        return reader.items(rows + first).column(ITEM_ID).combine_chunks()

    return names
