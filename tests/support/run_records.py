"""The records of a table's runs, as somebody reads them who has only pyarrow."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def run_records(table: str) -> pa.Table:
    """All records that are kept, the oldest first."""
    files = sorted(Path(table, "_runs").glob("*.parquet"))
    return pa.concat_tables(map(pq.read_table, files)).sort_by("started")
