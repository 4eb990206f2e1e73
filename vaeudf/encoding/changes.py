"""What a run has to do: which items are known as they are, and which must be encoded.

An item is known if its item_id and source_version have been encoded with the same model before: it
is in the table's last version, in its quarantine, or in what a killed run has left. One join of the
listing with these says so of every item, and one pass over it counts everything: each further
question would cost a night in which little has changed another few of Spark's jobs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce

from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from vaeudf.encoding.payload_digest import payload_digest
from vaeudf.encoding.staging import CHUNK_SCHEMA
from vaeudf.schema import (
    IMAGE_LENGTH,
    IMAGE_ROW,
    ITEM_ID,
    MESSAGE,
    PIXEL_FILE,
    PIXEL_PLACE,
    PLACE,
    REASON,
    SOURCE_VERSION,
)

CARRIED, RESUMED, QUARANTINED = "carried", "resumed", "quarantined"
TODO, REMOVED = "todo", "removed"
ORIGIN = "__vaeudf_origin"
"""Where an item is known from, or why it is not: one of these five words."""

_WRONG_ID, _DIFFERS, _BARE = "__vaeudf_wrong_id", "__vaeudf_differs", "__vaeudf_bare"
_FOUND = (ORIGIN, REASON, MESSAGE, _WRONG_ID, _DIFFERS, _BARE)
# What is joined to a listing has names of its own.
_TIMES, _DIGEST = "__vaeudf_times", "__vaeudf_digest"
_LAST_ID, _LAST_VERSION = "__vaeudf_last_id", "__vaeudf_last_version"
_LAST_DIGEST, _LAST_BARE = "__vaeudf_last_digest", "__vaeudf_last_bare"
_TRIED_ID, _TRIED_VERSION = "__vaeudf_tried_id", "__vaeudf_tried_version"
_TRIED = "__vaeudf_tried"
_NOT_PAYLOAD = {*CHUNK_SCHEMA.names, *PLACE, *PIXEL_PLACE, *_FOUND}


@dataclass(frozen=True)
class Changes:
    """What there is of each kind, in a listing that was compared with what is known.

    Attributes:
        num_items: Items of the listing.
        num_todo: How many must be encoded.
        todo_bytes: The bytes of their images, where these are files.
        carried: How many are known from the table.
        resumed: How many from a run that was killed, failures included.
        removed: Items of the last version that are not in the listing any more.
        failed: Items that are known to fail, by reason.
        new_failures: How many of them the last version's quarantine does not have.
        new_payloads: Items of both whose payloads differ.
        without_pixels: Items that are in the table as they are in the listing, but without their
            pixels, which are wanted.
        wrong_ids: Items whose id is null, or another one's as well.
        without_version: Items whose source_version is null.
    """

    num_items: int
    num_todo: int
    todo_bytes: int
    carried: int
    resumed: int
    removed: int
    failed: dict[str, int] = field(default_factory=dict)
    new_failures: int = 0
    new_payloads: int = 0
    without_pixels: int = 0
    wrong_ids: int = 0
    without_version: int = 0


def compare(
    listing: DataFrame,
    published: DataFrame | None,
    quarantine: DataFrame | None = None,
    staged: DataFrame | None = None,
    *,
    comparable: bool = True,
    keep_pixels: bool = False,
) -> DataFrame:
    """Compare a listing with what is known.

    Args:
        listing: As :func:`vaeudf.catalog.source.list_items` returns it, with versions unless
            nothing is known. Read once.
        published: Rows of the table's last version, each item once, without the columns that others
            have added.
        quarantine: Rows of its quarantine that are not to be tried again: item_id, source_version,
            reason, message.
        staged: What killed runs have encoded, as :func:`vaeudf.encoding.gathering.read_chunks`
            returns it; may have rows twice.
        comparable: Whether the last version's posteriors are those that the run would give. If
            not, none of its items is known.
        keep_pixels: Whether an item of the table is known only if its pixels are. ``published``
            then has :data:`vaeudf.schema.PIXEL_PLACE`.

    Returns:
        The listing, and of each item its :data:`ORIGIN`, and ``reason`` and ``message`` if it is
        known to fail; and a row without an item_id for each one that is gone. It has neither
        posteriors nor pixels: they are read when a new version is written.
    """
    # What is sorted by item_id for this count is so for the join, too.
    times = F.count("*").over(Window.partitionBy(ITEM_ID))
    rows = listing.withColumn(_TIMES, times)
    origin, differs, bare = F.lit(TODO), F.lit(False), F.lit(False)
    tried = _tried(quarantine, staged)
    if tried is not None:
        same = F.col(ITEM_ID) == F.col(_TRIED_ID)
        same &= F.col(SOURCE_VERSION) == F.col(_TRIED_VERSION)
        rows = rows.join(tried, same, "left")
        origin = F.coalesce(F.col(f"{_TRIED}.{ORIGIN}"), origin)
    if published is not None:
        last = [F.col(ITEM_ID).alias(_LAST_ID)]
        if comparable:
            last.append(F.col(SOURCE_VERSION).alias(_LAST_VERSION))
            same = _is_true(F.col(SOURCE_VERSION) == F.col(_LAST_VERSION))
            if keep_pixels:
                last.append(F.col(PIXEL_FILE).isNull().alias(_LAST_BARE))
                bare = same & F.col(_LAST_BARE)
            origin = F.when(same & ~bare, CARRIED).otherwise(origin)
            names = payload_columns(listing)
            if names != payload_columns(published):
                differs = F.col(_LAST_ID).isNotNull() & F.col(_TIMES).isNotNull()
            elif names:
                digest = payload_digest(listing, published, names)
                rows = rows.withColumn(_DIGEST, digest)
                last.append(digest.alias(_LAST_DIGEST))
                differs = _is_true(F.col(_DIGEST) != F.col(_LAST_DIGEST))
        both = F.col(ITEM_ID) == F.col(_LAST_ID)
        rows = rows.join(published.select(*last), both, "full")
        origin = F.when(F.col(_TIMES).isNull(), REMOVED).otherwise(origin)
    found = {
        ORIGIN: origin,
        _WRONG_ID: F.col(_TIMES).isNotNull() & ((F.col(_TIMES) > 1) | F.col(ITEM_ID).isNull()),
        _DIFFERS: differs,
        _BARE: bare,
    }
    rows = rows.withColumns(found)
    failed = F.col(ORIGIN).isin(RESUMED, QUARANTINED)
    why = {
        name: F.lit(None).cast("string")
        if tried is None
        else F.when(failed, F.col(f"{_TRIED}.{name}"))
        for name in (REASON, MESSAGE)
    }
    own = (_TIMES, _DIGEST, _LAST_ID, _LAST_VERSION, _LAST_DIGEST, _LAST_BARE)
    return rows.withColumns(why).drop(*own, _TRIED_ID, _TRIED_VERSION, _TRIED)


def count_changes(compared: DataFrame) -> Changes:
    """Count what :func:`compare` has found, in one pass."""
    listed = F.col(ORIGIN) != REMOVED
    of_files = F.when(F.col(IMAGE_ROW).isNull(), F.col(IMAGE_LENGTH)).otherwise(0)
    groups = compared.groupBy(ORIGIN, REASON).agg(
        F.count("*").alias("items"),
        F.sum(of_files).alias("bytes"),
        F.count_if(F.col(_WRONG_ID)).alias("wrong_ids"),
        F.count_if(listed & F.col(SOURCE_VERSION).isNull()).alias("without_version"),
        F.count_if(F.col(_DIFFERS)).alias("new_payloads"),
        F.count_if(F.col(_BARE)).alias("without_pixels"),
    )
    rows = groups.collect()

    def total(name: str, of: Callable[[Row], bool] = lambda row: True) -> int:
        return sum(row[name] or 0 for row in rows if of(row))

    def items(origin: str) -> int:
        return total("items", lambda row: row[ORIGIN] == origin)

    failed: dict[str, int] = {}
    for row in rows:
        if row[REASON] is not None:
            failed[row[REASON]] = failed.get(row[REASON], 0) + row["items"]
    return Changes(
        num_items=total("items") - items(REMOVED),
        num_todo=items(TODO),
        todo_bytes=total("bytes", lambda row: row[ORIGIN] == TODO),
        carried=items(CARRIED),
        resumed=items(RESUMED),
        removed=items(REMOVED),
        failed=failed,
        # Of items in both, compare() names the quarantine.
        new_failures=total("items", lambda row: row[ORIGIN] == RESUMED and row[REASON] is not None),
        new_payloads=total("new_payloads"),
        without_pixels=total("without_pixels"),
        wrong_ids=total("wrong_ids"),
        without_version=total("without_version"),
    )


def listed(compared: DataFrame) -> DataFrame:
    """Return the listing's own rows, of those that :func:`compare` returns."""
    return compared.where(F.col(ORIGIN) != REMOVED)


