"""Reconstructions of a table's items beside the original pictures."""

from __future__ import annotations

import logging
import posixpath
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from vaeudf.catalog.source import CatalogSource
from vaeudf.decoding.reconstruction import Keep, reconstruct
from vaeudf.errors import InputError
from vaeudf.model.bundle import Bundle
from vaeudf.pages.decode_page import Pair, Pairs
from vaeudf.pages.sheets import from_file, small
from vaeudf.pages.training_plots import reconstruction_sheet
from vaeudf.query.bulk import no_such_items
from vaeudf.schema import (
    CATALOG_KEY,
    CHANGED,
    ITEM_ID,
    MESSAGE,
    MU,
    ORIGINAL,
    REASON,
    RECONSTRUCTION,
    SOURCE_VERSION,
    SQUARED_ERROR,
)
from vaeudf.spark.frames import write_parquet
from vaeudf.spark.read import read_table
from vaeudf.storage.locations import spark_literal
from vaeudf.workflows.drawings.drawing import Context, Drawn
from vaeudf.workflows.drawings.traversals import ALL
from vaeudf.workflows.pictures import find_pictures

log = logging.getLogger(__name__)

Order = Literal["worst", "best"]

ERRORS = "errors.parquet"
# The number of pairs on a page; of all items, the number of the worst and of the best.
_MOST_PAIRS, _OF_EACH = 100, 24
_NOTES = (
    "Left: the picture as the model sees it, at its size. Right: the decoder's picture of the "
    "item's mu. The green number is the mean squared difference of their levels in [0, 1], over "
    "all pixels and channels; 0 is the same picture."
)


@dataclass(frozen=True)
class Reconstructions:
    """Items and their reconstructions.

    Attributes:
        number: The number of items, chosen by a hash of item_id and seed; None for all.
        item_ids: The items, instead of a number.
        order: Which of them come first.
        seed: Chooses the items.
    """

    number: int | None = None
    item_ids: Sequence[str] = ()
    order: Order = "worst"
    seed: int = 0

    def check(self, bundle: Bundle) -> None:
        """Do nothing: the posteriors of a table fit its model."""

    def draw(self, context: Context, folder: str | None) -> Drawn:
        """Decode and compare; write the errors, and the pictures unless all items are compared.

        Raises:
            InputError: An item is not in the table, or is named twice.
        """
        catalog = _find_catalog(context)
        items, count = self._choose(context)
        is_all = self.number is None and not self.item_ids
        keep: Keep = "nothing"
        if folder is not None and not is_all:
            keep = "files" if context.format == "png" else "bytes"
        found = reconstruct(
            items,
            count,
            catalog,
            context.bundle,
            keep=keep,
            folder=folder if keep == "files" else None,
            hardware=context.hardware,
        )
        if folder is None:
            # Otherwise every use would read and decode all pictures again.
            errors = found.persist()
        else:
            path = posixpath.join(folder, ERRORS)
            write_parquet(found, path)
            errors = context.spark.read.parquet(spark_literal(path))
        facts = _facts(errors)
        groups = self._first(errors, of_both_ends=is_all and count > 2 * _OF_EACH)
        pairs = _pairs(context, catalog, {name for _, names in groups for name in names})
        sections = [
            Pairs(title=title, text="", pairs=[pairs[name] for name in names])
            for title, names in groups
        ]
        if folder is None:
            errors.unpersist()
        notes = _NOTES
        hidden = count - sum(len(section.pairs) for section in sections)
        if hidden > 0:
            notes += f" {hidden:,} further items are not shown."
        if facts["changed"]:
            notes += (
                f" {facts['changed']:,} of the pictures have another source_version than when they "
                "were encoded: they may be other pictures."
            )
        lead = f"{count:,} {'item' if count == 1 else 'items'} of the catalog"
        if facts["squared_error"]["mean"] is not None:
            lead += (
                f"; the mean squared error per pixel is {facts['squared_error']['mean']:.5f}, the "
                f"median {facts['squared_error']['median']:.5f}"
            )
        return Drawn(
            count=count,
            title="What the model keeps of a picture",
            lead=f"{lead}.",
            sections=sections,
            notes=notes,
            sheet=_sheet_of(sections),
            facts=facts,
        )

    def _choose(self, context: Context) -> tuple[DataFrame, int]:
        """Return the items, and how many they are."""
        frame, num_items = _items_of(context), context.table.num_items
        if self.item_ids:
            twice = [name for name, times in Counter(self.item_ids).items() if times > 1]
            if twice:
                raise InputError(f"item {twice[0]!r} is to be reconstructed twice; name it once.")
            frame = frame.where(F.col(ITEM_ID).isin(list(self.item_ids)))
            there = {row[ITEM_ID] for row in frame.select(ITEM_ID).collect()}
            missing = [name for name in self.item_ids if name not in there]
            if missing:
                raise no_such_items(missing)
            return frame, len(there)
        if self.number is None or self.number >= num_items:
            if self.number is not None and self.number > num_items:
                log.info(
                    "%d items are to be reconstructed, but there are %d: all of them are.",
                    self.number,
                    num_items,
                )
            return frame, num_items
        shuffled = F.xxhash64(F.col(ITEM_ID), F.lit(self.seed))
        return frame.orderBy(shuffled, ITEM_ID).limit(self.number), self.number

    def _first(self, errors: DataFrame, *, of_both_ends: bool) -> list[tuple[str, list[str]]]:
        """Return the sections' titles, and the ids of their items in order."""
        worst, best = F.desc_nulls_last(SQUARED_ERROR), F.asc_nulls_last(SQUARED_ERROR)
        groups: list[tuple[str, Column, int]]
        if of_both_ends:
            groups = [("The worst", worst, _OF_EACH), ("The best", best, _OF_EACH)]
            groups = groups if self.order == "worst" else groups[::-1]
        else:
            groups = [("", worst if self.order == "worst" else best, _MOST_PAIRS)]
        return [
            (
                title,
                [row[ITEM_ID] for row in errors.orderBy(by, ITEM_ID).limit(number).collect()],
            )
            for title, by, number in groups
        ]


