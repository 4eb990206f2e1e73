"""Versions of a posterior table, published without Spark."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vaeudf.schema import MODEL_ID_KEY, posterior_schema
from vaeudf.spark.writing import write_partition
from vaeudf.table.open import PosteriorTable, open_for_publishing
from vaeudf.table.publish import DataFile, publish
from vaeudf.table.rows import read_posteriors

PAYLOAD = pa.schema([pa.field("price", pa.float64())])


def write_file(table: str, run: str, ids: list[str], schema: pa.Schema) -> DataFile:
    path = Path(table, run, "part-0.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "item_id": ids,
        "mu": [[0.0, 1.0]] * len(ids),
        "log_var": [[0.0, 0.0]] * len(ids),
        "source_version": ["v"] * len(ids),
    }
    extra = {f.name: pa.nulls(len(ids), f.type) for f in schema if f.name not in columns}
    pq.write_table(pa.table({**columns, **extra}, schema=schema), path)
    size = path.stat().st_size
    return DataFile(f"{run}/part-0.parquet", size, len(ids), min(ids), max(ids))


def put(table: str, run: str, ids: list[str], model: str = "m", payload=PAYLOAD) -> PosteriorTable:
    schema = posterior_schema(payload, {MODEL_ID_KEY: model})
    previous = open_for_publishing(table, 2)
    return publish(table, previous, [write_file(table, run, ids, schema)], schema, 2, run)


def publish_rows(table: str, run: str, rows: pa.Table, model: str) -> PosteriorTable:
    """Publish posteriors that are known, with any payload, as the next version."""
    (latent_dim,) = pc.unique(pc.list_value_length(rows["mu"])).to_pylist()
    previous = open_for_publishing(table, latent_dim)
    own = posterior_schema(pa.schema([]), {}).names
    payload = pa.schema([field for field in rows.schema if field.name not in own])
    schema = posterior_schema(payload, {MODEL_ID_KEY: model})
    batches = rows.cast(schema).combine_chunks().to_batches()
    written = write_partition(iter(batches), table, run, schema)
    files = [DataFile(**row) for batch in written for row in batch.to_pylist()]
    return publish(table, previous, files, schema, latent_dim, run)


def rows(table: PosteriorTable) -> list[str]:
    return sorted(read_posteriors(table)[0].to_pylist())


def age(uri: str, days: float) -> None:
    """Let a table's log and files be older than they are."""
    for path in Path(uri).rglob("*"):
        os.utime(path, (time.time() - days * 86400,) * 2)
    for path in (Path(uri) / "_delta_log").glob("*.json"):
        text = path.read_text()
        for key in ("deletionTimestamp", "timestamp", "modificationTime"):
            text = re.sub(
                rf'"{key}":(\d+)', lambda m, k=key: f'"{k}":{int(m[1]) - int(days * 864e5)}', text
            )
        path.write_text(text)
