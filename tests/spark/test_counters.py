"""Counts of what tasks did: all of them arrive, and each query has its own."""

from __future__ import annotations

import pytest
from pyspark.sql.types import LongType, StructType

from vaeudf.spark.cluster import Cluster
from vaeudf.spark.tasks import tasks_on

ID = StructType().add("id", LongType())
pytestmark = pytest.mark.spark


def test_all_that_tasks_count_arrives(spark):
    counts = Cluster.of(spark).counts()

    def count(batches):
        for batch in batches:
            counts.add(scored=batch.num_rows, row_groups=1)
            counts.add(num_bytes=2**40)
            yield batch
        # After the last batch, as a task that folds does.
        counts.add(rows_out=5)

    rows = tasks_on(spark.range(0, 10, 1, 3), count, ID, counts)
    assert sorted(row.id for row in rows.collect()) == list(range(10))
    found = [getattr(counts, name).value for name in ("scored", "row_groups", "num_bytes")]
    assert found == [10, 3, 3 * 2**40] and counts.rows_out.value == 15
    assert counts.num_items.value == 0


def count_rows(counts, *, yields):
    def count(batches):
        for batch in batches:
            counts.add(scored=batch.num_rows)
            if yields:
                yield batch

    return count


def test_counts_of_several_frames_are_added(spark):
    counts, others = (Cluster.of(spark).counts() for _ in range(2))
    for size, yields in ((3, True), (4, False)):
        rows = tasks_on(spark.range(size), count_rows(counts, yields=yields), ID, counts)
        assert rows.count() == (size if yields else 0)
    assert tasks_on(spark.range(7), count_rows(others, yields=True), ID, others).count() == 7
    assert (counts.scored.value, others.scored.value) == (7, 7)


def test_tasks_that_leave_no_row_are_counted(spark):
    counts = Cluster.of(spark).counts()
    rows = tasks_on(spark.range(5), count_rows(counts, yields=False), ID, counts)
    assert rows.groupBy("id").count().collect() == []
    assert counts.scored.value == 5


@pytest.mark.classic
def test_rows_that_are_asked_for_again_are_counted_again(spark):
    counts = Cluster.of(spark).counts()
    rows = tasks_on(spark.range(5), count_rows(counts, yields=True), ID, counts)
    assert counts.scored.value == 0
    assert len(rows.collect()) + len(rows.collect()) == 10
    assert counts.scored.value == 10
