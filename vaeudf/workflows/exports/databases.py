"""Lance, Qdrant and PostgreSQL with pgvector: lifted vectors with payload."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F

from vaeudf.schema import ITEM_ID, LOG_VAR, MU, quoted
from vaeudf.spark.frames import write_parquet, write_text
from vaeudf.storage.locations import remove
from vaeudf.workflows.exports.files import made_here, write_file, write_query
from vaeudf.workflows.exports.rows import VECTOR, Rows, batches, parts

PAYLOAD = "payload"
_UPLOAD = '''"""Upload the points of this folder to Qdrant.

    python upload.py COLLECTION [--url http://localhost:6333 | --path FOLDER]

Needs pip install qdrant-client pyarrow. The collection must not be there yet. Its vectors are
searched by their dot product, which is the log-likelihood log q(z|x):

    from query import lift
    client.query_points(COLLECTION, query=lift(z)[0].tolist(), limit=10)
"""

import argparse
import json
from pathlib import Path

import pyarrow.dataset
from qdrant_client import QdrantClient, models

WIDTH = {width}


def points():
    """Yield the points: numbered, for Qdrant takes no other text than UUIDs for ids."""
    number = 0
    folder = Path(__file__).parent / "points"
    for batch in pyarrow.dataset.dataset(folder, format="parquet").to_batches(batch_size=1024):
        for row in batch.to_pylist():
            payload = {{**json.loads(row["payload"]), "item_id": row["item_id"]}}
            yield models.PointStruct(id=number, vector=row["vector"], payload=payload)
            number += 1


def main():
    """Upload all points."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection")
    parser.add_argument("--url", default="http://localhost:6333")
    parser.add_argument("--path", help="a folder, for Qdrant's local mode")
    given = parser.parse_args()
    client = QdrantClient(path=given.path) if given.path else QdrantClient(url=given.url)
    vectors = models.VectorParams(size=WIDTH, distance=models.Distance.DOT)
    client.create_collection(given.collection, vectors_config=vectors)
    client.upload_points(given.collection, points(), batch_size=256)
    client.close()


if __name__ == "__main__":
    main()
'''
_IMPORT = """-- Run in this folder: psql -v ON_ERROR_STOP=1 -f import.sql
-- The product of an item's vector with a lifted z is log q(z|x); pgvector's <#> is minus the
-- product, so that the least is the best. query.py makes the vector of a z:
--   python -c 'import query; print(query.lift([{zeros}])[0].tolist())'
-- and the ten best items are:
--   SELECT item_id, -(vector <#> '[...]') AS log_likelihood, payload
--   FROM items ORDER BY vector <#> '[...]' LIMIT 10;
-- That is exact, and reads all rows. An index is faster and approximate:
--   CREATE INDEX ON items USING hnsw (vector vector_ip_ops);
BEGIN;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE items (item_id text PRIMARY KEY, vector vector({width}) NOT NULL, payload jsonb);
{copies}
COMMIT;
"""
MOST_PGVECTOR = 16_000
"""So many numbers has a vector of pgvector at most."""


def write_lance(rows: Rows, folder: str) -> None:
    """Write a Lance dataset: mu, log_var, lifted vectors and payload. It streams; none are held."""
    import lance

    # By way of files, which the driver reads a few rows at a time.
    staged = posixpath.join(folder, "rows")
    write_parquet(rows.with_equal_norms(MU, LOG_VAR, *rows.payload), staged)
    widths = {VECTOR: 2 * rows.latent_dim + 2, MU: rows.latent_dim, LOG_VAR: rows.latent_dim}

    def fixed(batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [
            _fixed(column, widths[name]) if name in widths else column
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)

    stream: Iterator[pa.RecordBatch] = map(fixed, batches(staged))
    first = next(stream)

    def all_of_them() -> Iterator[pa.RecordBatch]:
        yield first
        yield from stream

    with made_here(folder) as here:
        reader = pa.RecordBatchReader.from_batches(first.schema, all_of_them())
        lance.write_dataset(reader, str(here / "items.lance"))
    remove(staged)
    write_query(folder, rows.center, padding=1)


def _fixed(column: pa.Array, width: int) -> pa.Array:
    values = np.asarray(column.flatten(), np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(values), width)


def write_qdrant(rows: Rows, folder: str) -> None:
    """Write points as Parquet, and a program that uploads them."""
    lifted = rows.with_equal_norms(*rows.payload)
    points = lifted.select(ITEM_ID, VECTOR, _as_json(rows).alias(PAYLOAD))
    write_parquet(points, posixpath.join(folder, "points"))
    write_file(folder, "upload.py", _UPLOAD.format(width=2 * rows.latent_dim + 2))
    write_query(folder, rows.center, padding=1)


def write_pgvector(rows: Rows, folder: str) -> None:
    """Write text for PostgreSQL's COPY, and the SQL that makes a table of it."""
    lifted = rows.with_equal_norms(*rows.payload)
    numbers = F.array_join(F.col(VECTOR).cast("array<string>"), ",")
    vector = F.concat(F.lit("["), numbers, F.lit("]"))
    fields = [_escaped(F.col(ITEM_ID).cast("string")), vector, _escaped(_as_json(rows))]
    copied = posixpath.join(folder, "items")
    write_text(lifted.select(F.concat_ws("\t", *fields)), copied)
    files = [posixpath.basename(path) for path in parts(copied, ".txt")[1]]
    copies = "\n".join(f"\\copy items FROM 'items/{name}' WITH (ENCODING 'UTF8')" for name in files)
    width = 2 * rows.latent_dim + 2
    zeros = ",".join("0" * rows.latent_dim)
    write_file(folder, "import.sql", _IMPORT.format(width=width, copies=copies, zeros=f"[{zeros}]"))
    write_query(folder, rows.center, padding=1)


def _as_json(rows: Rows) -> Column:
    if not rows.payload:
        return F.lit("{}")
    return F.to_json(F.struct(*(F.col(quoted(name)) for name in rows.payload)))


def _escaped(text: Column) -> Column:
    """Return text as COPY reads it."""
    for found, written in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = F.replace(text, F.lit(found), F.lit(written))
    return text
