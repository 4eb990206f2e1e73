"""A new version is picked up; one that cannot be loaded is not."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from tests.support.loaded import ask, load
from tests.support.versions import publish_rows, put
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.watching import Watcher


class Clock:
    """Tells the time that it is set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def rows(*ids: str) -> pa.Table:
    return pa.table(
        {
            "item_id": ids,
            "mu": [[float(len(name)), 1.0] for name in ids],
            "log_var": [[0.0, 0.0]] * len(ids),
            "source_version": ["v"] * len(ids),
        }
    )


def found(table) -> list[str]:
    return [hit.item_id for hit in ask(table, z=[0, 0]).hits]


def test_a_new_version_takes_the_place_of_the_old_one(tmp_path):
    uri = str(tmp_path / "t")
    publish_rows(uri, "one", rows("a", "bb"), "m")
    watcher = Watcher(load(uri), cache=tmp_path / "cache", seconds=0.05)
    old = watcher.current()
    watcher.start()
    publish_rows(uri, "two", rows("a", "bb", "ccc"), "m")
    deadline = time.monotonic() + 30
    while watcher.current() is old and time.monotonic() < deadline:
        time.sleep(0.02)
    watcher.stop()
    assert (watcher.current().version, found(watcher.current())) == (2, ["a", "bb", "ccc"])
    # Who has begun with the old version ends with it.
    assert (old.version, found(old)) == (1, ["a", "bb"])
    assert watcher.failure is None


def test_without_a_new_version_nothing_is_loaded(tmp_path):
    put(str(tmp_path / "t"), "one", ["a"])
    watcher = Watcher(load(str(tmp_path / "t")), cache=None)
    before = watcher.current()
    watcher.look()
    assert watcher.current() is before


def test_a_version_that_cannot_be_loaded_is_told_of_once(tmp_path, caplog):
    uri = str(tmp_path / "t")
    publish_rows(uri, "one", rows("a", "bb"), "m")
    clock = Clock()
    watcher = Watcher(load(uri), cache=None, clock=clock)
    publish_rows(uri, "two", rows("ccc"), "m")
    (damaged,) = Path(uri, "two").glob("*.parquet")
    whole = damaged.read_bytes()
    damaged.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        watcher.look()
        clock.now += 1000
        watcher.look()
    assert caplog.text.count("cannot be loaded") == 1
    assert "version 1 is served on" in caplog.text
    assert "cannot be read as Parquet" in watcher.failure
    assert found(watcher.current()) == ["a", "bb"]
    damaged.write_bytes(whole)
    clock.now += 1000
    watcher.look()
    assert (watcher.failure, found(watcher.current())) == (None, ["ccc"])


def test_a_version_that_cannot_be_loaded_is_tried_after_growing_pauses(tmp_path, monkeypatch):
    uri, clock, tried = str(tmp_path / "t"), Clock(), []
    publish_rows(uri, "one", rows("a", "bb"), "m")
    watcher = Watcher(load(uri), cache=None, clock=clock)

    def fail(table, **options):
        tried.append((table.version, clock.now))
        raise OSError("damaged")

    monkeypatch.setattr(LoadedTable, "load", fail)
    publish_rows(uri, "two", rows("ccc"), "m")
    for clock.now in range(0, 2400, 20):
        watcher.look()
        assert watcher.failure == "damaged"
    # After 20 seconds, and after twice as long each time, up to ten minutes.
    assert tried == [(2, at) for at in (0, 20, 60, 140, 300, 620, 1220, 1820)]
    # What is told is why, also where the table was away meanwhile.
    Path(uri).rename(tmp_path / "away")
    watcher.look()
    assert "does not exist" in watcher.failure
    (tmp_path / "away").rename(uri)
    watcher.look()
    assert watcher.failure == "damaged"
    # Another version is tried at once, and after the first pause again.
    tried.clear()
    publish_rows(uri, "three", rows("dddd"), "m")
    for clock.now in range(2400, 2480, 20):
        watcher.look()
    assert tried == [(3, at) for at in (2400, 2420, 2460)]
    monkeypatch.undo()
    clock.now = 2540
    watcher.look()
    assert (watcher.failure, found(watcher.current())) == (None, ["dddd"])


def test_a_table_that_vanishes_is_served_on(tmp_path):
    uri = tmp_path / "t"
    publish_rows(str(uri), "one", rows("a", "bb"), "m")
    watcher = Watcher(load(str(uri), tmp_path / "cache"), cache=tmp_path / "cache")
    uri.rename(tmp_path / "elsewhere")
    watcher.look()
    assert "does not exist" in watcher.failure
    assert found(watcher.current()) == ["a", "bb"]
    (tmp_path / "elsewhere").rename(uri)
    watcher.look()
    assert watcher.failure is None


def test_parquet_has_no_versions(population):
    watcher = Watcher(load(population.parquet), cache=None)
    before = watcher.current()
    watcher.look()
    assert watcher.current() is before and watcher.failure is None


@pytest.mark.slow
def test_searches_go_on_while_versions_change(tmp_path):
    uri = str(tmp_path / "t")
    publish_rows(uri, "r0", rows("a"), "m")
    watcher = Watcher(load(uri), cache=tmp_path / "cache")
    failures: list[Exception] = []
    stopped = threading.Event()

    def search() -> None:
        while not stopped.is_set():
            try:
                table = watcher.current()
                assert len(found(table)) == table.version
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 5):
        publish_rows(uri, f"r{number}", rows(*"abcdef"[: number + 1]), "m")
        watcher.look()
    stopped.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert watcher.current().version == 5
