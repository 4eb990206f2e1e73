"""Write a posterior table's data files in k-d order; each task writes its own."""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.errors import InputError
from vaeudf.numerics.boxes import Boxes
from vaeudf.numerics.kd_tree import BLOCK_SIZE, CellTree, kd_order, typical_sigma
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, PIXEL_FILE, PIXEL_PLACE, PIXEL_ROW, quoted
from vaeudf.spark.worker import spare_modules
from vaeudf.storage.locations import filesystem, make_folder
from vaeudf.table.footers import BLOCK_SIZE_KEY, BOXES_KEY
from vaeudf.table.pixel_copy import copy_pixels
from vaeudf.table.pixel_files import PictureShape, pixel_path
from vaeudf.table.publish import DataFile

# Uncompressed, as a task holds them. Fewer and larger files are quicker to list and to plan for,
# but each is one task, with a few copies of it in memory.
BYTES_PER_FILE = 128 * 2**20
# Of kept pixels, which a task copies block by block: so much takes it some seconds.
PIXEL_BYTES_PER_FILE = 2**30

# Rows that come to the driver: one sample to measure a row's size, one to cut the cells by. With
# 200,000 rows for 1,000 files, each file has some 200, and their sizes differ by some 7 %.
_MEASURED_ROWS = 1_000
_SAMPLE_ROWS = 200_000
_SAMPLE_BYTES = 256 * 2**20

_CELL = "__vaeudf_cell"
_FILE_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("num_rows", pa.int64()),
        ("min_id", pa.string()),
        ("max_id", pa.string()),
        ("pixel_bytes", pa.int64()),
        ("repeated_id", pa.string()),
    ]
)
_PLACE_FIELDS = [pa.field(PIXEL_FILE, pa.string()), pa.field(PIXEL_ROW, pa.int64())]


