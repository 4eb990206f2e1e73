"""What is kept of a run."""

from __future__ import annotations

from datetime import datetime, timezone

import pyarrow.parquet as pq

from vaeudf.encoding.run_record import SCHEMA, RunRecord, write_run_record


def test_a_record_is_one_row(tmp_path):
    record = RunRecord("r1", "m", "/model", "/photos", version_before=3)
    record.outcome, record.version, record.read, record.encoded = "published", 4, 10, 8
    record.quarantined = {"empty": 1, "truncated": 1}
    record.seconds = {"read": 0.5, "lay out": 1.25}
    assert record.num_failed == 2
    write_run_record(str(tmp_path / "table"), record)
    table = pq.read_table(tmp_path / "table" / "_runs" / "r1.parquet")
    assert table.schema.equals(SCHEMA)
    (row,) = table.to_pylist()
    assert abs(row.pop("started") - datetime.now(timezone.utc)).total_seconds() < 60
    assert row == {
        "run_id": "r1",
        "outcome": "published",
        "model_id": "m",
        "model": "/model",
        "catalog": "/photos",
        "version_before": 3,
        "version": 4,
        "read": 10,
        "encoded": 8,
        "resumed": 0,
        "carried": 0,
        "removed": 0,
        "quarantined": [("empty", 1), ("truncated", 1)],
        "images_per_second": 0.0,
        "seconds": [("read", 0.5), ("lay out", 1.25)],
        "application_id": None,
        "message": None,
    }
