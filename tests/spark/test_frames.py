from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.spark.frames import kept_on_disk

pytestmark = pytest.mark.spark


def test_rows_are_the_same_though_the_file_changes(spark, tmp_path):
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [1, 2]}), path)
    with kept_on_disk(spark.read.parquet(path)) as kept:
        assert sorted(row.x for row in kept.collect()) == [1, 2]
        pq.write_table(pa.table({"x": [3]}), path)
        assert sorted(row.x for row in kept.collect()) == [1, 2]
        assert kept.storageLevel.useDisk
    assert not kept.storageLevel.useDisk
    # Another DataFrame of the file has what is there by now.
    assert [row.x for row in spark.read.parquet(path).collect()] == [3]
