"""A posterior table as a test reads it: whole, with pyarrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vaeudf.table.open import open_table


def matrix(rows: pa.Table, name: str) -> np.ndarray:
    return np.stack(rows[name].to_numpy())


def read(table: str) -> pa.Table:
    return pa.concat_tables(map(pq.read_table, open_table(table).files)).sort_by("item_id")
