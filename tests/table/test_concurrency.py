"""Readers and writers of one table at the same time, and files that go missing under it."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable

from tests.support.versions import PAYLOAD, put, rows, write_file
from vaeudf.errors import PublishConflict, TableError
from vaeudf.schema import MODEL_ID_KEY, posterior_schema
from vaeudf.table.footers import read_footers
from vaeudf.table.open import open_for_publishing, open_table
from vaeudf.table.publish import publish
from vaeudf.table.splits import SplitReader, join

SCHEMA = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})


@pytest.mark.slow
def test_a_reader_sees_one_version_or_another(tmp_path):
    uri = str(tmp_path / "table")

    def items(night: int) -> list[str]:
        return [f"{night:03}-{i}" for i in range(1 + night % 7)]

    put(uri, "r000", items(0))
    done = threading.Event()
    seen: list[list[str]] = []

    def look() -> None:
        while not done.is_set():
            seen.append(rows(open_table(uri)))

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(look) for _ in range(2)]
        for night in range(1, 51):
            put(uri, f"r{night:03}", items(night))
        done.set()
        for reader in readers:
            reader.result()
    assert len(seen) > 20
    nights = [int(found[0][:3]) for found in seen]
    assert all(found == items(night) for found, night in zip(seen, nights, strict=True))
    assert len(set(nights)) > 3
    assert rows(open_table(uri)) == items(50)


def race(uri: str, names: tuple[str, str]) -> list[str]:
    """Two runs that began from one version publish at once; those that won."""
    previous = open_for_publishing(uri, 2)
    barrier = threading.Barrier(2)

    def run(name: str) -> str | None:
        file = write_file(uri, name, [name], SCHEMA)
        barrier.wait()
        try:
            publish(uri, previous, [file], SCHEMA, 2, name)
        except PublishConflict as error:
            assert "another run published" in str(error)
            return None
        return name

    with ThreadPoolExecutor(2) as pool:
        return [name for name in pool.map(run, names) if name is not None]


def test_of_two_writers_one_wins(tmp_path):
    uri = str(tmp_path / "table")
    put(uri, "start", ["a"])
    for number in range(20):
        won = race(uri, (f"r{number}a", f"r{number}b"))
        assert len(won) == 1 and rows(open_table(uri)) == won
        assert open_table(uri).transaction == number + 2


def test_the_first_version_has_one_writer_too(tmp_path):
    for number in range(10):
        uri = str(tmp_path / f"table{number}")
        won = race(uri, ("a", "b"))
        assert len(won) == 1 and rows(open_table(uri)) == won


def test_a_commit_that_the_store_let_another_overwrite_is_told(tmp_path, monkeypatch):
    uri = str(tmp_path / "table")
    put(uri, "start", ["a"])
    previous = open_for_publishing(uri, 2)
    log = tmp_path / "table" / "_delta_log"
    write = DeltaTable.create_write_transaction

    def write_and_lose(table, *arguments, **more):
        write(table, *arguments, **more)
        newest = max(log.glob("*.json"))
        newest.write_text(newest.read_text().replace("r1", "r2"))

    monkeypatch.setattr(DeltaTable, "create_write_transaction", write_and_lose)
    file = write_file(uri, "r1", ["b"], SCHEMA)
    with pytest.raises(PublishConflict, match="the store took both") as error:
        publish(uri, previous, [file], SCHEMA, 2, "r1")
    assert "what this run published to table" in str(error.value)
    assert "does not support conditional writes (If-None-Match)" in str(error.value)


@pytest.mark.parametrize("damage", ["gone", "truncated", "empty"])
def test_a_file_that_is_damaged_is_named(tmp_path, damage):
    uri = str(tmp_path / "table")
    table = put(uri, "r1", ["a", "b"])
    (file,) = table.files
    if damage == "gone":
        Path(file).unlink()
    else:
        Path(file).write_bytes(Path(file).read_bytes()[:-7] if damage == "truncated" else b"")
    with pytest.raises(TableError, match=rf"data file {re.escape(file)} cannot be read"):
        read_footers(open_table(uri).files)


def test_rows_that_are_damaged_or_gone_are_no_short_answer(tmp_path):
    uri = str(tmp_path / "table")
    (file,) = put(uri, "r1", [f"{i}" for i in range(500)]).files
    (split,) = join(read_footers([file]), 0)
    reader = SplitReader(2, ())
    reader.posteriors(split)
    data = bytearray(Path(file).read_bytes())
    start = data.index(b"PAR1") + 4
    data[start : start + 2000] = bytes(2000)
    Path(file).write_bytes(bytes(data))
    for damaged in (True, False):
        if not damaged:
            Path(file).unlink()
        with pytest.raises(TableError, match=rf"data file {re.escape(file)} cannot be read as"):
            one = SplitReader(2, ())
            one.posteriors(split)
            one.items(np.arange(500))
