"""Rows of staged chunks."""

from __future__ import annotations

import pyarrow as pa

from vaeudf.encoding.staging import CHUNK_SCHEMA


def rows(*ids: str) -> pa.RecordBatch:
    columns = {
        "item_id": list(ids),
        "source_version": ["v"] * len(ids),
        "mu": [[1.0]] * len(ids),
        "log_var": [[0.0]] * len(ids),
        "reason": [None] * len(ids),
        "message": [None] * len(ids),
    }
    return pa.RecordBatch.from_pydict(columns, CHUNK_SCHEMA)
