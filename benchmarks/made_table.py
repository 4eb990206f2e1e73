"""A posterior table made of drawn items, as encode_catalog writes one after encoding."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from benchmarks.posteriors import Posteriors
from vaeudf.schema import posterior_schema
from vaeudf.spark.writing import write_data_files
from vaeudf.table.publish import publish
from vaeudf.table.runs import new_run_id

_CHUNK = 1_000_000


def make_table(
    spark: SparkSession, path: str, items: Posteriors, provenance: dict[str, str] | None = None
) -> None:
    """Write items as a posterior table, as encode_catalog does after encoding.

    Args:
        spark: The session.
        path: Where to.
        items: The posteriors.
        provenance: What the table is to say of where it is from besides.
    """
    latent_dim = items.mu.shape[1]
    made = {"vaeudf.model_id": "0" * 64, "vaeudf.model_path": "", "vaeudf.catalog": "{}"}
    provenance = made | (provenance or {})
    schema = posterior_schema(pa.schema([("price", pa.int32())]), provenance)
    staging = Path(f"{path}-staging")
    staging.mkdir(parents=True)
    for start in range(0, len(items), _CHUNK):
        stop = min(start + _CHUNK, len(items))
        vectors = [
            pa.FixedSizeListArray.from_arrays(pa.array(array[start:stop].ravel()), latent_dim).cast(
                schema.field("mu").type
            )
            for array in (items.mu, items.log_var)
        ]
        names = pa.array([f"item-{place:010d}" for place in range(start, stop)])
        prices = pa.array(np.arange(start, stop, dtype=np.int32))
        versions = pa.array(["1"] * (stop - start))
        rows = pa.table([names, *vectors, versions, prices], schema=schema)
        pq.write_table(rows, staging / f"{start:012d}.parquet")
    run_id = new_run_id()
    staged = spark.read.parquet(str(staging))
    files = write_data_files(staged, len(items), path, run_id, schema)
    publish(path, None, files, schema, latent_dim, run_id)
    shutil.rmtree(staging)
