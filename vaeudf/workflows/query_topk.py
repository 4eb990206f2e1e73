"""Answer bulk queries: for each z, the items with the highest log q(z|x)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from vaeudf.bundle import Bundle, load_bundle
from vaeudf.catalog import CatalogSource, read_images, resolve_format
from vaeudf.cli import Summary, option
from vaeudf.errors import BundleError, InputError
from vaeudf.latents import Latents, parse_z, read_latents
from vaeudf.query import read_table, top_k
from vaeudf.report import PAGE, Hit, Result, write_report
from vaeudf.schema import (
    CATALOG_KEY,
    ITEM_ID,
    LOG_LIKELIHOOD,
    LOG_VAR,
    MODEL_PATH_KEY,
    MU,
    QUERY_ID,
    RANK,
    SOURCE_VERSION,
    quoted,
)
from vaeudf.session import spark_session
from vaeudf.storage import SUCCESS, absolute, check_output, replacing, spark_literal, spark_uri
from vaeudf.table import PosteriorTable, open_table
from vaeudf.timing import Stopwatch
from vaeudf.topk import check_k

log = logging.getLogger(__name__)

_FACTS_SHOWN = 3


@dataclass(frozen=True)
class QueryTopk:
    """Find, for every latent vector z, the k items with the highest log q(z|x), exactly."""

    table: str = option(help="folder of the posterior table")
    queries: str | None = option(None, help="file of z vectors: Parquet, CSV, JSON lines or .npy")
    z: list[str] | None = option(None, help='a vector, "0.1,-2,…"; repeat it for more')
    k: int = option(10, help="items per query")
    z_bound: float | None = option(None, help="refuse queries outside [-A, A]")
    output: str | None = option(None, help="folder of Parquet to write (default: print a table)")
    report: str | None = option(None, help="folder to write a page of pictures to")
    report_queries: int = option(50, help="show at most this many queries on the page")
    model: str | None = option(None, help="bundle to decode z with (default: the table's own)")
    catalog: str | None = option(None, help="where the pictures are (default: the table's own)")
    overwrite: bool = option(False, help="replace --output and --report if they exist")

    def __post_init__(self) -> None:
        check_k(self.k)
        if (self.queries is None) == (not self.z):
            raise InputError("expected queries, from either --queries FILE or --z, and not both.")
        if self.report_queries < 1:
            raise InputError(f"report-queries is {self.report_queries}; expected at least 1.")


def query_topk(options: QueryTopk) -> Summary:
    """Read the queries, search the table, write the results, draw the page."""
    watch = Stopwatch()
    table = open_table(options.table)
    latents = read_latents(options.queries) if options.queries else parse_z(options.z or [])
    latents.check_latent_dim(table.latent_dim)
    if options.z_bound is not None:
        latents.check_bound(options.z_bound)
    bundle = _decoder(options, table) if options.report else None
    if options.output:
        check_output(options.output, options.overwrite, SUCCESS, [options.table])
    if options.report:
        check_output(options.report, options.overwrite, PAGE, [options.table])
    if options.k > table.num_items:
        log.info(
            "k is %d, but the table has %d items: all are returned.", options.k, table.num_items
        )

    page = None
    with spark_session("query_topk") as spark:
        source = _pictures(spark, options, table) if options.report else None
        with watch.phase("search"):
            hits = top_k(table, latents, options.k)
            if options.output:
                with replacing(options.output) as folder:
                    ordered = hits.sortWithinPartitions(QUERY_ID, RANK)
                    ordered.write.parquet(spark_uri(folder))
                # What follows looks the results up instead of searching again.
                hits = spark.read.parquet(spark_literal(options.output))
            else:
                rows = hits.collect()
        if bundle is not None and source is not None:
            with watch.phase("report"):
                if options.output:
                    shown = latents.ids[: options.report_queries]
                    rows = hits.where(F.col(QUERY_ID).isin(list(shown))).collect()
                page = _write_page(spark, rows, latents, table, bundle, source, options)
    if not options.output and not options.report:
        _print_table(rows, latents)
    summary: Summary = {
        "queries": len(latents),
        "items": table.num_items,
        "k": options.k,
        "table": table.uri,
        "version": table.version,
        "seconds": watch.seconds,
    }
    if options.output:
        summary["output"] = absolute(options.output)
    if page is not None:
        summary["report"] = page
    return summary


def _decoder(options: QueryTopk, table: PosteriorTable) -> Bundle:
    path = options.model or table.provenance[MODEL_PATH_KEY]
    try:
        bundle = load_bundle(path)
    except BundleError as error:
        raise BundleError(f"{error} The page decodes z with it: name it with --model.") from None
    if bundle.model_id != table.model_id:
        raise BundleError(
            f"model {path} has id {bundle.model_id[:12]}…, but the table was encoded with "
            f"{table.model_id[:12]}…: its pictures would not be those of z. Name the right one "
            "with --model."
        )
    return bundle


def _pictures(spark: SparkSession, options: QueryTopk, table: PosteriorTable) -> CatalogSource:
    """Return the catalog that the page's pictures come from, once it is known to be there."""
    source = CatalogSource.from_json(table.provenance[CATALOG_KEY])
    if options.catalog is not None:
        source = source.moved_to(options.catalog)
    try:
        resolve_format(spark, source)
    except InputError as error:
        raise InputError(
            f"{error} The page shows its pictures: say where with --catalog."
        ) from None
    return source


def _print_table(hits: Sequence[Row], latents: Latents) -> None:
    """Print every hit as text, queries in the order they were asked in."""
    order = {name: place for place, name in enumerate(latents.ids)}
    rows = sorted(hits, key=lambda row: (order[row[QUERY_ID]], row[RANK]))
    cells = [(QUERY_ID, RANK, ITEM_ID, LOG_LIKELIHOOD)]
    cells += [(r[QUERY_ID], r[RANK], r[ITEM_ID], f"{r[LOG_LIKELIHOOD]:.4f}") for r in rows]
    widths = [max(len(str(row[i])) for row in cells) for i in range(4)]
    w_query, w_rank, w_item, w_score = widths
    for query, rank, item, score in cells:
        sys.stdout.write(
            f"{query:<{w_query}}  {rank:>{w_rank}}  {item:<{w_item}}  {score:>{w_score}}\n"
        )


def _write_page(
    spark: SparkSession,
    hits: Sequence[Row],
    latents: Latents,
    table: PosteriorTable,
    bundle: Bundle,
    source: CatalogSource,
    options: QueryTopk,
) -> str:
    shown = latents.ids[: options.report_queries]
    rows = sorted((hit for hit in hits if hit[QUERY_ID] in shown), key=lambda hit: hit[RANK])
    item_ids = sorted({row[ITEM_ID] for row in rows})
    images = read_images(spark, source, item_ids)
    facts = _read_facts(spark, table, item_ids)
    decoded = bundle.decode(latents.z[: len(shown)])
    results = []
    for place, query_id in enumerate(shown):
        own = [row for row in rows if row[QUERY_ID] == query_id]
        results.append(
            Result(
                query_id,
                latents.z[place],
                decoded[place],
                [
                    Hit(
                        row[RANK],
                        row[ITEM_ID],
                        row[LOG_LIKELIHOOD],
                        images.get(row[ITEM_ID]),
                        facts.get(row[ITEM_ID], ()),
                    )
                    for row in own
                ],
            )
        )
    return write_report(
        str(options.report),
        results,
        title="Most like these",
        num_items=table.num_items,
        slider_range=_slider_range(latents, bundle, options.z_bound),
        omitted=len(latents) - len(shown),
    )


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
