"""The page of pictures at the end of a bulk query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from vaeudf.bundle import Bundle, load_bundle
from vaeudf.catalog import CatalogSource, read_images, resolve_format
from vaeudf.cli import Summary
from vaeudf.errors import BundleError, InputError
from vaeudf.latents import Latents
from vaeudf.query import read_table
from vaeudf.report import Hit, Result, write_report
from vaeudf.schema import (
    CATALOG_KEY,
    ITEM_ID,
    LOG_VAR,
    MODEL_PATH_KEY,
    MU,
    QUERY_ID,
    RANK,
    SOURCE_VERSION,
    quoted,
)
from vaeudf.scores import Score
from vaeudf.table import PosteriorTable

_FACTS_SHOWN = 3


@dataclass(frozen=True)
class QueryPage:
    """What a page of hits is made from.

    Attributes:
        folder: Where to write it.
        decoder: The model that decodes z.
        pictures: The catalog that has the items' pictures.
        num_queries: How many queries to show at most.
        slider_range: a of the sliders' travel [-a, a]; chosen so that all fits unless given.
    """

    folder: str
    decoder: Bundle
    pictures: CatalogSource
    num_queries: int
    slider_range: float | None

    def write(
        self,
        spark: SparkSession,
        table: PosteriorTable,
        latents: Latents,
        hits: Sequence[Row],
        score: Score,
        summary: Summary,
    ) -> str:
        """Write the page and return its path.

        Args:
            spark: The session, to read the pictures and payload of the items that are shown.
            table: What was searched.
            latents: The queries.
            hits: The hits of those that are shown, at least.
            score: What they are ranked by.
            summary: What is known of the run.
        """
        shown = latents.ids[: self.num_queries]
        rows = sorted((hit for hit in hits if hit[QUERY_ID] in shown), key=lambda hit: hit[RANK])
        item_ids = sorted({row[ITEM_ID] for row in rows})
        images = read_images(spark, self.pictures, item_ids)
        facts = _read_facts(spark, table, item_ids)
        decoded = self.decoder.decode(latents.z[: len(shown)])
        results = []
        for place, query_id in enumerate(shown):
            own = [
                Hit(
                    row[RANK],
                    row[ITEM_ID],
                    row[score.name],
                    images.get(row[ITEM_ID]),
                    facts.get(row[ITEM_ID], ()),
                )
                for row in rows
                if row[QUERY_ID] == query_id
            ]
            results.append(Result(query_id, latents.z[place], decoded[place], own))
        return write_report(
            self.folder,
            results,
            title="Most like these",
            num_items=summary["items"],
            score=score,
            facts=_facts_of_run(summary),
            slider_range=_slider_range(latents, self.decoder, self.slider_range),
            omitted=len(latents) - len(shown),
        )


def load_decoder(
    table: PosteriorTable, model: str | None, catalog: str | None, trust_model: bool = False
) -> Bundle:
    """Return the bundle to decode z with: the table's own, unless one is named.

    Raises:
        InputError: The table is plain Parquet, and model or catalog is not named.
        BundleError: There is no such bundle, or the table was encoded with another.
    """
    if not table.provenance and (model is None or catalog is None):
        raise InputError(
            f"{table.uri} is plain Parquet, which does not say what it was encoded with; a "
            "page needs --model and --catalog."
        )
    path = model or table.provenance[MODEL_PATH_KEY]
    try:
        bundle = load_bundle(path, trust_model)
    except BundleError as error:
        raise BundleError(f"{error} The page decodes z with it: name it with --model.") from None
    if table.provenance and bundle.model_id != table.model_id:
        raise BundleError(
            f"model {path} has id {bundle.model_id[:12]}…, but the table was encoded with "
            f"{table.model_id[:12]}…: its pictures would not be those of z. Name the right one "
            "with --model."
        )
    if not bundle.has_decoder:
        raise BundleError(
            f"model {path} has no decoder, and a page shows what each z decodes to. Export the "
            "model with one, or ask without --report."
        )
    return bundle


def find_pictures(spark: SparkSession, table: PosteriorTable, catalog: str | None) -> CatalogSource:
    """Return the catalog that the page's pictures come from, once it is known to be there."""
    if CATALOG_KEY in table.provenance:
        source = CatalogSource.from_json(table.provenance[CATALOG_KEY])
        if catalog is not None:
            source = source.moved_to(catalog)
    else:
        source = CatalogSource(str(catalog))
    try:
        first = resolve_format(spark, replace(source, format="auto"))  # is anything there?
        if (first if source.format == "auto" else source.format) == "parquet":
            read_images(spark, source, [])  # does it have the columns?
    except InputError as error:
        raise InputError(
            f"{error} The page shows its pictures: say where with --catalog."
        ) from None
    return source


def _facts_of_run(summary: Summary) -> list[tuple[str, str]]:
    """Return what a page says of the run."""
    facts = [
        ("queries", f"{summary['queries']:,}"),
        ("items", f"{summary['items']:,}"),
        ("ranked by", summary["score"]),
        ("tolerance", f"{summary['tolerance']:g}"),
        ("pairs scored", f"{summary['scored_fraction']:.2%}"),
        ("rows shuffled per query", f"{summary['rows_shuffled_per_query']:g}"),
    ]
    if "row_groups" in summary:
        read = f"{summary['row_groups_read']:,} of {summary['row_groups']:,}"
        facts.append(("row groups read", read))
    if "hub_share" in summary:
        share = f"{summary['hub_item']}, in {summary['hub_share']:.0%} of the queries"
        facts.append(("most frequent hit", share))
    phases = (f"{name} {seconds:.1f}" for name, seconds in summary["seconds"].items() if seconds)
    facts.append(("seconds", ", ".join(phases)))
    return facts


def _read_facts(
    spark: SparkSession, table: PosteriorTable, item_ids: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    """Return the first payload columns of these items, as text."""
    frame = read_table(spark, table)
    own = (ITEM_ID, MU, LOG_VAR, SOURCE_VERSION)
    names = [name for name in frame.columns if name not in own][:_FACTS_SHOWN]
    if not names:
        return {}
    rows = frame.where(F.col(ITEM_ID).isin(list(item_ids)))
    rows = rows.select(ITEM_ID, *(F.col(quoted(name)).cast("string") for name in names))
    return {
        row[ITEM_ID]: [(name, row[name]) for name in names if row[name] is not None]
        for row in rows.collect()
    }


def _slider_range(latents: Latents, bundle: Bundle, bound: float | None) -> float:
    """Return a of the sliders' travel [-a, a]: as asked, else so that the z and the items fit."""
    if bound is not None:
        return bound
    reach = [abs(value) for ends in bundle.manifest.z_range or [] for value in ends]
    return float(max([3.0, float(abs(latents.z).max()), *reach]).__ceil__())