def to_encode(compared: DataFrame) -> DataFrame:
    """Return which items must be encoded: item_id, source_version, and where the image is."""
    return compared.where(F.col(ORIGIN) == TODO).select(ITEM_ID, SOURCE_VERSION, *PLACE)


def payload_columns(rows: DataFrame) -> list[str]:
    """Return the columns of a listing, or of a table, that are carried along."""
    return [name for name in rows.columns if name not in _NOT_PAYLOAD]


def _tried(quarantine: DataFrame | None, staged: DataFrame | None) -> DataFrame | None:
    """Return what is known from others than the table, each item and version once."""
    parts = [
        rows.select(
            F.col(ITEM_ID).alias(_TRIED_ID),
            F.col(SOURCE_VERSION).alias(_TRIED_VERSION),
            # The least one counts: what is in quarantine, else a posterior, which has no reason.
            F.struct(F.lit(origin).alias(ORIGIN), REASON, MESSAGE).alias(_TRIED),
        )
        for rows, origin in ((quarantine, QUARANTINED), (staged, RESUMED))
        if rows is not None
    ]
    if not parts:
        return None
    together = reduce(DataFrame.unionByName, parts)
    return together.groupBy(_TRIED_ID, _TRIED_VERSION).agg(F.min(_TRIED).alias(_TRIED))


def _is_true(condition: Column) -> Column:
    return F.coalesce(condition, F.lit(False))
