"""Originals and reconstructions of a table's items, for decode_latents."""

from __future__ import annotations

import logging
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from vaeudf.catalog.source import CatalogSource
from vaeudf.decoding.reconstruction import Keep, reconstruct
from vaeudf.errors import InputError
from vaeudf.model.bundle import Bundle
from vaeudf.model.devices import Hardware
from vaeudf.pages.decode_page import Pair, Pairs
from vaeudf.pages.sheets import from_file, small
from vaeudf.pages.training_plots import reconstruction_sheet
from vaeudf.query.bulk import no_such_items
from vaeudf.schema import (
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
from vaeudf.spark.read import read_table
from vaeudf.storage.locations import spark_literal, spark_uri
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.drawn import Drawn
from vaeudf.workflows.traversals import ALL

log = logging.getLogger(__name__)

Order = Literal["worst", "best"]
Format = Literal["png", "parquet"]

ERRORS = "errors.parquet"
# Pairs on a page; of all items, so many of the worst and of the best.
_MOST_PAIRS, _OF_EACH = 100, 24
_NOTES = (
    "Left: the picture as the model sees it, at its size. Right: the decoder's picture of the "
    "item's mu. The green number is the mean squared difference of their levels in [0, 1], over "
    "all pixels and channels; 0 is the same picture."
)


@dataclass(frozen=True)
class Reconstructions:
    """Compares items with what the model makes of them.

    Attributes:
        spark: The session.
        table: Has their mu.
        catalog: Has their pictures.
        bundle: The model.
        order: Which come first.
        format: How pictures are written.
        hardware: What to decode on.
    """

    spark: SparkSession
    table: PosteriorTable
    catalog: CatalogSource
    bundle: Bundle
    order: Order
    format: Format
    hardware: Hardware

    def choose(
        self, number: int | None, item_ids: Sequence[str] | None, seed: int
    ) -> tuple[DataFrame, int]:
        """Return items, and how many they are.

        Args:
            number: This many, by a hash of item_id and seed; None for all, unless they are named.
            item_ids: These.
            seed: Chooses which.

        Raises:
            InputError: An item is not in the table, or is named twice.
        """
        frame = read_table(self.spark, self.table)
        own = [name for name in (MU, SOURCE_VERSION) if name in frame.columns]
        frame = frame.select(F.col(ITEM_ID).cast("string").alias(ITEM_ID), *own)
        if item_ids:
            twice = [name for name, times in Counter(item_ids).items() if times > 1]
            if twice:
                raise InputError(f"item {twice[0]!r} is to be reconstructed twice; name it once.")
            frame = frame.where(F.col(ITEM_ID).isin(list(item_ids)))
            there = {row[ITEM_ID] for row in frame.select(ITEM_ID).collect()}
            missing = [name for name in item_ids if name not in there]
            if missing:
                raise no_such_items(missing)
            return frame, len(there)
        if number is None or number >= self.table.num_items:
            if number is not None and number > self.table.num_items:
                log.info(
                    "%d items are to be reconstructed, but there are %d: all of them are.",
                    number,
                    self.table.num_items,
                )
            return frame, self.table.num_items
        shuffled = F.xxhash64(F.col(ITEM_ID), F.lit(seed))
        return frame.orderBy(shuffled, ITEM_ID).limit(number), number

    def run(self, items: DataFrame, count: int, is_all: bool, folder: str | None) -> Drawn:
        """Decode and compare; write the errors, and the pictures unless all items are compared.

        Args:
            items: What :meth:`choose` returned.
            count: How many.
            is_all: Whether all were asked for.
            folder: Where to write; None for nowhere.
        """
        keep: Keep = "nothing"
        if folder is not None and not is_all:
            keep = "files" if self.format == "png" else "bytes"
        found = self._reconstruct(items, count, keep, folder if keep == "files" else None)
        if folder is None:
            # Evaluated once: each time would read and decode all pictures again.
            errors = found.persist()
        else:
            path = posixpath.join(folder, ERRORS)
            found.write.parquet(spark_uri(path))
            errors = self.spark.read.parquet(spark_literal(path))
        facts = self._facts(errors)
        sections, sheet = self._show(errors, is_all, count)
        if folder is None:
            errors.unpersist()
        hidden = count - sum(len(section.pairs) for section in sections)
        changed = (
            f" {facts['changed']:,} of the pictures have another source_version than when they "
            "were encoded: they may be other pictures."
        )
        further = f" {hidden:,} further items are not shown." if hidden > 0 else ""
        lead = f"{count:,} {'item' if count == 1 else 'items'} of the catalog"
        if facts["squared_error"]["mean"] is not None:
            lead += (
                f"; the mean squared error per pixel is {facts['squared_error']['mean']:.5f}, the "
                f"median {facts['squared_error']['median']:.5f}"
            )
        return Drawn(
            None,
            count,
            "What the model keeps of a picture",
            f"{lead}.",
            sections,
            notes=_NOTES + further + (changed if facts["changed"] else ""),
            sheet=sheet,
            facts=facts,
        )

    def _reconstruct(
        self, items: DataFrame, count: int, keep: Keep, folder: str | None
    ) -> DataFrame:
        return reconstruct(items, count, self.catalog, self.bundle, keep, folder, self.hardware)

    def _facts(self, errors: DataFrame) -> dict[str, Any]:
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

    def _show(
        self, errors: DataFrame, is_all: bool, count: int
    ) -> tuple[list[Pairs], bytes | None]:
        """Return the page's pairs, and the sheet of them."""
        worst, best = F.desc_nulls_last(SQUARED_ERROR), F.asc_nulls_last(SQUARED_ERROR)
        first = worst if self.order == "worst" else best
        groups: list[tuple[str, Column, int]]
        if is_all and count > 2 * _OF_EACH:
            groups = [("The worst", worst, _OF_EACH), ("The best", best, _OF_EACH)]
            groups = groups if self.order == "worst" else groups[::-1]
        else:
            groups = [("", first, _MOST_PAIRS)]
        names = [
            [row[ITEM_ID] for row in errors.orderBy(by, ITEM_ID).limit(number).collect()]
            for _, by, number in groups
        ]
        pairs = self._pairs(sorted({name for own in names for name in own}))
        sections = [
            Pairs(title, "", [pairs[name] for name in own])
            for (title, _, _), own in zip(groups, names, strict=True)
        ]
        compared = [pair for own in sections for pair in own.pairs if pair.original is not None]
        if not compared:
            return sections, None
        sheet = reconstruction_sheet(
            np.stack([pair.original for pair in compared]),  # type: ignore[misc]
            np.stack([pair.reconstruction for pair in compared]),
            "items, what the model makes of them, squared error per pixel",
            [pair.squared_error or 0.0 for pair in compared],
        )
        return sections, sheet

    def _pairs(self, item_ids: Sequence[str]) -> dict[str, Pair]:
        """Return some items with their pictures, which are decoded for it."""
        items, count = self.choose(None, item_ids, 0)
        rows = self._reconstruct(items, count, "bytes", None).collect()
        return {row[ITEM_ID]: _pair(row) for row in rows}


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


def _pair(row: Row) -> Pair:
    original = None if row[ORIGINAL] is None else small(from_file(bytes(row[ORIGINAL])))
    decoded = small(from_file(bytes(row[RECONSTRUCTION])))
    return Pair(row[ITEM_ID], original, decoded, row[SQUARED_ERROR], row[MESSAGE] or "")
