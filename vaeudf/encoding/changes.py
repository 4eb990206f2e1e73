"""What a run has to do: which items are known as they are, and which must be encoded.

An item is known if its item_id and source_version have been encoded with the same model before: it
is in the table's last version, in its quarantine, or in what a killed run has left.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.encoding.chunk_pixels import chunk_pixels
from vaeudf.encoding.staging import CHUNK_SCHEMA, has_chunks
from vaeudf.schema import (
    IMAGE_LENGTH,
    IMAGE_ROW,
    ITEM_ID,
    LOG_VAR,
    MESSAGE,
    MU,
    PIXEL_FILE,
    PIXEL_PLACE,
    PIXEL_ROW,
    PLACE,
    REASON,
    SOURCE_VERSION,
    quoted,
)
from vaeudf.storage.locations import spark_literal

_CARRIED, _RESUMED, _QUARANTINED = "carried", "resumed", "quarantined"
_IDENTITY = [ITEM_ID, SOURCE_VERSION]
_ENCODED = CHUNK_SCHEMA.names
_ORIGIN = "__vaeudf_origin"
_TYPES = {MU: "array<float>", LOG_VAR: "array<float>", PIXEL_ROW: "long"}


@dataclass(frozen=True)
class Changes:
    """A listing, divided into what is known and what must be encoded.

    Attributes:
        known: Items that were encoded before, or failed to be: item_id, source_version, mu,
            log_var, reason, message; and where their pixels are, if these are kept.
        todo: Items that must be encoded: item_id, source_version, and where the image is.
        num_todo: How many.
        todo_bytes: The bytes of their images, where these are files.
        carried: How many are known from the table.
        resumed: How many from a run that was killed.
    """

    known: DataFrame
    todo: DataFrame
    num_todo: int
    todo_bytes: int
    carried: int
    resumed: int


def find_changes(
    listing: DataFrame,
    published: DataFrame | None,
    quarantine: DataFrame | None,
    staged: DataFrame | None,
    *,
    keep_pixels: bool = False,
) -> Changes:
    """Compare a listing with what is known.

    Args:
        listing: As :func:`vaeudf.catalog.source.list_items` returns it, with versions unless
            nothing is known. Evaluated several times.
        published: Rows of the table's last version, if they are of the same model.
        quarantine: Rows of its quarantine that are not to be tried again: item_id, source_version,
            reason, message.
        staged: What killed runs have encoded, as :func:`read_chunks` returns it; may have rows
            twice.
        keep_pixels: Whether an item of the table is known only if its pixels are. ``published`` and
            ``staged`` then have :data:`vaeudf.schema.PIXEL_PLACE`.
    """
    spark = listing.sparkSession
    names = [*_ENCODED, *(PIXEL_PLACE if keep_pixels else ())]
    parts = []
    if published is not None:
        if keep_pixels:
            published = published.where(F.col(PIXEL_FILE).isNotNull())
        own = [name for name in names if name not in (REASON, MESSAGE)]
        parts.append(_as_known(published.select(own), _CARRIED, names))
    if quarantine is not None:
        own = [*_IDENTITY, REASON, MESSAGE]
        parts.append(_as_known(quarantine.select(own), _QUARANTINED, names))
    if staged is not None:
        fresh = staged.dropDuplicates([ITEM_ID, SOURCE_VERSION])
        for part in list(parts):
            fresh = fresh.join(part, _IDENTITY, "left_anti")
        parts.append(_as_known(fresh, _RESUMED, names))
    listed = listing.select(*_IDENTITY)
    known = reduce(DataFrame.unionByName, parts, _nothing(spark, names))
    known = known.join(listed, _IDENTITY, "left_semi")
    todo = listing.select(*_IDENTITY, *PLACE)
    if parts:
        todo = todo.join(known.select(ITEM_ID), ITEM_ID, "left_anti")
    counts = {row[_ORIGIN]: row["count"] for row in known.groupBy(_ORIGIN).count().collect()}
    of_files = F.when(F.col(IMAGE_ROW).isNull(), F.col(IMAGE_LENGTH)).otherwise(0)
    ahead = todo.agg(F.count("*"), F.coalesce(F.sum(of_files), F.lit(0))).first()
    assert ahead is not None
    return Changes(
        known.drop(_ORIGIN),
        todo,
        ahead[0],
        ahead[1],
        counts.get(_CARRIED, 0),
        counts.get(_RESUMED, 0),
    )


def count_without_pixels(listing: DataFrame, published: DataFrame) -> int:
    """Return how many items are in the table as they are in the listing, but without their pixels.

    Args:
        listing: As for :func:`find_changes`.
        published: As for :func:`find_changes`, with :data:`vaeudf.schema.PIXEL_PLACE`.
    """
    without = published.where(F.col(PIXEL_FILE).isNull()).select(*_IDENTITY)
    return without.join(listing.select(*_IDENTITY), _IDENTITY, "left_semi").count()


def read_chunks(spark: SparkSession, folder: str, *, keep_pixels: bool = False) -> DataFrame:
    """Return the rows of the chunk files in a folder.

    Args:
        spark: The session.
        folder: Of the chunk files.
        keep_pixels: Whether rows say where their pixels are, in :data:`vaeudf.schema.PIXEL_PLACE`.
    """
    rows = spark.read.schema(from_arrow_schema(CHUNK_SCHEMA)).parquet(spark_literal(folder))
    if not keep_pixels:
        return rows
    hidden = rows.metadataColumn("_metadata")
    beside, _ = posixpath.split(chunk_pixels(posixpath.join(folder, "chunk")))
    name = F.regexp_replace(hidden.getField("file_name"), r"\.parquet$", ".arrow")
    return rows.select(
        *CHUNK_SCHEMA.names,
        F.concat(F.lit(f"{beside}/"), name).alias(PIXEL_FILE),
        hidden.getField("row_index").alias(PIXEL_ROW),
    )


def with_encoded(changes: Changes, folder: str) -> DataFrame:
    """Return a row for every item: what was known, and what this run has encoded.

    Args:
        changes: From :func:`find_changes`.
        folder: Of the chunk files that this run's tasks have written.
    """
    if not has_chunks(folder):
        return changes.known
    # A task that was run twice has left two chunks.
    keep_pixels = PIXEL_FILE in changes.known.columns
    encoded = read_chunks(changes.known.sparkSession, folder, keep_pixels=keep_pixels)
    return changes.known.unionByName(encoded.dropDuplicates([ITEM_ID]))


def with_added(rows: DataFrame, published: DataFrame | None, columns: Sequence[str]) -> DataFrame:
    """Return rows with the columns that others have added to the table, null for new items.

    Args:
        rows: A row for every item.
        published: Rows of the table's last version.
        columns: The added columns.
    """
    if published is None or not columns:
        return rows
    added = published.select(ITEM_ID, *(F.col(quoted(name)) for name in columns))
    return rows.join(added, ITEM_ID, "left")


def count_removed(listing: DataFrame, published: DataFrame) -> int:
    """Return how many items the table has that are not in the listing."""
    return published.select(ITEM_ID).join(listing.select(ITEM_ID), ITEM_ID, "left_anti").count()


def same_payload(listing: DataFrame, published: DataFrame) -> bool:
    """Whether the items that both have agree in every column that is carried along."""
    own = {*_ENCODED, *PLACE, *PIXEL_PLACE}
    ours, theirs = (
        frame.select(
            ITEM_ID,
            # As text, because Spark compares no maps.
            F.to_json(
                F.struct(*(F.col(quoted(n)) for n in frame.columns if n not in own)),
                {"ignoreNullFields": "false"},
            ).alias("payload"),
        )
        for frame in (listing, published)
    )
    if [c for c in listing.columns if c not in own] != [
        c for c in published.columns if c not in own
    ]:
        return False
    both = ours.alias("ours").join(theirs.alias("theirs"), ITEM_ID)
    return both.where(F.col("ours.payload") != F.col("theirs.payload")).isEmpty()


def _as_known(rows: DataFrame, origin: str, names: Sequence[str]) -> DataFrame:
    missing = {
        name: F.lit(None).cast(_TYPES.get(name, "string"))
        for name in names
        if name not in rows.columns
    }
    # Spark Connect takes no empty ones.
    known = rows.withColumns(missing) if missing else rows
    return known.select(*names, F.lit(origin).alias(_ORIGIN))


def _nothing(spark: SparkSession, names: Sequence[str]) -> DataFrame:
    kind = from_arrow_schema(CHUNK_SCHEMA)
    for name in names[len(_ENCODED) :]:
        kind = kind.add(name, _TYPES.get(name, "string"))
    return spark.createDataFrame([], kind.add(_ORIGIN, "string"))
