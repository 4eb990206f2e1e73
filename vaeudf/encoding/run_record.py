"""One row per run of encode_catalog, in the table's folder ``_runs``."""

from __future__ import annotations

import posixpath
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vaeudf.storage.locations import filesystem, make_folder
from vaeudf.table.runs import RUNS

SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("outcome", pa.string()),
        ("started", pa.timestamp("us", "UTC")),
        ("model_id", pa.string()),
        ("model", pa.string()),
        ("catalog", pa.string()),
        ("version_before", pa.int64()),
        ("version", pa.int64()),
        ("read", pa.int64()),
        ("encoded", pa.int64()),
        ("resumed", pa.int64()),
        ("carried", pa.int64()),
        ("removed", pa.int64()),
        ("quarantined", pa.map_(pa.string(), pa.int64())),
        ("images_per_second", pa.float64()),
        ("seconds", pa.map_(pa.string(), pa.float64())),
        ("application_id", pa.string()),
        ("message", pa.string()),
    ]
)
"""What is kept of a run; see docs/operations.md for what each column means."""

PUBLISHED, NOTHING_TO_DO = "published", "nothing to do"


def started_now() -> datetime:
    """Return the time at which a run starts."""
    return datetime.now(timezone.utc)


def write_run_record(table: str, facts: dict[str, Any]) -> None:
    """Keep what is known of a run; what is not known is null.

    Args:
        table: The table.
        facts: By the names of :data:`SCHEMA`; others are left out.
    """
    row = {name: facts.get(name) for name in SCHEMA.names}
    for name in ("quarantined", "seconds"):
        row[name] = list(facts[name].items()) if facts.get(name) is not None else None
    files, inner = filesystem(posixpath.join(table, RUNS))
    make_folder(files, inner)
    path = posixpath.join(inner, f"{facts['run_id']}.parquet")
    pq.write_table(pa.Table.from_pylist([row], SCHEMA), path, filesystem=files)


def read_run_records(table: str) -> pa.Table:
    """Return the rows of all runs that are kept, the oldest first."""
    files, inner = filesystem(posixpath.join(table, RUNS))
    selector = pa.fs.FileSelector(inner, allow_not_found=True)
    paths = [entry.path for entry in files.get_file_info(selector)]
    rows = [pq.read_table(p, filesystem=files) for p in paths if p.endswith(".parquet")]
    return pa.concat_tables([SCHEMA.empty_table(), *rows]).sort_by("run_id")
