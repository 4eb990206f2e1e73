"""The posterior table, and every behaviour of delta-rs that it relies on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from tests.support.versions import (
    PAYLOAD,
    put,
    rows,
    write_file,
)
from vaeudf.errors import PublishConflict, TableError
from vaeudf.numerics.boxes import Boxes
from vaeudf.schema import MODEL_ID_KEY, posterior_schema
from vaeudf.table.delta import (
    DataFile,
    check_schema,
    is_run_id,
    new_run_id,
    open_for_publishing,
    open_table,
    publish,
    runs_of,
)
from vaeudf.table.footers import BOXES_KEY


@pytest.fixture(params=["table", "a table [1] é #x"])
def uri(request, tmp_path) -> str:
    return str(tmp_path / request.param)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("error", [CommitFailedError("there is one"), DeltaError("no checkpoint")])
def test_a_commit_whose_answer_is_lost_is_a_commit(uri, monkeypatch, caplog, first, error):
    if not first:
        put(uri, "r0", ["a"])
    commit = DeltaTable.create_write_transaction

    def lost(*arguments, **others):
        commit(*arguments, **others)
        raise error

    monkeypatch.setattr(DeltaTable, "create_write_transaction", lost)
    assert rows(put(uri, "r1", ["b", "c"])) == ["b", "c"]
    assert ("is published, as it should be, but: no checkpoint" in caplog.text) == (
        type(error) is DeltaError
    )

    # But not one that somebody else made.
    previous = open_for_publishing(uri, 2)
    monkeypatch.setattr(DeltaTable, "create_write_transaction", commit)
    put(uri, "r2", ["d"])
    monkeypatch.setattr(
        DeltaTable, "create_write_transaction", lambda *_, **__: (_ for _ in ()).throw(error)
    )
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    file = write_file(uri, "r3", ["e"], schema)
    with pytest.raises(PublishConflict if type(error) is CommitFailedError else DeltaError):
        publish(uri, previous, [file], schema, 2, "r3")
    assert rows(open_table(uri)) == ["d"]


def test_first_version_and_the_next(uri):
    first = put(uri, "r1", ["a", "b"])
    assert (first.latent_dim, first.num_items, first.model_id) == (2, 2, "m")
    assert rows(first) == ["a", "b"]
    second = put(uri, "r2", ["b", "c", "d"])
    assert second.version == first.version + 1
    assert rows(second) == ["b", "c", "d"]
    assert rows(open_table(uri)) == rows(second)


def test_older_versions_stay_readable(uri):
    first = put(uri, "r1", ["a"])
    put(uri, "r2", ["b"], model="other")
    old = open_table(uri, first.version)
    assert (rows(old), old.model_id) == (["a"], "m")


def test_model_and_payload_change_in_the_same_commit(uri):
    first = put(uri, "r1", ["a"])
    second = put(uri, "r2", ["a"], "other", pa.schema([pa.field("brand", pa.float64())]))
    assert second.version == first.version + 1
    assert (first.model_id, second.model_id) == ("m", "other")
    assert [f.name for f in DeltaTable(uri).schema().fields][-1] == "brand"


@pytest.mark.parametrize("model", ["m", "other"])
def test_of_two_racing_runs_one_wins(uri, model):
    put(uri, "r1", ["a"])
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: model})
    both = [open_for_publishing(uri, 2), open_for_publishing(uri, 2)]
    files = [write_file(uri, run, [run], schema) for run in ("r2", "r3")]
    publish(uri, both[0], [files[0]], schema, 2, "run")
    with pytest.raises(PublishConflict, match="another run published") as caught:
        publish(uri, both[1], [files[1]], schema, 2, "run")
    assert caught.value.exit_code == 4
    assert rows(open_table(uri)) == ["r2"]


def test_of_two_first_runs_one_wins(uri):
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    files = [write_file(uri, run, [run], schema) for run in ("r1", "r2")]
    publish(uri, None, [files[0]], schema, 2, "run")
    with pytest.raises(PublishConflict, match="another run published"):
        publish(uri, None, [files[1]], schema, 2, "run")
    assert rows(open_table(uri)) == ["r1"]


def test_a_table_that_was_created_and_never_published(uri, monkeypatch):
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    monkeypatch.setattr(DeltaTable, "create_write_transaction", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(uri, None, [write_file(uri, "r1", ["a"], schema)], schema, 2, "run")
    monkeypatch.undo()
    with pytest.raises(TableError, match="nothing was published to table"):
        open_table(uri)
    assert rows(put(uri, "r2", ["b"])) == ["b"]


def test_files_are_looked_at_before_the_commit(uri):
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    good = write_file(uri, "r1", ["a"], schema)
    gone = DataFile("r1/none.parquet", 10, 1, "a", "a")
    short = DataFile(good.path, good.size + 1, 1, "a", "a")
    for bad in (gone, short):
        with pytest.raises(TableError, match=re.escape(f"data file {bad.path} should have")):
            publish(uri, None, [good, bad], schema, 2, "run")
    assert not Path(uri, "_delta_log").exists()


def test_statistics_are_true(uri):
    put(uri, "r1", ["b", "a", "c"])
    add = next(
        json.loads(line)["add"]
        for log in Path(uri, "_delta_log").glob("*.json")
        for line in log.read_text().splitlines()
        if '"add"' in line
    )
    stats = json.loads(add["stats"])
    assert stats["numRecords"] == 3
    assert stats["minValues"] == {"item_id": "a"} and stats["maxValues"] == {"item_id": "c"}


def refused(uri: str, message: str, opener=open_table) -> None:
    with pytest.raises(TableError, match=re.escape(message)):
        opener(uri)


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


def test_types_that_delta_has_not():
    good = posterior_schema(pa.schema([("tags", pa.list_(pa.string()))]), {})
    assert check_schema(good) is good
    bad = posterior_schema(pa.schema([("wait", pa.duration("us"))]), {})
    with pytest.raises(TableError, match=r"column 'wait' of type duration\[us\]"):
        check_schema(bad)


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.list_(pa.timestamp("us"))])
def test_local_times_in_a_later_version(uri, kind):
    put(uri, "r1", ["a"])
    schema = posterior_schema(pa.schema([("when", kind)]), {MODEL_ID_KEY: "m"})
    file = write_file(uri, "r2", ["b"], schema)
    table = publish(uri, open_for_publishing(uri, 2), [file], schema, 2, "run")
    assert rows(open_table(uri)) == rows(table) == ["b"]
    assert rows(put(uri, "r3", ["c"])) == ["c"]


def test_local_times_do_not_hide_a_race(uri):
    put(uri, "r1", ["a"])
    both = [open_for_publishing(uri, 2), open_for_publishing(uri, 2)]
    plain = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    timed = posterior_schema(pa.schema([("when", pa.timestamp("us"))]), {MODEL_ID_KEY: "m"})
    publish(uri, both[0], [write_file(uri, "r2", ["r2"], plain)], plain, 2, "run")
    file = write_file(uri, "r3", ["r3"], timed)
    with pytest.raises(PublishConflict, match="another run published"):
        publish(uri, both[1], [file], timed, 2, "run")
    assert rows(open_table(uri)) == ["r2"]


def test_files_that_are_not_what_they_should_be(uri):
    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    good = write_file(uri, "r1", ["a", "b"], schema)
    other = posterior_schema(pa.schema([("price", pa.float32())]), {MODEL_ID_KEY: "m"})
    for files, expected in (([replace(good, num_rows=3)], schema), ([good], other)):
        with pytest.raises(TableError, match=r"has 2 rows of item_id, .*, all finite; expected"):
            publish(uri, None, files, expected, 2, "r1")
    path = Path(uri) / good.path
    bad = pq.read_table(path)
    boxes = Boxes.of_blocks(np.array([[0.0, np.nan], [1, 1]]), np.zeros((2, 2)), 2)
    with pq.ParquetWriter(path, bad.schema) as writer:
        writer.write_table(bad)
        writer.add_key_value_metadata({BOXES_KEY: boxes.to_bytes()})
    file = replace(good, size=path.stat().st_size)
    with pytest.raises(TableError, match="with a mu or log_var that is not finite; expected 2"):
        publish(uri, None, [file], schema, 2, "r1")
    path.write_bytes(bytes(file.size))
    with pytest.raises(TableError, match=r"cannot be read \("):
        publish(uri, None, [file], schema, 2, "r1")
    assert not (Path(uri) / "_delta_log").exists()


def test_who_has_published(uri):
    assert runs_of(uri) == set()
    put(uri, "r1", ["a"])
    put(uri, "r2", ["a"])
    assert runs_of(uri) == {"r1", "r2"}
    (Path(uri) / "_delta_log" / f"{2:020}.json").write_text("{")
    assert runs_of(uri) is None, "a table that cannot be read may hold any file"


def test_names_of_runs():
    assert is_run_id(new_run_id())
    assert not any(map(is_run_id, ("_delta_log", "_runs", "20261123T030000", "mine")))


def test_what_an_unfinished_first_run_leaves(tmp_path):
    (tmp_path / "_staging").mkdir()
    (tmp_path / new_run_id()).mkdir()
    assert open_for_publishing(str(tmp_path), 2) is None
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(TableError, match="not empty and not a posterior table"):
        open_for_publishing(str(tmp_path), 2)
