"""Index files of FAISS and hnswlib, of lifted vectors: the driver holds the index."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from vaeudf.schema import ITEM_ID
from vaeudf.spark.frames import write_parquet
from vaeudf.storage.locations import remove
from vaeudf.workflows.exports.files import made_here, write_query
from vaeudf.workflows.exports.rows import VECTOR, Rows, batches, beyond_float32, matrix

IDS = "ids.parquet"
HNSW_M, HNSW_EF_CONSTRUCTION = 32, 200


def write_faiss(rows: Rows, folder: str) -> None:
    """Write an ``IndexFlatIP``, the item_ids of its rows, and how queries are lifted."""
    import faiss

    index = faiss.IndexFlatIP(2 * rows.latent_dim + 1)
    with made_here(folder) as here:
        for _, vectors in _read(rows.lifted(), folder, here):
            index.add(vectors)
        faiss.write_index(index, str(here / "index.faiss"))
    write_query(folder, rows.center)


def write_hnswlib(rows: Rows, folder: str) -> None:
    """Write an index of hnswlib, whose labels are the rows of its ids, and how to ask it."""
    import hnswlib

    index: Any = hnswlib.Index(space="ip", dim=2 * rows.latent_dim + 2)
    index.init_index(rows.count, ef_construction=HNSW_EF_CONSTRUCTION, M=HNSW_M, random_seed=0)
    with made_here(folder) as here:
        for first, vectors in _read(rows.with_equal_norms(), folder, here):
            index.add_items(vectors, np.arange(first, first + len(vectors)))
        index.save_index(str(here / "index.hnsw"))
    write_query(folder, rows.center, padding=1)


def _read(rows: DataFrame, folder: str, here: Path) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the vectors and the number of the first of each part; write their item_ids.

    Raises:
        TableError: As :func:`beyond_float32` says.
    """
    # By way of files: rows that come straight from tasks would all be held at once.
    vectors = posixpath.join(folder, "vectors")
    write_parquet(rows, vectors)
    schema = pa.schema([("row", pa.int64()), (ITEM_ID, pa.string())])
    first = 0
    with pq.ParquetWriter(here / IDS, schema) as ids:
        for batch in batches(vectors):
            numbers = pa.array(range(first, first + batch.num_rows), pa.int64())
            names = batch.column(ITEM_ID).cast(pa.string())
            found = matrix(batch.column(VECTOR))
            infinite = np.flatnonzero(~np.isfinite(found).all(axis=1))
            if len(infinite):
                raise beyond_float32(names[int(infinite[0])].as_py())
            ids.write_batch(pa.RecordBatch.from_arrays([numbers, names], schema=schema))
            yield first, found
            first += batch.num_rows
    remove(vectors)
