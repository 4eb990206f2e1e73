"""Opening a posterior table: its versions, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from tests.support.versions import put, rows
from vaeudf.errors import TableError
from vaeudf.table.delta import path_in_table
from vaeudf.table.maintenance import roll_back, vacuum
from vaeudf.table.open import open_for_publishing, open_table
from vaeudf.table.runs import new_run_id, published_runs


def refused(uri: str, message: str, opener=open_table) -> None:
    with pytest.raises(TableError, match=re.escape(message)):
        opener(uri)


def test_older_versions_stay_readable(uri):
    first = put(uri, "r1", ["a"])
    put(uri, "r2", ["b"], model="other")
    old = open_table(uri, first.version)
    assert (rows(old), old.model_id) == (["a"], "m")


def test_what_is_no_table(tmp_path):
    refused(str(tmp_path / "none"), "does not exist")
    (tmp_path / "file").write_text("x")
    refused(str(tmp_path / "file"), "is not a Delta table")
    refused(str(tmp_path), "is not a Delta table: it has no commits in _delta_log")
    write_deltalake(str(tmp_path / "other"), pa.table({"x": [1], "y": [2]}))
    refused(
        str(tmp_path / "other"), "is a Delta table with columns x, y, but not a posterior table"
    )
    (tmp_path / "broken" / "_delta_log").mkdir(parents=True)
    (tmp_path / "broken" / "_delta_log" / f"{0:020}.json").write_text("{nonsense")
    refused(str(tmp_path / "broken"), "cannot be read as a Delta table")


def name_files(uri: str, named: Callable[[str], str]) -> None:
    """Let a table's log name its data files by other paths."""
    for log in Path(uri, "_delta_log").glob("*.json"):
        actions = [json.loads(line) for line in log.read_text().splitlines()]
        for action in actions:
            for kind in {"add", "remove"} & action.keys():
                action[kind]["path"] = named(action[kind]["path"])
        log.write_text("\n".join(map(json.dumps, actions)))


@pytest.mark.parametrize("scheme", ["", "file://", "file:", "s3a:/", "s3://"])
def test_a_shallow_clone(uri, scheme):
    put(uri, "r1", ["a"])
    # As in the log of CREATE TABLE … SHALLOW CLONE.
    for there in (f"{scheme}{uri}-else", f"{scheme}{uri}/../else", f"{scheme}/else{uri}"):
        shutil.copytree(uri, f"{uri}-clone", dirs_exist_ok=True)
        name_files(f"{uri}-clone", lambda path, there=there: f"{there}/{path}")
        refused(f"{uri}-clone", f"has the data file {there}/r1")
        message = "named by a full path: it is a shallow clone, whose files are another table's."
        refused(f"{uri}-clone", message)
        refused(f"{uri}-clone", message, lambda uri: open_for_publishing(uri, 2))


@pytest.mark.parametrize("scheme", ["", "file://", "file:"])
def test_full_paths_in_the_table_itself(tmp_path, scheme):
    """They are read. delta-rs does not know the files: what would remove them is refused."""
    uri, run = str(tmp_path / "my shop's + table"), new_run_id()
    put(uri, "r1", ["a", "b"])
    put(uri, run, ["b", "c"])
    name_files(uri, lambda path: f"{scheme}{quote(uri)}/{path}")
    assert open_table(uri).files == (f"{uri}/{run}/part-0.parquet",)
    assert rows(open_table(uri)) == ["b", "c"]
    assert rows(open_table(uri, 1)) == ["a", "b"]
    message = (
        f"table {uri} names data files by full paths, such as {scheme}{uri}/{run}/part-0.parquet. "
        "It can be read, but delta-rs, with which vaeudf writes, does not find such files, and a "
        "vacuum would remove them."
    )
    refused(uri, message, lambda uri: open_for_publishing(uri, 2))
    refused(uri, message, lambda uri: vacuum(uri, 1.0))
    refused(uri, message, lambda uri: roll_back(uri, 1))
    assert published_runs(uri) == {"r1", run}
    assert rows(open_table(uri)) == ["b", "c"]


@pytest.mark.parametrize("path", ["s3a://shop/t/r/a.parquet", "s3://shop/t/r/a.parquet"])
def test_full_paths_in_a_store(path):
    assert path_in_table("s3://shop/t", path) == "r/a.parquet"
    assert path_in_table("s3://shop/t/", path) == "r/a.parquet"
    for other in ("s3://shop/t/r/a", "s3://shop/u", "s3://else/t", "gs://shop/t", "/shop/t"):
        assert path_in_table(other, path) is None
    assert path_in_table("s3://shop/t", path.replace("/r/", "//")) is None


def test_an_unknown_version(uri):
    put(uri, "r1", ["a"])
    with pytest.raises(TableError, match="version 99"):
        open_table(uri, 99)


def test_where_a_table_may_be_made(uri, tmp_path):
    assert open_for_publishing(uri, 2) is None
    put(uri, "r1", ["a"])
    with pytest.raises(TableError, match=r"latent_dim 2, but the model has latent_dim 3"):
        open_for_publishing(uri, 3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("x")
    with pytest.raises(TableError, match="not empty and not a posterior table"):
        open_for_publishing(str(tmp_path / "mine"), 2)
    with pytest.raises(TableError, match="has a % in its path"):
        open_for_publishing(str(tmp_path / "100 %20"), 2)
    (tmp_path / "begun" / "_staging").mkdir(parents=True)
    assert open_for_publishing(str(tmp_path / "begun"), 2) is None


def test_what_an_unfinished_first_run_leaves(tmp_path):
    (tmp_path / "_staging").mkdir()
    (tmp_path / new_run_id()).mkdir()
    assert open_for_publishing(str(tmp_path), 2) is None
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(TableError, match="not empty and not a posterior table"):
        open_for_publishing(str(tmp_path), 2)
