"""Where a table's kept pixels are, item by item."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.schema import (
    IMAGE_ROW,
    ITEM_ID,
    PIXEL_FILE,
    PIXEL_ROW,
    PLACE,
    quoted,
)
from vaeudf.spark.read import STORED_ROW, STORED_TAIL, read_snapshot
from vaeudf.table.open import PosteriorTable
from vaeudf.table.pixel_files import KeptFile, find_pixel_files
from vaeudf.table.snapshot import tail, tail_depth

_PLACE_OF_FILE = "image_file string, image_length long, image_modified double"


def pixel_places(spark: SparkSession, table: PosteriorTable) -> DataFrame:
    """Return where the pixels of a version's items are.

    A task reads them with :class:`vaeudf.table.pixel_files.PixelFile`, by file and row.

    Args:
        spark: The session.
        table: The version.

    Returns:
        ``item_id`` and :data:`vaeudf.schema.PLACE`: the pixel file, the row in it, the file's
        bytes, and when it was written. Items whose data file has no pixel file are left out, and
        so are all items of a version that keeps no pixels.
    """
    kept = {} if table.version is None else find_pixel_files(table.uri, table.files)
    if not kept:
        nothing = spark.createDataFrame([], f"item_id string, image_row long, {_PLACE_OF_FILE}")
        return nothing.select(ITEM_ID, *PLACE)
    depth = tail_depth(table.files)
    files = [(tail(uri, depth), file.uri, file.size, file.modified) for uri, file in kept.items()]
    known = spark.createDataFrame(files, f"{STORED_TAIL} string, {_PLACE_OF_FILE}")
    rows = read_snapshot(spark, table.snapshot, placed=True).select(
        ITEM_ID, STORED_TAIL, F.col(STORED_ROW).alias(IMAGE_ROW)
    )
    return rows.join(F.broadcast(known), STORED_TAIL).select(ITEM_ID, *PLACE)


def read_with_pixel_places(
    spark: SparkSession, table: PosteriorTable, kept: Mapping[str, KeptFile]
) -> DataFrame:
    """Return a version's rows, and where the pixels of each are.

    Args:
        spark: The session.
        table: The version, of a Delta table.
        kept: Its pixel files, by the URIs of their data files.

    Returns:
        The table's columns and :data:`vaeudf.schema.PIXEL_PLACE`, null where there are no pixels.
    """
    depth = tail_depth(table.files) if table.files else 1
    files = [(tail(uri, depth), file.uri) for uri, file in kept.items()]
    known = spark.createDataFrame(files, f"{STORED_TAIL} string, {PIXEL_FILE} string")
    rows = read_snapshot(spark, table.snapshot, placed=True)
    names = [name for name in rows.columns if name not in (STORED_TAIL, STORED_ROW)]
    row = F.when(F.col(PIXEL_FILE).isNotNull(), F.col(STORED_ROW)).alias(PIXEL_ROW)
    placed = rows.join(F.broadcast(known), STORED_TAIL, "left")
    return placed.select(*(F.col(quoted(name)) for name in names), F.col(PIXEL_FILE), row)
