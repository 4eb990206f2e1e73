"""One partition to one file, without Spark."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.errors import InputError
from vaeudf.schema import posterior_schema
from vaeudf.writing import write_partition

SCHEMA = posterior_schema(pa.schema([("price", pa.float64())]), {})


def batch(start: int, stop: int) -> pa.RecordBatch:
    ids = [f"{i:04d}" for i in range(start, stop)]
    columns = {
        "item_id": ids,
        "mu": [[float(i), 1.0] for i in range(start, stop)],
        "log_var": [[0.5, -float(i)] for i in range(start, stop)],
        "source_version": ["v"] * len(ids),
        "price": [None] * len(ids),
    }
    # As Spark hands it over: everything may be null.
    loose = pa.schema([pa.field(f.name, f.type) for f in SCHEMA])
    return pa.RecordBatch.from_pydict(columns, schema=loose)


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr("vaeudf.writing.ROWS_PER_GROUP", 10)


def test_batches_are_gathered_to_row_groups(small_groups, tmp_path):
    cuts = [0, 3, 3, 9, 16, 17, 30, 33]
    batches = [batch(a, b) for a, b in itertools.pairwise(cuts)]
    (described,) = write_partition(iter(batches), str(tmp_path), "run", SCHEMA)
    (found,) = described.to_pylist()
    path = tmp_path / found["path"]
    assert found["path"].startswith("run/part-") and path.parent.name == "run"
    assert found == {
        "path": found["path"],
        "size": path.stat().st_size,
        "num_rows": 33,
        "min_id": "0000",
        "max_id": "0032",
    }
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [16, 14, 3]
    assert file.read().to_pylist() == [row for b in batches for row in b.to_pylist()]
    assert not file.schema_arrow.field("item_id").nullable


def test_an_empty_partition_writes_nothing(tmp_path):
    for batches in ([], [batch(0, 0)]):
        assert list(write_partition(iter(batches), str(tmp_path), "run", SCHEMA)) == []
    assert list(tmp_path.iterdir()) == []


def test_attempts_of_one_task_write_different_files(tmp_path):
    paths = [
        next(write_partition(iter([batch(0, 2)]), str(tmp_path), "run", SCHEMA)).to_pylist()[0]
        for _ in range(2)
    ]
    assert paths[0]["path"] != paths[1]["path"]


def test_how_columns_are_stored(small_groups, tmp_path):
    (described,) = write_partition(iter([batch(0, 20)]), str(tmp_path), "run", SCHEMA)
    file = pq.ParquetFile(tmp_path / described.to_pylist()[0]["path"])
    columns = [file.metadata.row_group(0).column(i) for i in range(file.metadata.num_columns)]
    by_name = {column.path_in_schema: column for column in columns}
    for name in ("mu.list.element", "log_var.list.element"):
        # What every Spark from 4.0 on can read inside a list.
        assert set(by_name[name].encodings) <= {"PLAIN", "RLE"}
        assert by_name[name].statistics is None
    assert by_name["item_id"].statistics.max == "0019"
    assert {column.compression for column in columns} == {"ZSTD"}


@pytest.mark.parametrize("cut", [5, 10])
def test_an_id_that_comes_twice(small_groups, tmp_path, cut):
    twice = [batch(0, cut), batch(cut - 1, 15)]
    with pytest.raises(InputError, match=f"item_id '{cut - 1:04d}' came twice"):
        list(write_partition(iter(twice), str(tmp_path), "run", SCHEMA))
