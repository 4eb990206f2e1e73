"""What a killed run leaves, and who may take or remove it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.chunks import (
    rows,
)
from vaeudf.encoding import staging
from vaeudf.encoding.chunk_pixels import chunk_pixels
from vaeudf.encoding.staging import clean, has_chunks, open_run, write_chunk
from vaeudf.errors import InputError, TooManyFailures
from vaeudf.table.pixel_files import PictureShape, PixelFile, PixelWriter
from vaeudf.table.runs import new_run_id

SHAPE = PictureShape(2, 2, 1)


def read_ids(folder: str) -> list[str]:
    found = [pq.read_table(path)["item_id"].to_pylist() for path in Path(folder).glob("chunk-*")]
    return sorted(name for ids in found for name in ids)


def leave(table: str, key: str = "k", ids=("a", "b"), **facts) -> str:
    """Make what a run leaves that was killed; by default one of a process that is no more."""
    run_id = new_run_id()
    folder = Path(table, "_staging", run_id)
    (folder / "encoded").mkdir(parents=True)
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    known = {"key": key, "host": staging._host(), "pid": int(done.stdout), **facts}
    (folder / "run.json").write_text(json.dumps(known))
    for name in ids:
        write_chunk(iter([rows(name)]), f"{folder}/encoded")
    return run_id


@pytest.fixture
def table(tmp_path) -> str:
    return str(tmp_path / "a table é")


def test_a_chunk_is_there_whole_or_not_at_all(table):
    write_chunk(iter([]), f"{table}/encoded")
    assert not Path(table).exists()

    def dies():
        yield rows("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_chunk(dies(), f"{table}/encoded")
    assert not has_chunks(f"{table}/encoded")
    write_chunk(iter([rows("a"), rows(), rows("b", "c")]), f"{table}/encoded")
    assert has_chunks(f"{table}/encoded") and read_ids(f"{table}/encoded") == ["a", "b", "c"]
    Path(table, "encoded", "_chunk-1.parquet").write_text("half")
    Path(table, "encoded", "notes.txt").write_text("x")
    assert [Path(path).name for path in Path(table, "encoded").glob("[!_]*.parquet")] != []


@pytest.mark.parametrize(
    ("error", "kept"),
    [(None, False), (InputError("x"), False), (TooManyFailures("x"), True), (OSError("x"), True)],
)
def test_what_is_kept_of_a_run_that_ends(table, error, kept):
    run_id = new_run_id()
    try:
        with open_run(table, run_id, "k") as run:
            facts = json.loads(Path(table, "_staging", run_id, "run.json").read_text())
            assert (facts["key"], facts["pid"]) == ("k", os.getpid())
            write_chunk(iter([rows("a")]), run.encoded)
            if error is not None:
                raise error
    except type(error or KeyError()) as caught:
        assert caught is error
    assert Path(table, "_staging").exists() == kept
    if kept:
        with open_run(table, new_run_id(), "k") as run:
            assert run.adopt() == 1 and read_ids(run.adopted) == ["a"]


def test_without_chunks_nothing_is_kept(table):
    with pytest.raises(OSError, match="x"), open_run(table, new_run_id(), "k"):
        raise OSError("x")
    assert not Path(table, "_staging").exists()


@pytest.mark.parametrize("started", [False, True])
def test_interrupted_while_it_begins(table, monkeypatch, started):
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if started:
            start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), open_run(table, new_run_id(), "k"):
        pass
    assert not (Path(table) / "_staging").exists()


def test_a_run_takes_over_what_a_killed_one_has_encoded(table):
    dead, other = leave(table), leave(table, key="another model")
    with open_run(table, new_run_id(), "k") as run:
        assert run.adopt() == 2
        assert read_ids(run.adopted) == ["a", "b"]
        assert run.adopt() == 0
        assert sorted(clean(table)) == sorted([dead, other])
        assert [path.name for path in Path(table, "_staging").iterdir()] == [run.run_id]
    assert not Path(table, "_staging").exists()


def test_chunks_of_a_killed_run_that_had_taken_over_others(table):
    leave(table)
    with pytest.raises(OSError, match="away"), open_run(table, new_run_id(), "k") as run:
        run.adopt()
        write_chunk(iter([rows("c")]), run.encoded)
        raise OSError("the cluster went away")
    with open_run(table, new_run_id(), "k") as run:
        assert run.adopt() == 3 and read_ids(run.adopted) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "facts",
    [
        {"pid": os.getppid()},
        {"pid": 1},
        {"host": "another machine"},
        {"host": "another machine", "pid": 2**22 + 1},
    ],
)
def test_what_a_living_run_has_is_copied_and_never_removed(table, facts):
    living = leave(table, **facts)
    Path(table, living).mkdir()
    with open_run(table, new_run_id(), "k") as run:
        assert run.adopt() == 2 and read_ids(run.adopted) == ["a", "b"]
        assert clean(table) == []
    assert read_ids(f"{table}/_staging/{living}/encoded") == ["a", "b"]
    assert Path(table, living).exists()


def test_a_run_elsewhere_is_dead_when_it_has_been_silent_for_long(table):
    gone = leave(table, host="another machine")
    run_file = Path(table, "_staging", gone, "run.json")
    for age, removed in [(3000, []), (4000, [gone])]:
        os.utime(run_file, (time.time() - age,) * 2)
        assert clean(table) == removed


def test_a_run_says_that_it_lives(table, monkeypatch):
    monkeypatch.setattr(staging, "_BEAT_SECONDS", 0.05)
    with open_run(table, new_run_id(), "k") as run:
        run_file = Path(table, "_staging", run.run_id, "run.json")
        os.utime(run_file, (0, 0))
        deadline = time.time() + 10
        while run_file.stat().st_mtime == 0 and time.time() < deadline:
            time.sleep(0.02)
        assert time.time() - run_file.stat().st_mtime < 10
        assert clean(table) == []
    assert not Path(table).exists() or not any(Path(table).iterdir())


def test_a_run_that_was_killed_in_its_first_or_last_moment(table):
    for content in (None, "", "{"):
        run_id = new_run_id()
        folder = Path(table, "_staging", run_id)
        folder.mkdir(parents=True)
        if content is not None:
            (folder / "run.json").write_text(content)
        assert clean(table) == []
        for path in (folder / "run.json", folder):
            if path.exists():
                os.utime(path, (time.time() - 4000,) * 2)
        assert clean(table) == [run_id]


def test_files_that_were_laid_out_but_not_published(table):
    dead = leave(table)
    orphan = new_run_id()
    for folder in (dead, orphan, f"_quarantine/run_id={orphan}", "mine", "_quarantine/mine"):
        Path(table, folder).mkdir(parents=True)
        Path(table, folder, "part.parquet").write_text("x")
    with open_run(table, new_run_id(), "k") as run:
        Path(table, run.run_id).mkdir()
        assert clean(table) == sorted([dead, orphan])
        left = {path.name for path in Path(table).iterdir()}
        assert left == {run.run_id, "mine", "_quarantine", "_staging"}
    assert [path.name for path in Path(table, "_quarantine").iterdir()] == ["mine"]


def test_nothing_is_removed_where_the_log_cannot_be_read(table):
    dead = leave(table)
    Path(table, dead).mkdir()
    Path(table, "_delta_log").mkdir()
    Path(table, "_delta_log", f"{0:020}.json").write_text("{")
    assert clean(table) == []
    assert Path(table, dead).exists() and Path(table, "_staging", dead).exists()


def leave_pixels(table: str, run_id: str, of: slice = slice(None)) -> None:
    """Put pixels beside the chunks that a run has left, or beside some of them."""
    for chunk in sorted(Path(table, "_staging", run_id, "encoded").glob("chunk-*"))[of]:
        ids = pq.read_table(chunk)["item_id"].to_pylist()
        with PixelWriter(chunk_pixels(str(chunk)), SHAPE) as writer:
            levels = np.array([ord(name) for name in ids], np.uint8)
            writer.write(ids, np.broadcast_to(levels[:, None, None, None], (len(ids), *SHAPE)))


def read_pixels(folder: str) -> dict[str, int]:
    """The first byte of each item's pixels, by the chunks that are there."""
    found = {}
    for chunk in Path(folder).glob("chunk-*"):
        ids = pq.read_table(chunk)["item_id"].to_pylist()
        with PixelFile(chunk_pixels(str(chunk))) as file:
            found.update(zip(ids, file.rows(range(len(ids)))[:, 0, 0, 0].tolist(), strict=True))
    return found


