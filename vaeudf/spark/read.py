"""A version of a Delta table, or Parquet files, as a DataFrame."""

from __future__ import annotations

import posixpath

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.schema import quoted
from vaeudf.storage.locations import spark_literal
from vaeudf.table.open import PosteriorTable
from vaeudf.table.snapshot import Snapshot

FILE, ROW = "__vaeudf_file", "__vaeudf_row"
"""Columns of :func:`read_snapshot`: the file's path, and a row's number in it."""
# Up to so many deleted rows go to every task, rather than the table's rows through a shuffle.
_MOST_BROADCAST = 5_000_000


def read_table(spark: SparkSession, table: PosteriorTable) -> DataFrame:
    """Return a posterior table's version as a DataFrame, payload included."""
    return read_snapshot(spark, table.snapshot)


def read_snapshot(
    spark: SparkSession, snapshot: Snapshot, root: str = "", *, places: bool = False
) -> DataFrame:
    """Return a version's rows, without those that deletion vectors delete.

    Args:
        spark: The session.
        snapshot: The version.
        root: The table; needed if it is partitioned.
        places: Whether the columns :data:`FILE` and :data:`ROW` are wanted.
    """
    files = [spark_literal(uri) for uri in snapshot.files]
    columns = snapshot.columns
    if columns is None:
        return spark.read.parquet(*files)
    # Files that were written before a column was added lack it: Spark must not ask one of them.
    schema = from_arrow_schema(columns.stored_schema)
    reader = spark.read.schema(schema)
    if columns.partitions:
        reader = reader.option("basePath", spark_literal(root))
    rows = reader.parquet(*files) if files else spark.createDataFrame([], schema)
    names = zip(columns.schema.names, columns.stored_schema.names, strict=True)
    wanted = [F.col(quoted(stored)).alias(name) for name, stored in names]
    if not (places or snapshot.deleted):
        return rows.select(*wanted)
    placed = rows.select(*wanted, file_path().alias(FILE), F.col("_metadata.row_index").alias(ROW))
    live = _live(placed, snapshot)
    return live if places else live.drop(FILE, ROW)


def file_path() -> Column:
    """Return the column with the path of the file that a row is from."""
    # Spark encodes it, but not a plus, which url_decode takes for a blank.
    return F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))


def _live(rows: DataFrame, snapshot: Snapshot) -> DataFrame:
    if not snapshot.deleted:
        return rows
    # By the files' own names, which differ: Spark may state the folder in another way.
    names = [posixpath.basename(uri) for uri in snapshot.deleted]
    vectors = pa.table({"name": names, "rows": [list(r) for r in snapshot.deleted.values()]})
    deleted = rows.sparkSession.createDataFrame(vectors).select(
        "name", F.explode("rows").alias(ROW)
    )
    if sum(len(found) for found in snapshot.deleted.values()) <= _MOST_BROADCAST:
        deleted = F.broadcast(deleted)
    name = F.substring_index(F.col(FILE), "/", -1)
    return rows.join(deleted, (name == deleted["name"]) & (rows[ROW] == deleted[ROW]), "left_anti")
