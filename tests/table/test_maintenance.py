"""Versions of a table: which there are, going back, removing what is old."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable

from tests.support.deletion_vectors import delete_items
from tests.support.versions import PAYLOAD, age, put, rows, write_file
from vaeudf.errors import InputError, PublishConflict, TableError
from vaeudf.schema import MODEL_ID_KEY, posterior_schema
from vaeudf.table.maintenance import list_versions, roll_back, vacuum
from vaeudf.table.open import open_for_publishing, open_table
from vaeudf.table.pixel_files import PictureShape, PixelWriter, pixel_path
from vaeudf.table.publish import publish
from vaeudf.table.runs import new_run_id
from vaeudf.workflows.maintain_table import MaintainTable, maintain_table


def three_nights(uri: str) -> None:
    put(uri, "r1", ["a", "b"], model="m1")
    put(uri, "r2", ["b"], model="m1")
    put(uri, "r3", ["b", "c", "d"], model="m2")


def test_versions_are_listed(uri, capsys):
    three_nights(uri)
    found = list_versions(uri)
    assert [(v.version, v.commit.run_id, v.num_items, v.model_id) for v in found] == [
        (1, "r1", 2, "m1"),
        (2, "r2", 1, "m1"),
        (3, "r3", 3, "m2"),
    ]
    assert all(v.is_whole and abs(v.commit.written.timestamp() - time.time()) < 600 for v in found)
    (Path(uri) / "r1" / "part-0.parquet").unlink()
    summary = maintain_table(MaintainTable(uri))
    assert summary["versions"] == [2, 3]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["version", "written", "(UTC)", "items", "model", "files", "run"]
    assert re.fullmatch(r" +1  \S+ \S+ +2  m1 +removed  r1", lines[1])
    assert re.fullmatch(r" +3  \S+ \S+ +3  m2 +there    r3", lines[3])
    assert lines[0].index("run") == lines[1].index("r1")


def test_a_version_that_is_back_is_all_of_it(uri):
    three_nights(uri)
    table = roll_back(uri, 1)
    assert (table.version, table.transaction, table.num_items) == (4, 4, 2)
    assert rows(table) == ["a", "b"] and table.model_id == "m1"
    assert rows(open_table(uri, 3)) == ["b", "c", "d"]
    # And the next night goes on from there.
    assert rows(put(uri, "r5", ["e"])) == ["e"]
    assert [v.version for v in list_versions(uri)] == [1, 2, 3, 4, 5]
    assert rows(roll_back(uri, 3)) == ["b", "c", "d"]


def test_versions_that_cannot_be_had_back(uri):
    three_nights(uri)
    with pytest.raises(TableError, match="has no version 9 that can be read; the latest is 3"):
        roll_back(uri, 9)
    with pytest.raises(TableError, match=r"nothing was published to table .* by version 0"):
        roll_back(uri, 0)
    with pytest.raises(TableError, match=r"version 3 of table .* is its latest; name an older one"):
        roll_back(uri, 3)
    (Path(uri) / "r1" / "part-0.parquet").unlink()
    with pytest.raises(
        TableError,
        match=r"version 1 .* be restored: 1 of its files are gone, such as .*r1/part-0.parquet",
    ):
        roll_back(uri, 1)
    assert rows(open_table(uri)) == ["b", "c", "d"] and open_table(uri).version == 3


def test_vacuum_keeps_what_a_checkpoint_has_forgotten(uri):
    """Written 40 days ago, replaced 10 days ago: of the last 30 days all the same."""
    put(uri, "r1", ["a"])
    age(uri, 40)
    put(uri, "r2", ["b"])
    age(uri, 10)
    put(uri, "r3", ["c"])
    DeltaTable(uri).create_checkpoint()
    assert vacuum(uri, 30, dry_run=True).removed == []
    assert vacuum(uri, 9, dry_run=True).removed == ["r1/part-0.parquet"]
    assert vacuum(uri, 30).removed == []
    assert rows(open_table(uri, 1)) == ["a"]
    assert vacuum(uri, 9).removed == ["r1/part-0.parquet"]
    assert [v.is_whole for v in list_versions(uri)] == [False, True, True]


def test_vacuum_removes_what_was_never_published(uri):
    """The file of a task that was run twice; but not what a run may still be about to publish."""
    three_nights(uri)
    ages = {"r3/stray.parquet": 8, "r3/young.parquet": 6, "_runs/r1.parquet": 99}
    for name, days in ages.items():
        path = Path(uri, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"rows")
        os.utime(path, (time.time() - days * 86_400,) * 2)
    assert vacuum(uri, 7, dry_run=True).removed == vacuum(uri, 7).removed == ["r3/stray.parquet"]
    assert [Path(uri, name).exists() for name in ages] == [False, True, True]
    assert rows(open_table(uri)) == ["b", "c", "d"]


def test_vacuum_removes_what_was_replaced_long_ago(uri):
    put(uri, "r1", ["a"])
    put(uri, "r2", ["b"])
    age(uri, 10)
    put(uri, "r3", ["c"])
    for name in ("_quarantine/run_id=r1", "_staging/r9", "_runs"):
        (Path(uri) / name).mkdir(parents=True)
        (Path(uri) / name / "x.parquet").write_text("x")
        os.utime(Path(uri) / name / "x.parquet", (0, 0))
    assert vacuum(uri, 7, dry_run=True).removed == ["r1/part-0.parquet"]
    assert [v.is_whole for v in list_versions(uri)] == [True, True, True]
    stale = open_for_publishing(uri, 2)
    assert vacuum(uri, 7).removed == ["r1/part-0.parquet"]
    assert [v.is_whole for v in list_versions(uri)] == [False, True, True]
    assert vacuum(uri, 7).removed == []
    assert len(list((Path(uri)).glob("_*/**/x.parquet"))) == 3
    # Nobody is in the way of a night that began before.
    assert rows(open_table(uri)) == ["c"] and open_table(uri).transaction == 3
    delta = DeltaTable(uri)
    assert delta.version() > 3

    schema = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
    publish(uri, stale, [write_file(uri, "r4", ["d"], schema)], schema, 2, "r4")
    assert rows(open_table(uri)) == ["d"]
    with pytest.raises(PublishConflict):
        publish(uri, stale, [write_file(uri, "r5", ["e"], schema)], schema, 2, "r5")


@pytest.mark.parametrize("days", [0.0, 0.99, -1.0, float("nan")])
def test_what_may_be_in_use_is_not_removed(uri, days):
    put(uri, "r1", ["a"])
    with pytest.raises(InputError, match="expected at least 1, and more than the longest run"):
        vacuum(uri, days)
    with pytest.raises(InputError, match="expected at least 1"):
        MaintainTable(uri, action="vacuum", keep_days=days)


def test_options_that_do_not_go_together(uri):
    for options in ({"action": "roll_back"}, {"to_version": 3}):
        with pytest.raises(InputError, match="to-version goes with --action roll_back"):
            MaintainTable(uri, **options)
    with pytest.raises(InputError, match="dry-run goes with --action vacuum"):
        MaintainTable(uri, dry_run=True)


def test_summaries(uri, capsys):
    three_nights(uri)
    done = maintain_table(MaintainTable(uri, action="roll_back", to_version=2))
    assert (done["rolled_back_to"], done["version"], done["items"]) == (2, 4, 1)
    done = maintain_table(MaintainTable(uri, action="vacuum", dry_run=True))
    assert (done["dry_run"], done["removed_files"]) == (True, 0)
    with pytest.raises(TableError, match="does not exist"):
        maintain_table(MaintainTable(uri + "x"))


NIGHTS = [f"2024010{day}T000000-0123abcd" for day in range(1, 5)]


def keep_pixels(uri: str, *paths: str) -> None:
    for path in paths:
        file = Path(uri, pixel_path(path))
        with PixelWriter(str(file), PictureShape(2, 2, 1)) as writer:
            writer.write(["a"], np.zeros((1, 2, 2, 1), np.uint8))


def left_pixels(uri: str) -> list[str]:
    return sorted(p.relative_to(uri).as_posix() for p in Path(uri, "_pixels").rglob("*.arrow"))


@pytest.mark.parametrize("vectors", [False, True])
def test_vacuum_takes_the_pixels_of_what_it_removes(uri, vectors):
    files = [f"{run}/part-0.parquet" for run in NIGHTS]
    for run in NIGHTS[:2]:
        put(uri, run, ["a", "b"])
    age(uri, 10)
    put(uri, NIGHTS[2], ["a", "b"])
    if vectors:
        delete_items(uri, ["b"])
    keep_pixels(uri, *files[:3])
    # The second attempt of a task, whose pixels nobody has; and a run that is writing.
    begins = new_run_id()
    keep_pixels(uri, f"{NIGHTS[2]}/part-9.parquet", f"{begins}/part-0.parquet")
    alive = sorted(map(pixel_path, [files[1], files[2], f"{begins}/part-0.parquet"]))
    dead = [pixel_path(files[0]), pixel_path(f"{NIGHTS[2]}/part-9.parquet")]
    before = left_pixels(uri)
    assert vacuum(uri, 7, dry_run=True).removed == [files[0], *dead]
    assert left_pixels(uri) == before and Path(uri, files[0]).exists()
    assert vacuum(uri, 7).removed == [files[0], *dead]
    assert left_pixels(uri) == alive
    assert not Path(uri, "_pixels", NIGHTS[0]).exists()
    assert vacuum(uri, 7).removed == []
    # Back at a version that is still there, with its pixels.
    roll_back(uri, 2)
    assert vacuum(uri, 7).removed == []
    assert left_pixels(uri) == alive


def test_somebodys_file_where_pixels_would_be(uri):
    three_nights(uri)
    (Path(uri) / "_pixels").write_text("mine")
    assert vacuum(uri, 1.0).removed == []
    assert (Path(uri) / "_pixels").read_text() == "mine"


def test_vacuum_of_the_last_pixels(uri):
    put(uri, NIGHTS[0], ["a"])
    keep_pixels(uri, f"{NIGHTS[0]}/part-0.parquet")
    age(uri, 10)
    put(uri, NIGHTS[1], ["a"])
    age(uri, 10)
    assert len(vacuum(uri, 7).removed) == 2
    assert not Path(uri, "_pixels").exists()
