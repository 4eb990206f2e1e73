"""Parquet that any reader opens: a column for each number."""

from __future__ import annotations

import posixpath

from pyspark.sql import functions as F

from vaeudf.schema import ITEM_ID, LOG_VAR, MU, quoted
from vaeudf.spark.frames import write_parquet
from vaeudf.workflows.exports.rows import Rows


def flat_columns(latent_dim: int) -> list[str]:
    """Return the names of the columns that mu and log_var become."""
    return [f"{name}_{i}" for name in (MU, LOG_VAR) for i in range(latent_dim)]


def write_flat(rows: Rows, folder: str) -> None:
    """Write ``item_id``, ``mu_0`` to ``log_var_{n-1}`` and the payload, exactly as they are."""
    numbers = [
        F.get(F.col(name), F.lit(i)).alias(f"{name}_{i}")
        for name in (MU, LOG_VAR)
        for i in range(rows.latent_dim)
    ]
    payload = [F.col(quoted(name)) for name in rows.payload]
    write_parquet(rows.frame.select(ITEM_ID, *numbers, *payload), posixpath.join(folder, "items"))
