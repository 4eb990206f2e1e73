"""What a run has to do: which items are known as they are, and which must be encoded.

An item is known if its item_id and source_version have been encoded with the same model before: it
is in the table's last version, in its quarantine, or in what a killed run has left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.encoding.staging import CHUNK_SCHEMA, has_chunks
from vaeudf.schema import (
    IMAGE_LENGTH,
    IMAGE_ROW,
    ITEM_ID,
    LOG_VAR,
    MESSAGE,
    MU,
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


@dataclass(frozen=True)
class Changes:
    """A listing, divided into what is known and what must be encoded.

    Attributes:
        known: Items that were encoded before, or failed to be: item_id, source_version, mu,
            log_var, reason, message.
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
    """
    spark = listing.sparkSession
    parts = []
    if published is not None:
        parts.append(_as_known(published.select(*_IDENTITY, MU, LOG_VAR), _CARRIED))
    if quarantine is not None:
        parts.append(_as_known(quarantine.select(*_IDENTITY, REASON, MESSAGE), _QUARANTINED))
    if staged is not None:
        fresh = staged.dropDuplicates([ITEM_ID, SOURCE_VERSION])
        for part in list(parts):
            fresh = fresh.join(part, _IDENTITY, "left_anti")
        parts.append(_as_known(fresh, _RESUMED))
    listed = listing.select(*_IDENTITY)
    known = reduce(DataFrame.unionByName, parts, _nothing(spark))
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


def read_chunks(spark: SparkSession, folder: str) -> DataFrame:
    """Return the rows of the chunk files in a folder."""
    return spark.read.schema(from_arrow_schema(CHUNK_SCHEMA)).parquet(spark_literal(folder))


def with_encoded(changes: Changes, folder: str) -> DataFrame:
    """Return a row for every item: what was known, and what this run has encoded.

    Args:
        changes: From :func:`find_changes`.
        folder: Of the chunk files that this run's tasks have written.
    """
    if not has_chunks(folder):
        return changes.known
    # A task that was run twice has left two chunks.
    encoded = read_chunks(changes.known.sparkSession, folder).dropDuplicates([ITEM_ID])
    return changes.known.unionByName(encoded)


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
    own = {*_ENCODED, *PLACE}
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


def _as_known(rows: DataFrame, origin: str) -> DataFrame:
    missing = {
        name: F.lit(None).cast("array<float>" if name in (MU, LOG_VAR) else "string")
        for name in _ENCODED
        if name not in rows.columns
    }
    return rows.withColumns(missing).select(*_ENCODED, F.lit(origin).alias(_ORIGIN))


def _nothing(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], from_arrow_schema(CHUNK_SCHEMA).add(_ORIGIN, "string"))
