"""A disk that is full while the table's log is written: what was published stays, and is readable.

A limit on the size of files stands for it, which fails a write half-way just as a full disk does.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from tests.support.versions import PAYLOAD, put, rows, write_file
from vaeudf.encoding.run_record import RunRecord, write_run_record
from vaeudf.schema import MODEL_ID_KEY, posterior_schema
from vaeudf.table.open import open_for_publishing, open_table
from vaeudf.table.publish import publish

SCHEMA = posterior_schema(PAYLOAD, {MODEL_ID_KEY: "m"})
# delta-rs writes a checkpoint with every hundredth version, unless the table says otherwise.
INTERVAL = 5


@contextlib.contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_at_the_commit(tmp_path):
    uri = str(tmp_path / "table")
    table = put(uri, "r1", ["a", "b"])
    file = write_file(uri, "r2", ["c"], SCHEMA)
    for _ in range(2):
        with files_of_at_most(300), pytest.raises(OSError, match="File too large"):
            publish(uri, table, [file], SCHEMA, 2, "r2")
        assert open_table(uri) == table and rows(table) == ["a", "b"]
    # With room again the very same files are published.
    assert rows(publish(uri, table, [file], SCHEMA, 2, "r2")) == ["c"]


def test_at_the_first_commit(tmp_path):
    uri = str(tmp_path / "table")
    file = write_file(uri, "r1", ["c"], SCHEMA)
    with files_of_at_most(300), pytest.raises(OSError, match="File too large"):
        publish(uri, None, [file], SCHEMA, 2, "r1")
    Path(uri, "r1", "part-0.parquet").unlink()
    Path(uri, "r1").rmdir()
    assert rows(put(uri, "r2", ["a"])) == ["a"]


def test_at_the_checkpoint(tmp_path):
    uri = str(tmp_path / "table")
    put(uri, "r", ["a", "b"])
    properties = {"delta.checkpointInterval": str(INTERVAL)}
    DeltaTable(uri).alter.set_table_properties(properties)
    while put(uri, "r", ["a", "b"]).version < INTERVAL - 2:
        pass
    log = Path(uri, "_delta_log")
    file, previous = write_file(uri, "last", ["c"], SCHEMA), open_for_publishing(uri, 2)
    with files_of_at_most(2500):
        table = publish(uri, previous, [file], SCHEMA, 2, "last")
    assert not list(log.glob("*.checkpoint.parquet"))
    assert (table.version, rows(table)) == (INTERVAL - 1, ["c"])
    # Nothing but the commits is needed, and the next checkpoint is written when it is due.
    assert rows(open_table(uri, INTERVAL - 2)) == ["a", "b"]
    while put(uri, "r", ["a", "b"]).version < 2 * INTERVAL - 1:
        pass
    due = f"{2 * INTERVAL - 1:020}"
    assert [path.name[:20] for path in log.glob("*.checkpoint.parquet")] == [due]
    assert rows(open_table(uri)) == ["a", "b"]


def test_at_the_record(tmp_path):
    with files_of_at_most(100), pytest.raises(OSError):
        write_run_record(str(tmp_path), RunRecord("r", "m", "model", "catalog"))
