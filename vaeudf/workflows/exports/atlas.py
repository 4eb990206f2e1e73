"""One Parquet file as Embedding Atlas shows it: places on a map, neighbors, pictures, payload."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from vaeudf.explore.components import principal_components
from vaeudf.images.decode import picture_png
from vaeudf.schema import IMAGE_FILE, IMAGE_ROW, ITEM_ID, LOG_VAR, MU, PLACE, quoted
from vaeudf.search.index import PosteriorIndex
from vaeudf.spark.frames import write_parquet
from vaeudf.spark.kept_pixels import pixel_places
from vaeudf.spark.worker import spare_modules
from vaeudf.storage.locations import remove
from vaeudf.table.pixel_files import PictureShape, PixelFile, kept_shape
from vaeudf.workflows.exports.files import made_here
from vaeudf.workflows.exports.rows import Rows, batches, matrix

X, Y, NEIGHBORS, IMAGE = "x", "y", "neighbors", "image"
COLUMNS = (X, Y, NEIGHBORS, IMAGE)
NUM_NEIGHBORS = 16
"""With the item itself, as Embedding Atlas has it in its own projections."""
_NEIGHBORS = pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))])


def write_atlas(rows: Rows, folder: str) -> None:
    """Write ``items.parquet``: rows in the order that neighbors are numbered in.

    The driver holds mu and log_var of all items, and their neighbors.
    """
    staged = posixpath.join(folder, "rows")
    write_parquet(_with_pictures(rows), staged)
    mu, log_var = _posteriors(staged)
    components = principal_components(mu)
    axes = np.zeros((2, rows.latent_dim))
    # A model of one dimension has a map that is a line.
    axes[: rows.latent_dim] = components.axes[:2]
    places = (mu - np.array(components.mean)) @ axes.T
    ids, distances = _neighbors(mu, log_var)
    first = 0
    with made_here(folder) as here:
        writer = None
        for batch in batches(staged):
            which = slice(first, first + batch.num_rows)
            added = {
                X: pa.array(places[which, 0]),
                Y: pa.array(places[which, 1]),
                NEIGHBORS: _lists(ids[which], distances[which]),
            }
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            kept = {name: columns[name] for name in columns if name not in (ITEM_ID, MU, LOG_VAR)}
            table = pa.table({ITEM_ID: columns[ITEM_ID], **added, **kept})
            if writer is None:
                writer = pq.ParquetWriter(here / "items.parquet", table.schema)
            writer.write_table(table)
            first += batch.num_rows
        assert writer is not None
        writer.close()
    remove(staged)


def _posteriors(folder: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    parts = [
        (matrix(batch.column(MU)), matrix(batch.column(LOG_VAR)))
        for batch in batches(folder, [MU, LOG_VAR])
    ]
    return np.concatenate([mu for mu, _ in parts]), np.concatenate([other for _, other in parts])


def _neighbors(
    mu: NDArray[np.float32], log_var: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the items with the least KL from each, (N, k), nearest first, and these in nats."""
    k = min(NUM_NEIGHBORS, len(mu))
    index = PosteriorIndex(mu, log_var)
    ids, distances = index.search(mu, k, query_log_var=log_var, score="kl")
    return np.asarray(ids, np.int64), np.maximum(distances, 0.0)


def _lists(ids: NDArray[np.int64], distances: NDArray[np.float64]) -> pa.Array:
    fields = [
        pa.ListArray.from_arrays(
            pa.array(np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)),
            pa.array(values.ravel()),
        )
        for values in (ids, distances.astype(np.float32))
    ]
    return pa.StructArray.from_arrays(fields, fields=list(_NEIGHBORS))


def _with_pictures(rows: Rows) -> DataFrame:
    """Return the rows, with the pictures that the table keeps, as PNG."""
    table = rows.table
    shape = None if table.version is None else kept_shape(table.provenance)
    names = [ITEM_ID, MU, LOG_VAR, *rows.payload]
    if shape is None:
        return rows.frame.select(*(F.col(quoted(name)) for name in names))
    found = pixel_places(rows.frame.sparkSession, table).dropDuplicates([ITEM_ID])
    hidden = {name: f"__vaeudf_{name}" for name in PLACE}
    found = found.withColumnsRenamed(hidden)
    place = [F.col(hidden[name]) for name in (IMAGE_FILE, IMAGE_ROW)]
    as_udf = pandas_udf(returnType="binary")  # type: ignore[call-overload]
    octets = as_udf(_reader(shape))(*place)
    picture = F.when(place[0].isNotNull(), F.struct(octets.alias("bytes"))).alias(IMAGE)
    joined = rows.frame.join(found, ITEM_ID, "left")
    return joined.select(*(F.col(quoted(name)) for name in names), picture)


def _reader(shape: PictureShape) -> Callable[[pd.Series, pd.Series], pd.Series]:
    def read(files: pd.Series, numbers: pd.Series) -> pd.Series:
        spare_modules()
        pictures: list[bytes | None] = [None] * len(files)
        for uri in files.dropna().unique():
            which = np.flatnonzero((files == uri).to_numpy())
            with PixelFile(uri, shape) as file:
                pixels = file.rows(numbers.iloc[which].to_numpy().astype(np.int64))
            for row, one in zip(which, pixels, strict=True):
                pictures[int(row)] = picture_png(one)
        return pd.Series(pictures, dtype=object)

    return read