def write_data_files(
    posteriors: DataFrame,
    num_rows: int,
    table_uri: str,
    run_id: str,
    schema: pa.Schema,
    pictures: PictureShape | None = None,
) -> list[DataFile]:
    """Write rows, in k-d order of mu, as Parquet files in a folder of the table.

    Only the places of kept pixels go through Spark: the task that writes a data file copies its
    rows' pixels to the pixel file beside it.

    Args:
        posteriors: Rows with the columns of ``schema``, and :data:`vaeudf.schema.PIXEL_PLACE` if
            pixels are kept. Read a few times over.
        num_rows: How many there are.
        table_uri: The table.
        run_id: Name of the folder; a run's own, so that what a failed run leaves is its own too.
        schema: The files' schema.
        pictures: The shape of the pixels to keep; None if none are.

    Returns:
        The files; one that follows another holds its neighbours in latent space.

    Raises:
        InputError: An item_id comes twice.
        TableError: A file that has pixels is damaged.
    """
    names = [*schema.names, *(PIXEL_PLACE if pictures is not None else ())]
    rows = posteriors.select(*(F.col(quoted(name)) for name in names))
    measured = _sample(rows, num_rows, _MEASURED_ROWS).drop(*PIXEL_PLACE).toArrow()
    row_bytes = measured.nbytes / max(1, measured.num_rows)
    num_files = max(1, round(num_rows * row_bytes / BYTES_PER_FILE))
    if pictures is not None:
        num_files = max(num_files, round(num_rows * pictures.num_bytes / PIXEL_BYTES_PER_FILE))
    if num_files == 1:
        placed = rows.repartition(1)
    else:
        _check_unique(rows)
        latent_dim = pc.max(pc.list_value_length(measured[MU])).as_py()
        size = min(_SAMPLE_ROWS, _SAMPLE_BYTES // (8 * latent_dim))
        sample = _sample(rows, num_rows, size).select(ITEM_ID, MU, LOG_VAR).toArrow()
        # Sums in another order round differently, and could cut along another dimension.
        sample = sample.sort_by(ITEM_ID)
        mu, log_var = (_matrix(sample[name]) for name in (MU, LOG_VAR))
        placed = _repartition(rows, CellTree.fit(mu, num_files, typical_sigma(log_var)))

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        spare_modules()
        yield from write_partition(batches, table_uri, run_id, schema, pictures)

    # mapInArrow does not take names with dots or backticks.
    placed = placed.toDF(*(f"c{place}" for place in range(len(names))))
    files = placed.mapInArrow(write, from_arrow_schema(_FILE_SCHEMA))
    # Collected once: evaluating this DataFrame again would write everything again.
    written = [DataFile(**row.asDict()) for row in files.collect()]
    if num_files == 1 and len(written) > 1:
        _check_unique(rows)
    if len(written) == 1 and written[0].repeated_id is not None:
        raise _came_twice(written[0].repeated_id)
    return written


def write_partition(
    batches: Iterator[pa.RecordBatch],
    table_uri: str,
    run_id: str,
    schema: pa.Schema,
    pictures: PictureShape | None = None,
) -> Iterator[pa.RecordBatch]:
    """Write one partition to a file, and yield a row that describes it; nothing if it is empty."""
    stored = schema
    if pictures is not None:
        stored = pa.schema([*schema, *_PLACE_FIELDS], schema.metadata)
    for rows in _gather(batches, stored, schema.names):
        described = _write_file(rows, table_uri, run_id, pictures)
        yield pa.RecordBatch.from_pylist([described], _FILE_SCHEMA)


def rows_per_group(latent_dim: int) -> int:
    """Return how many rows a row group has: a power of two, and a multiple of BLOCK_SIZE."""
    # A query reads row groups whole, and fewer rows the smaller they are (the benchmark
    # spark_query.py prints which part of a table is read). But each adds half a kilobyte to the
    # footers, which the driver reads for every run.
    fitting = 2**19 // (4 * latent_dim)
    return min(max(1 << max(fitting, 1).bit_length() - 1, 1024), 4_096)


def _check_unique(rows: DataFrame) -> None:
    # Equal ids have equal hashes, which are only 8 bytes to shuffle. The ids themselves are
    # compared only if two hashes are equal: among a billion different ids that happens by chance
    # once in 40 runs.
    hashes = rows.groupBy(F.xxhash64(ITEM_ID).alias("hash")).count()
    if hashes.where(F.col("count") > 1).isEmpty():
        return
    twice = rows.groupBy(ITEM_ID).count().where(F.col("count") > 1)
    (found,) = twice.agg(F.min(ITEM_ID).alias(ITEM_ID)).collect()
    if found[ITEM_ID] is not None:
        raise _came_twice(found[ITEM_ID])


def _came_twice(item_id: str) -> InputError:
    return InputError(
        f"item_id {item_id!r} came twice: the catalog changed while it was read. "
        "Nothing was published; run again."
    )


def _sample(rows: DataFrame, num_rows: int, size: int) -> DataFrame:
    """Return about ``size`` rows, the same ones however the rows are cut into partitions."""
    if num_rows <= size:
        return rows
    chance = F.pmod(F.xxhash64(ITEM_ID), F.lit(2**31))
    return rows.where(chance < int(2**31 * size / num_rows))


def _repartition(rows: DataFrame, cells: CellTree) -> DataFrame:
    """Bring each cell's rows to a partition of their own, the cells in order."""
    keys = _keys_of_partitions(rows.sparkSession, cells.num_cells)

    def key_of(mu: pd.Series) -> pd.Series:
        if mu.empty:
            return pd.Series([], dtype="int32")
        return pd.Series(keys[cells.assign(np.stack(mu.to_list()))])

    as_udf = pandas_udf(returnType="int")  # type: ignore[call-overload]
    placed = rows.withColumn(_CELL, as_udf(key_of)(F.col(MU)))
    return placed.repartition(cells.num_cells, _CELL).drop(_CELL)


def _keys_of_partitions(spark: SparkSession, num_partitions: int) -> NDArray[np.int32]:
    """Return for each partition a number that ``repartition`` by it brings there."""
    # It goes by a hash, which would put several cells together and leave partitions empty.
    # repartitionById is new in Spark 4.1; repartitionByRange reads the rows twice and, with as
    # many cells as partitions, puts some together as well.
    place = F.pmod(F.hash("key"), F.lit(num_partitions)).alias("place")
    # The chance that they miss a partition is num_partitions * e^-50.
    tries = spark.range(50 * num_partitions).select(F.col("id").cast("int").alias("key"))
    found = tries.groupBy(place).agg(F.min("key").alias("key")).collect()
    keys = np.zeros(num_partitions, np.int32)
    for row in found:
        keys[row["place"]] = row["key"]
    return keys


def _gather(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, measured: list[str]
) -> Iterator[pa.Table]:
    """Gather a partition's rows in one table, or in several if they are far too many.

    Args:
        batches: The rows.
        schema: Theirs.
        measured: The columns whose bytes count.
    """
    gathered: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        if batch.num_rows:
            batch = batch.rename_columns(schema.names)
            gathered.append(batch.cast(schema))
            size += batch.select(measured).nbytes
        # Rows of one mu, such as those of a thousand copies of one picture, have one cell,
        # however many they are: a task's memory must not depend on it.
        if size > 2 * BYTES_PER_FILE:
            yield pa.Table.from_batches(gathered)
            gathered, size = [], 0
    if gathered:
        yield pa.Table.from_batches(gathered)


def _write_file(
    rows: pa.Table, table_uri: str, run_id: str, pictures: PictureShape | None
) -> dict[str, str | int | None]:
    # Tasks are retried and run twice; a name of its own keeps every attempt's file apart, and
    # only the attempt that Spark counts has its file named in the commit.
    path = f"{run_id}/part-{uuid.uuid4().hex}.parquet"
    system, inner = filesystem(table_uri)
    full_path = posixpath.join(inner, path)
    make_folder(system, posixpath.dirname(full_path))

    rows = rows.combine_chunks()
    # A shuffle brings rows in any order, and rows of one mu keep the order they have.
    by_id = pc.sort_indices(rows[ITEM_ID]).to_numpy()
    mu, log_var = (_matrix(rows[name])[by_id] for name in (MU, LOG_VAR))
    order = kd_order(mu, BLOCK_SIZE, typical_sigma(log_var))
    group = rows_per_group(mu.shape[1])
    boxes = Boxes.of_blocks(mu[order], log_var[order], group)
    ids = rows[ITEM_ID].take(by_id)
    # What is in one file need not go through a shuffle to be compared.
    again = ids.slice(1).filter(pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1)))
    rows = rows.take(by_id[order])
    places = rows.select([name for name in (ITEM_ID, *PIXEL_PLACE) if name in rows.column_names])
    rows = rows.drop_columns([name for name in PIXEL_PLACE if name in rows.column_names])
    with _open_writer(full_path, rows.schema, system) as writer:
        writer.write_table(rows, row_group_size=group)
        writer.add_key_value_metadata(
            {BOXES_KEY: boxes.to_bytes().decode(), BLOCK_SIZE_KEY: str(BLOCK_SIZE)}
        )
    pixel_bytes = 0
    if pictures is not None:
        # After the data file: a vacuum in between removes pixels that have none.
        pixel_bytes = copy_pixels(places, posixpath.join(table_uri, pixel_path(path)), pictures)
    return {
        "path": path,
        "size": system.get_file_info(full_path).size,
        "num_rows": rows.num_rows,
        "min_id": ids[0].as_py(),
        "max_id": ids[-1].as_py(),
        "pixel_bytes": pixel_bytes,
        "repeated_id": again[0].as_py() if len(again) else None,
    }


def _matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return a column of lists, all of one length, as an array (N, n)."""
    matrix: NDArray[np.float32] = pc.list_flatten(column).to_numpy().reshape(len(column), -1)
    return matrix


def _open_writer(path: str, schema: pa.Schema, system: pa.fs.FileSystem) -> pq.ParquetWriter:
    plain = [f.name for f in schema if not pa.types.is_nested(f.type)]
    return pq.ParquetWriter(
        path,
        schema,
        filesystem=system,
        compression="zstd",
        # Byte-stream-split would make the vectors smaller, but Spark before 4.2 and many other
        # readers cannot decode it inside lists.
        use_dictionary=plain,
        # A lowest and highest mu over all dimensions at once says nothing about any row.
        write_statistics=plain,
    )
