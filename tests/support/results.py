"""What a query has written, wherever it is."""

from __future__ import annotations

import pyarrow.parquet as pq
from pyarrow import fs

from vaeudf.storage.locations import filesystem


def read_results(folder: str) -> list[dict]:
    """Return the rows of a query's results, in order."""
    files, inner = filesystem(folder)
    paths = [info.path for info in files.get_file_info(fs.FileSelector(inner))]
    parts = (pq.read_table(path, filesystem=files) for path in paths if path.endswith(".parquet"))
    rows = (row for part in parts for row in part.to_pylist())
    return sorted(rows, key=lambda row: (row["query_id"], row["rank"]))
