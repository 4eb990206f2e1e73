from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.spark.frames import kept_on_disk, write_parquet

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


def test_a_folder_that_is_there_already_is_not_added_to(spark, tmp_path):
    folder = str(tmp_path / "a folder")
    write_parquet(spark.range(3), folder)
    with pytest.raises(FileExistsError, match="a folder is there already"):
        write_parquet(spark.range(5), folder)
    assert pq.read_table(folder).num_rows == 3
