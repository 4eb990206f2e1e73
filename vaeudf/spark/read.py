"""A version of a Delta table, or Parquet files, as a DataFrame."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.schema import ITEM_ID, quoted
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.frames import frame_of
from vaeudf.storage.locations import spark_literal
from vaeudf.table.evolution import changed_by_others
from vaeudf.table.footers import read_row_groups
from vaeudf.table.open import PosteriorTable
from vaeudf.table.snapshot import Snapshot, tail, tail_depth

STORED_TAIL, STORED_ROW = "__vaeudf_tail", "__vaeudf_row"
"""Where a row is stored: the end of its data file's path, and its number in the file."""
_TAIL, _ROW, _DELETED = STORED_TAIL, STORED_ROW, "__vaeudf_deleted"
# Up to so many deleted rows go to every task, rather than the table's rows through a shuffle.
_MOST_BROADCAST = 5_000_000


def read_table(spark: SparkSession, table: PosteriorTable) -> DataFrame:
    """Return a posterior table's version as a DataFrame, payload included.

    Raises:
        TableError: A data file cannot be read.
    """
    # Spark takes an empty file, or a folder in its place, for one without rows.
    read_row_groups(table.snapshot)
    return read_snapshot(spark, table.snapshot)


def read_items_once(spark: SparkSession, table: PosteriorTable) -> DataFrame:
    """Return a posterior table's version, each item once: others may have inserted one again."""
    rows = read_table(spark, table)
    # Plain Parquet has no history that would tell.
    is_changed = table.version is not None and changed_by_others(table)
    return rows.dropDuplicates([ITEM_ID]) if is_changed else rows


def read_snapshot(spark: SparkSession, snapshot: Snapshot, *, placed: bool = False) -> DataFrame:
    """Return a version's rows, without those that deletion vectors delete.

    Args:
        spark: The session.
        snapshot: The version, of a Delta table if ``placed``.
        placed: Whether rows say where they are stored, in :data:`STORED_TAIL`, of as many
            components as :func:`vaeudf.table.snapshot.tail_depth` says, and :data:`STORED_ROW`.

    Raises:
        InputError: Spark has no connector for the store that it is in.
    """
    Cluster.of(spark).check_connectors(*snapshot.files[:1])
    files = [spark_literal(uri) for uri in snapshot.files]
    columns = snapshot.columns
    if columns is None:
        return spark.read.parquet(*files)
    places = [_TAIL, _ROW] if placed else []
    if not files:
        nothing = from_arrow_schema(columns.schema)
        if placed:
            nothing = nothing.add(_TAIL, "string").add(_ROW, "long")
        return spark.createDataFrame([], nothing)
    # Files that were written before a column was added lack it: Spark must not ask one of them.
    rows = spark.read.schema(from_arrow_schema(columns.stored_schema)).parquet(*files)
    wanted = [
        F.col(quoted(columns.names.get(name, name))).alias(name)
        for name in columns.schema.names
        if name not in columns.partitions
    ]
    if not (snapshot.deleted or columns.partitions or placed):
        return rows.select(*wanted)
    # Not by the name alone: the table may have a column of that name.
    hidden = rows.metadataColumn("_metadata")
    # Spark encodes the path, but not a plus, which url_decode takes for a blank.
    path = F.url_decode(F.replace(hidden.getField("file_path"), F.lit("+"), F.lit("%2B")))
    place = F.substring_index(path, "/", -tail_depth(snapshot.files))
    rows = rows.select(*wanted, place.alias(_TAIL), hidden.getField("row_index").alias(_ROW))
    rows = _with_partitions(_without_deleted(rows, snapshot), snapshot)
    return rows.select(*(F.col(quoted(name)) for name in columns.schema.names), *places)


def _without_deleted(rows: DataFrame, snapshot: Snapshot) -> DataFrame:
    if not snapshot.deleted:
        return rows
    depth = tail_depth(snapshot.files)
    tails = [tail(uri, depth) for uri in snapshot.deleted]
    numbers = [list(found) for found in snapshot.deleted.values()]
    vectors = frame_of(rows.sparkSession, pa.table({_TAIL: tails, _DELETED: numbers}))
    deleted = vectors.select(_TAIL, F.explode(_DELETED).alias(_ROW))
    if sum(map(len, numbers)) <= _MOST_BROADCAST:
        deleted = F.broadcast(deleted)
    return rows.join(deleted, [_TAIL, _ROW], "left_anti")


def _with_partitions(rows: DataFrame, snapshot: Snapshot) -> DataFrame:
    if snapshot.partition_values is None:
        return rows
    depth = tail_depth(snapshot.files)
    tails = pa.array([tail(uri, depth) for uri in snapshot.files])
    values = snapshot.partition_values.append_column(_TAIL, tails)
    return rows.join(F.broadcast(frame_of(rows.sparkSession, values)), _TAIL)
