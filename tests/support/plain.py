"""Tables of plain Parquet."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from vaeudf.table.open import open_posteriors


def write_plain(file, ids, mu, log_var, **options):
    """Write plain Parquet and open it."""
    rows = {"item_id": ids, "mu": list(mu), "log_var": list(log_var)}
    pq.write_table(pa.table(rows), file, **options)
    return open_posteriors(str(file))