def parse_number(text: str) -> int | None:
    """Return how many items to reconstruct; None for all of them.

    Raises:
        InputError: The text is neither a number nor ``all``.
    """
    if text.strip() == ALL:
        return None
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 1:
        raise InputError(f"reconstruct is {text!r}; expected a number of items, or all.")
    return number


def _find_catalog(context: Context) -> CatalogSource:
    table = context.table
    if context.catalog is None and CATALOG_KEY not in table.provenance:
        raise InputError(
            f"{table.uri} is plain Parquet, which does not say where its pictures are; name "
            "their place with --catalog."
        )
    return find_pictures(context.spark, table, context.catalog)


def _items_of(context: Context) -> DataFrame:
    """Return the table's item_id and mu, and source_version if it has that."""
    frame = read_table(context.spark, context.table)
    own = [name for name in (MU, SOURCE_VERSION) if name in frame.columns]
    return frame.select(F.col(ITEM_ID).cast("string").alias(ITEM_ID), *own)


def _facts(errors: DataFrame) -> dict[str, Any]:
    """Return the errors' mean, quantiles and counts, for the summary."""
    error = F.col(SQUARED_ERROR)
    quantiles = F.percentile_approx(error, [0.5, 0.9, 0.99], F.lit(10_000))
    row = errors.agg(
        F.avg(error).alias("mean"),
        quantiles.alias("quantiles"),
        F.max(error).alias("worst"),
        F.count(error).alias("compared"),
        F.sum(F.col(CHANGED).cast("long")).alias("changed"),
    ).collect()[0]
    failed = errors.where(F.col(REASON).isNotNull()).groupBy(REASON).count().collect()
    reasons = {row[REASON]: row["count"] for row in sorted(failed)}
    median, most, nearly_all = row["quantiles"] or (None, None, None)
    if row["changed"]:
        log.warning(
            "%d of %d pictures have another source_version than when they were encoded. Where "
            "it is another picture, its error compares it with the older one's reconstruction; "
            "encode_catalog brings the table up to date.",
            row["changed"],
            row["compared"],
        )
    return {
        "compared": row["compared"],
        "not_compared": reasons,
        "changed": row["changed"] or 0,
        "squared_error": {
            "mean": row["mean"],
            "median": median,
            "90%": most,
            "99%": nearly_all,
            "worst": row["worst"],
        },
    }


def _pairs(context: Context, catalog: CatalogSource, item_ids: Set[str]) -> dict[str, Pair]:
    """Read and decode some items' pictures; return them by item_id."""
    items = _items_of(context).where(F.col(ITEM_ID).isin(sorted(item_ids)))
    rows = reconstruct(
        items, len(item_ids), catalog, context.bundle, keep="bytes", hardware=context.hardware
    )
    return {row[ITEM_ID]: _pair(row) for row in rows.collect()}


def _pair(row: Row) -> Pair:
    original = None if row[ORIGINAL] is None else small(from_file(bytes(row[ORIGINAL])))
    decoded = small(from_file(bytes(row[RECONSTRUCTION])))
    return Pair(
        item_id=row[ITEM_ID],
        original=original,
        reconstruction=decoded,
        squared_error=row[SQUARED_ERROR],
        note=row[MESSAGE] or "",
    )


def _sheet_of(sections: Sequence[Pairs]) -> bytes | None:
    """Return all pairs that have both pictures as one PNG file; None if there is none."""
    pairs = [pair for section in sections for pair in section.pairs]
    originals = [pair.original for pair in pairs if pair.original is not None]
    if not originals:
        return None
    compared = [pair for pair in pairs if pair.original is not None]
    return reconstruction_sheet(
        np.stack(originals),
        np.stack([pair.reconstruction for pair in compared]),
        "items, what the model makes of them, squared error per pixel",
        [pair.squared_error or 0.0 for pair in compared],
    )
