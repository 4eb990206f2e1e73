"""Opening a posterior table: its versions, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from tests.support.versions import put, rows
from vaeudf.errors import TableError
from vaeudf.table.open import open_for_publishing, open_table
from vaeudf.table.runs import new_run_id


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


@pytest.mark.parametrize("scheme", ["", "file://", "s3a:/"])
def test_a_shallow_clone(uri, scheme):
    put(uri, "r1", ["a"])
    # As in the log of CREATE TABLE … SHALLOW CLONE.
    for log in Path(uri, "_delta_log").glob("*.json"):
        actions = [json.loads(line) for line in log.read_text().splitlines()]
        for action in actions:
            if "add" in action:
                action["add"]["path"] = f"{scheme}{uri}/{action['add']['path']}"
        log.write_text("\n".join(map(json.dumps, actions)))
    refused(uri, f"has the data file {scheme}{uri}/r1")
    refused(uri, "named by a full path: it is a shallow clone, whose files are another table's.")


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
