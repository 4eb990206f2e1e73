"""The snippets of docs/table.md that read a table, with the tools that they name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.jobs import ROOT
from vaeudf.table.open import open_table
from vaeudf.table.rows import read_posteriors

CHANGED = ROOT / "tests" / "fixtures" / "changed_by_delta_spark"
SNIPPETS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "table.md").read_text(), re.M | re.S
)


def snippet(word: str) -> str:
    [found] = [code for code in SNIPPETS if word in code]
    return found


@pytest.fixture(params=["deleted", "commented"])
def folder(tmp_path, monkeypatch, request) -> Path:
    shutil.copytree(CHANGED / request.param, tmp_path / "posteriors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(code: str, **names) -> dict:
    exec(code, names)
    return names


def ids(folder: Path) -> list[str]:
    return sorted(read_posteriors(open_table(str(folder / "posteriors")))[0].to_pylist())


def test_boxes(tmp_path, monkeypatch):
    shutil.copytree(CHANGED / "row-tracking", tmp_path / "posteriors")
    monkeypatch.chdir(tmp_path)
    names = run(snippet("read_row_groups"))
    assert names["group"].num_rows > 0


def test_in_memory(folder):
    names = run(snippet("PosteriorIndex"))
    assert names["ids"].shape == (1, 10)
    assert len(names["index"]) == len(ids(folder))


@pytest.mark.spark
def test_spark(folder, spark):
    items = run(snippet("spark.read.parquet(*"), spark=spark)["items"]
    assert sorted(row["item_id"] for row in items.collect()) == ids(folder)


@pytest.mark.interop
def test_polars(folder):
    pytest.importorskip("polars")
    items = run(snippet("polars"))["items"]
    assert sorted(items["item_id"].to_list()) == ids(folder)


@pytest.mark.interop
def test_polars_with_deletion_vectors(tmp_path, monkeypatch):
    pytest.importorskip("polars")
    shutil.copytree(CHANGED / "deletion-vectors", tmp_path / "posteriors")
    monkeypatch.chdir(tmp_path)
    items = run(snippet("polars"))["items"]
    assert sorted(items["item_id"].to_list()) == ids(tmp_path)


@pytest.mark.interop
def test_duckdb(folder):
    pytest.importorskip("duckdb")
    items = run(snippet("duckdb"))["items"]
    assert [row[0] for row in items] == ids(folder)
