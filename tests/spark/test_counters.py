"""Counts of what tasks did: all of them arrive, and each query has its own."""

from __future__ import annotations

import pytest

from vaeudf.spark.cluster import Cluster

pytestmark = pytest.mark.spark


def test_tasks_count_in_map_in_arrow(spark):
    counts = Cluster.of(spark).counts()

    def count(batches):
        for batch in batches:
            counts.add(scored=batch.num_rows, row_groups=1)
            counts.add(num_bytes=2**40)
            yield batch
        # After the last batch, as a task that folds does.
        counts.add(rows_out=5)

    rows = spark.range(0, 10, 1, 3).mapInArrow(count, "id long")
    assert counts.scored.value == 0
    assert rows.count() == 10
    found = [getattr(counts, name).value for name in ("scored", "row_groups", "num_bytes")]
    assert found == [10, 3, 3 * 2**40] and counts.rows_out.value == 15
    # Evaluated again, they count again.
    assert len(rows.collect()) == 10
    assert counts.scored.value == 20


def test_counts_are_apart(spark):
    counts = [Cluster.of(spark).counts() for _ in range(2)]
    counts[0].add(scored=3)
    assert (counts[0].scored.value, counts[1].scored.value) == (3, 0)