@pytest.mark.parametrize("facts", [{}, {"pid": os.getppid()}])
def test_chunks_are_taken_over_with_their_pixels(table, facts):
    run_id = leave(table, ids=("a", "b", "c"), **facts)
    leave_pixels(table, run_id)
    with open_run(table, new_run_id(), "k", keep_pixels=True) as run:
        assert run.adopt() == 3
        assert read_pixels(run.adopted) == {"a": 97, "b": 98, "c": 99}
        clean(table)
        # And once more, from the run that had taken them over.
        with open_run(table, new_run_id(), "k", keep_pixels=True) as other:
            assert other.adopt() == (3 if not facts else 6)
            assert read_pixels(other.adopted) == {"a": 97, "b": 98, "c": 99}
        run.forget()
        left = [path for path in Path(table, "_staging", run.run_id).iterdir() if path.is_dir()]
        assert left == []
    assert Path(table, "_staging").exists() == bool(facts)


def test_a_chunk_whose_pixels_are_gone_is_not_taken_over(table):
    run_id = leave(table, ids=("a", "b", "c"))
    leave_pixels(table, run_id, slice(1, None))
    with open_run(table, new_run_id(), "k", keep_pixels=True) as run:
        assert run.adopt() == 2
        assert len(read_pixels(run.adopted)) == 2


def test_pixels_that_were_laid_out_but_not_published(table):
    dead, orphan, living = leave(table), new_run_id(), leave(table, pid=os.getppid())
    for run_id in (dead, orphan, living, "mine"):
        Path(table, "_pixels", run_id).mkdir(parents=True)
        Path(table, "_pixels", run_id, "part-1.arrow").write_text("x")
    assert clean(table) == sorted([dead, orphan])
    assert {path.name for path in Path(table, "_pixels").iterdir()} == {living, "mine"}


def test_a_folder_without_pixels_goes_too(table):
    dead = leave(table)
    Path(table, "_pixels", dead).mkdir(parents=True)
    assert clean(table) == [dead]
    assert not Path(table, "_pixels").exists()


def test_somebodys_file_where_pixels_would_be(table):
    Path(table).mkdir()
    (Path(table) / "_pixels").write_text("mine")
    assert clean(table) == []
    assert (Path(table) / "_pixels").read_text() == "mine"
