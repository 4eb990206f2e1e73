"""A table's log, as delta-rs and the files themselves tell of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import Schema
from deltalake.exceptions import CommitFailedError

from tests.support.versions import put
from vaeudf.table.delta import (
    create_delta,
    data_paths,
    has_commits,
    last_transaction,
    latest_version,
    open_delta,
    read_commits,
)


def test_a_folder_without_a_log(uri):
    assert not has_commits(uri) and latest_version(uri) is None
    Path(uri, "_delta_log").mkdir(parents=True)
    assert not has_commits(uri) and latest_version(uri) is None


def test_versions_and_their_publications(uri):
    put(uri, "r1", ["a"])
    put(uri, "r2", ["b"])
    assert has_commits(uri) and latest_version(uri) == 2
    # Version 0 is the empty table.
    versions = [open_delta(uri, version) for version in range(3)]
    assert [last_transaction(delta) for delta in versions] == [0, 1, 2]
    paths = [[], ["r1/part-0.parquet"], ["r2/part-0.parquet"]]
    assert [data_paths(uri, delta) for delta in versions] == paths


def test_commits_are_read(uri):
    put(uri, "r1", ["a"])
    put(uri, "r2", ["b"])
    Path(uri, "_delta_log", "notes.json").write_text("not a commit")
    commits = dict(read_commits(uri))
    added = {v: [a["add"]["path"] for a in c if "add" in a] for v, c in commits.items()}
    assert added == {0: [], 1: ["r1/part-0.parquet"], 2: ["r2/part-0.parquet"]}


def test_a_table_is_created_once(uri):
    schema = Schema.from_arrow(pa.schema([("x", pa.int64())]))
    create_delta(uri, schema, {"vaeudf.format": "1"})
    assert open_delta(uri).metadata().configuration == {"vaeudf.format": "1"}
    with pytest.raises(CommitFailedError):
        create_delta(uri, schema, {"vaeudf.format": "1"})
