"""Ids of runs, and which runs have published."""

from __future__ import annotations

from pathlib import Path

from tests.support.versions import put
from vaeudf.table.runs import is_run_id, new_run_id, published_runs


def test_who_has_published(uri):
    assert published_runs(uri) == set()
    put(uri, "r1", ["a"])
    put(uri, "r2", ["a"])
    assert published_runs(uri) == {"r1", "r2"}
    (Path(uri) / "_delta_log" / f"{2:020}.json").write_text("{")
    assert published_runs(uri) is None, "a table that cannot be read may hold any file"


def test_names_of_runs():
    assert is_run_id(new_run_id())
    assert not any(map(is_run_id, ("_delta_log", "_runs", "20261123T030000", "mine")))
