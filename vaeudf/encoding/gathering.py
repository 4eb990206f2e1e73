"""The rows of a table's new version: what was known of each item, and what a run has encoded."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from functools import reduce

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.encoding.changes import CARRIED, ORIGIN, RESUMED, TODO, payload_columns
from vaeudf.encoding.chunk_pixels import chunk_pixels
from vaeudf.encoding.staging import CHUNK_SCHEMA
from vaeudf.errors import InputError
from vaeudf.schema import (
    ITEM_ID,
    LOG_VAR,
    MESSAGE,
    MU,
    PIXEL_FILE,
    PIXEL_PLACE,
    PIXEL_ROW,
    REASON,
    SOURCE_VERSION,
    posterior_schema,
    quoted,
)
from vaeudf.storage.locations import spark_literal
from vaeudf.table.publish import check_schema

_IDENTITY = (ITEM_ID, SOURCE_VERSION)
_LISTED_VERSION, _KNOWN_ID, _KNOWN_ORIGIN = (
    "__vaeudf_listed_version",
    "__vaeudf_known_id",
    "__vaeudf_known_origin",
)


def schema_of_rows(listing: DataFrame, provenance: dict[str, str]) -> pa.Schema:
    """Return the schema of the rows that a listing's items become.

    Args:
        listing: As :func:`vaeudf.catalog.source.list_items` returns it.
        provenance: Kept in the schema, see :func:`vaeudf.schema.posterior_schema`.

    Raises:
        InputError: A payload column cannot be stored.
    """
    payload = listing.select(*(F.col(quoted(name)) for name in payload_columns(listing)))
    try:
        payload_schema = payload.limit(0).toArrow().schema
    except PySparkException as error:
        raise InputError(
            f"the payload columns {', '.join(payload.columns)} cannot all be stored: {error}. "
            "Choose some with --payload-columns."
        ) from None
    return check_schema(posterior_schema(payload_schema, provenance))


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


def once(rows: DataFrame, *key: str) -> DataFrame:
    """Return each item of chunks once, the same row whenever it is asked; one without a reason.

    A task that was run twice has left two chunks.

    Args:
        rows: As :func:`read_chunks` returns them.
        key: What tells items apart.
    """
    others = [name for name in rows.columns if name not in (*key, REASON, MESSAGE)]
    # The least one: a null is less than any reason.
    least = rows.groupBy(*key).agg(F.min(F.struct(REASON, MESSAGE, *others)).alias("least"))
    return least.select(*key, "least.*").select(*rows.columns)


def read_encoded(
    spark: SparkSession, folder: str, num_items: int, *, keep_pixels: bool = False
) -> tuple[DataFrame | None, dict[str, int]]:
    """Return what this run's tasks have encoded, each item once, and the failures by reason.

    Args:
        spark: The session.
        folder: Of the chunk files.
        num_items: How many items the tasks were given; if none were, there are no rows.
        keep_pixels: As for :func:`read_chunks`.
    """
    if num_items == 0:
        return None, {}
    rows = read_chunks(spark, folder, keep_pixels=keep_pixels)
    counts = _count_by_reason(rows)
    if sum(counts.values()) != num_items:
        rows = once(rows, ITEM_ID)
        counts = _count_by_reason(rows)
    return rows, {reason: count for reason, count in counts.items() if reason is not None}


def with_posteriors(compared: DataFrame, known: Mapping[str, DataFrame | None]) -> DataFrame:
    """Return a row for each item that has a posterior: its payload, and the posterior.

    Args:
        compared: As :func:`vaeudf.encoding.changes.compare` returns it.
        known: Where posteriors are, by the origin of the items that have them there: rows of the
            table's last version, of killed runs' chunks, and of this run's, for what had to be
            encoded; None where no item is of that origin. May have reasons, and
            :data:`vaeudf.schema.PIXEL_PLACE`, which is kept.

    Returns:
        ``item_id``, ``source_version``, ``mu``, ``log_var``, pixel places, and the payload.
    """
    parts = []
    sources = {origin: rows for origin, rows in known.items() if rows is not None}
    for origin, rows in sources.items():
        if origin == RESUMED:
            rows = once(rows, *_IDENTITY)
        if origin != CARRIED:
            rows = rows.where(F.col(REASON).isNull())
        parts.append(
            rows.select(
                F.col(ITEM_ID).alias(_KNOWN_ID),
                F.lit(origin).alias(_KNOWN_ORIGIN),
                *(SOURCE_VERSION, MU, LOG_VAR),
                *(name for name in PIXEL_PLACE if name in rows.columns),
            )
        )
    posteriors = reduce(DataFrame.unionByName, parts)
    # Of what this run has encoded, the listing may not know the version.
    as_listed = (F.col(ORIGIN) == TODO) | (F.col(_LISTED_VERSION) == F.col(SOURCE_VERSION))
    items = compared.where(F.col(ORIGIN).isin(*sources) & F.col(REASON).isNull()).select(
        *(ITEM_ID, F.col(SOURCE_VERSION).alias(_LISTED_VERSION), ORIGIN),
        *(F.col(quoted(name)) for name in payload_columns(compared)),
    )
    same = (F.col(ITEM_ID) == F.col(_KNOWN_ID)) & (F.col(ORIGIN) == F.col(_KNOWN_ORIGIN))
    rows = items.join(posteriors, same & as_listed)
    return rows.drop(ORIGIN, _LISTED_VERSION, _KNOWN_ID, _KNOWN_ORIGIN)


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


def all_failures(compared: DataFrame, encoded: DataFrame | None) -> DataFrame:
    """Return the items that could not be encoded: item_id, source_version, reason and message.

    Args:
        compared: As :func:`vaeudf.encoding.changes.compare` returns it.
        encoded: What this run has encoded, each item once; None if that is nothing.
    """
    parts = [compared] if encoded is None else [compared, encoded]
    failed = [
        part.where(F.col(REASON).isNotNull()).select(*_IDENTITY, REASON, MESSAGE) for part in parts
    ]
    return reduce(DataFrame.unionByName, failed)


def _count_by_reason(rows: DataFrame) -> dict[str | None, int]:
    return {row[REASON]: row["count"] for row in rows.groupBy(REASON).count().collect()}
