"""Posteriors in files that vaeudf did not write."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.errors import TableError
from vaeudf.table.open import open_posteriors
from vaeudf.table.plain_parquet import examine, parquet_files


def write(path: Path, count: int = 2, **changed) -> str:
    vectors = pa.array([[0.0, 1.0, 2.0]] * count, pa.list_(pa.float64()))
    columns = {"item_id": [f"{i}" for i in range(count)], "mu": vectors, "log_var": vectors}
    columns |= changed
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({k: v for k, v in columns.items() if v is not None}), path)
    return str(path)


def test_files_as_spark_finds_them(tmp_path):
    names = ["b.parquet", "deep/a.parquet", "_x/c.parquet", ".d.parquet", "e.txt", "f.PARQUET"]
    for name in names:
        write(tmp_path / name)
    assert parquet_files(str(tmp_path)) == [f"{tmp_path}/{name}" for name in names[:2]]
    assert parquet_files(f"{tmp_path}/b.parquet") == [f"{tmp_path}/b.parquet"]
    assert parquet_files(f"{tmp_path}/e.txt") == parquet_files(f"{tmp_path}/gone") == []


def test_rows_and_dimensions(tmp_path):
    empty = write(tmp_path / "a.parquet", 0)
    files = [empty, write(tmp_path / "b.parquet"), write(tmp_path / "c.parquet", 3)]
    assert examine(files) == (5, 3)
    assert examine([empty]) == (0, 0)
    table = open_posteriors(str(tmp_path))
    assert (table.version, table.num_items, table.latent_dim) == (None, 5, 3)
    assert table.files == tuple(files) and table.provenance == {}


def refused(uri: str, message: str, version: int | None = None) -> None:
    with pytest.raises(TableError, match=re.escape(message)):
        open_posteriors(uri, version)


def test_what_is_not_posteriors(tmp_path):
    refused(write(tmp_path / "a.parquet", log_var=None), "has no column log_var; found item_id, mu")
    refused(write(tmp_path / "b.parquet", mu=["x", "y"]), "has a column mu of type string")
    (tmp_path / "c.parquet").write_bytes(b"not parquet")
    refused(f"{tmp_path}/c.parquet", "cannot be read as Parquet (")
    refused(write(tmp_path / "d.parquet", 0), "has no posteriors: 0 rows, the first without a mu.")
    (tmp_path / "e").mkdir()
    refused(f"{tmp_path}/e", "holds neither a Delta table nor Parquet")
    refused(f"{tmp_path}/gone", "does not exist; expected a posterior table")
    refused(write(tmp_path / "f.parquet"), "is plain Parquet, which has no versions", version=3)
