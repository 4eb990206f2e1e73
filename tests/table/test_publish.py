"""Publishing versions, and every behaviour of delta-rs that it relies on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from tests.support.versions import PAYLOAD, put, rows, write_file
from vaeudf.errors import PublishConflict, TableError
from vaeudf.numerics.boxes import Boxes
from vaeudf.schema import MODEL_ID_KEY, posterior_schema
from vaeudf.table.footers import BOXES_KEY
from vaeudf.table.open import open_for_publishing, open_table
from vaeudf.table.publish import DataFile, check_schema, publish


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
    with pytest.raises(PublishConflict, match=r"\(version \d+ by run r2\)"):
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
