"""Numbered tasks: each number once, each in a partition of its own."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyspark import TaskContext

from vaeudf.spark.tasks import numbered_tasks

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("count", [1, 7])
def test_each_number_is_worked_on_in_a_task_of_its_own(spark, count):
    def work(number):
        own = TaskContext.get().partitionId()
        for _ in range(number):
            yield pa.RecordBatch.from_pydict({"number": [number], "partition": [own]})

    rows = numbered_tasks(spark, count, work, "number long, partition long").collect()
    assert sorted(row.number for row in rows) == [n for n in range(count) for _ in range(n)]
    assert all(row.number == row.partition for row in rows)
