"""Find all copies in an encoded catalog: items whose posteriors are nearly one."""

from __future__ import annotations

import logging
import posixpath
from contextlib import ExitStack
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from vaeudf.copies.keep import check_keep, parse_keep, spark_order
from vaeudf.copies.results import DIVERGENCE, check_columns, copies_as_rows
from vaeudf.copies.search import Copies, find_copies_of
from vaeudf.copies.threshold import DIVERGENCES, Threshold
from vaeudf.errors import InputError
from vaeudf.schema import CATALOG_KEY, ITEM_ID, MODEL_ID_KEY
from vaeudf.spark.frames import write_parquet
from vaeudf.spark.progress import progress
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import absolute, spark_literal
from vaeudf.storage.outputs import COPIES_MARK, replacing
from vaeudf.table.columns import payload_types
from vaeudf.table.open import PosteriorTable, open_posteriors
from vaeudf.workflows.cli import Summary, option, path_option
from vaeudf.workflows.copies_page import CopiesPage
from vaeudf.workflows.option_groups import PicturePageOptions, VersionOptions
from vaeudf.workflows.page_pictures import check_page_pictures, find_page_pictures
from vaeudf.workflows.pictures import places_read
from vaeudf.workflows.record_file import write_record

log = logging.getLogger(__name__)

MEMBERS, PAIRS, RECORD = "members", "pairs", "copies.json"


@dataclass(frozen=True)
class FindCopies(VersionOptions, PicturePageOptions):
    """Find all pairs of items whose posteriors are nearly one, and the groups that they connect."""

    table: str = path_option(help="folder of the posterior table, or of plain Parquet like it")
    output: str = path_option(help="folder to write the groups' members to")
    nats: float = option(0.1, help="the largest divergence of a pair")
    divergence: str = option("jeffreys", help=", ".join(DIVERGENCES))
    keep: str | None = option(
        None,
        help="which item of a group to keep: the first by 'COLUMN asc, COLUMN desc, …', payload "
        "columns (default: by item_id)",
    )
    columns: list[str] | None = option(None, help="a payload column to add; repeat it for more")
    pairs: bool = option(False, help="write all pairs, too")
    max_pairs: int = option(
        100_000_000,
        help="stop where there are more pairs; of equal items one counts, but with --pairs all do",
    )
    report_groups: int = option(50, help="show at most this many groups, the largest")
    report_items: int = option(12, help="items to show of each group")

    def __post_init__(self) -> None:
        self.threshold  # noqa: B018 - refused now rather than later
        parse_keep(self.keep)
        self.check_version()
        for name in ("max_pairs", "report_groups", "report_items"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise InputError(f"{flag} is {getattr(self, name)}; expected at least 1.")
        self.check_picture_page("report_groups", "report_items")

    @property
    def threshold(self) -> Threshold:
        """How near a pair is."""
        return Threshold(self.divergence, self.nats)


def find_copies(options: FindCopies) -> Summary:
    """Find the pairs, connect them, and write the groups."""
    watch = Stopwatch()
    table = open_posteriors(options.table, options.version)
    keep = check_keep(table, parse_keep(options.keep))
    columns = options.columns or []
    check_columns(columns, list(payload_types(table)))
    if options.report:
        _check_catalog(table, options.catalog)
        check_page_pictures(table, options.catalog)
    inputs = places_read(table, options.table, options.catalog)
    options.check_outputs(options.output, COPIES_MARK, inputs)

    carried = [term.name for term in keep if term.name != ITEM_ID]
    # Of the table, only payload, and what a page shows of items, is read by Spark itself.
    by_spark = [table.uri] if options.report or carried or columns else []
    with (
        spark_session("find_copies", options.output, *by_spark) as spark,
        progress(spark, watch),
    ):
        pictures = None
        if options.report:
            pictures = find_page_pictures(spark, table, options.catalog)
        with ExitStack() as stack:
            with watch.phase("find"):
                copies = stack.enter_context(
                    find_copies_of(
                        spark,
                        table,
                        options.threshold,
                        max_pairs=options.max_pairs,
                        wants_pairs=options.pairs,
                    )
                )
            summary = _facts_of(options, table, copies)
            with watch.phase("write"), replacing(options.output, COPIES_MARK) as folder:
                with copies_as_rows(
                    spark, table, copies, options.threshold, spark_order(keep), carried, columns
                ) as (members, pairs):
                    write_parquet(members, posixpath.join(folder, MEMBERS))
                    if pairs is not None:
                        write_parquet(pairs, posixpath.join(folder, PAIRS))
                written = spark.read.parquet(spark_literal(posixpath.join(folder, MEMBERS)))
                summary |= _farthest(written, options.nats)
                write_record(folder, RECORD, {**summary, "keep": options.keep})
        _tell(summary)
        summary["seconds"] = watch.seconds
        summary["output"] = absolute(options.output)
        if pictures is not None and options.report:
            with watch.phase("report"):
                page = CopiesPage(
                    options.report, pictures, options.report_groups, options.report_items
                )
                rows = spark.read.parquet(spark_literal(posixpath.join(options.output, MEMBERS)))
                summary["report"] = page.write(spark, table, rows, summary)
    return summary


def _check_catalog(table: PosteriorTable, catalog: str | None) -> None:
    """Raise InputError if nothing says where the pictures are."""
    if CATALOG_KEY not in table.provenance and catalog is None:
        raise InputError(
            f"{table.uri} is plain Parquet, which does not say what it was encoded from; a page "
            "needs --catalog."
        )


def _facts_of(options: FindCopies, table: PosteriorTable, copies: Copies) -> Summary:
    sizes = copies.groups.sizes
    return {
        "items": table.num_items,
        "divergence": options.divergence,
        "nats": options.nats,
        "pairs": copies.num_pairs,
        "groups": len(sizes),
        "members": int(sizes.sum()),
        # What would go if one of each group stayed.
        "copies": int(sizes.sum()) - len(sizes),
        "largest": int(sizes.max()) if len(sizes) else 0,
        "compared_per_item": round(copies.num_compared / max(1, table.num_items), 3),
        "reads_per_item": round(copies.rows_read / max(1, table.num_items), 3),
        "table": table.uri,
        "version": table.version,
        "model_id": table.provenance.get(MODEL_ID_KEY),
    }


def _farthest(members: DataFrame, nats: float) -> Summary:
    """Return how far members are from the items that are kept."""
    beyond = F.count(F.when(F.col(DIVERGENCE) > nats, 1))
    row = members.agg(F.max(DIVERGENCE).alias("farthest"), beyond.alias("beyond")).collect()[0]
    return {
        "farthest": None if row.farthest is None else round(row.farthest, 6),
        "beyond": row.beyond,
    }


def _tell(summary: Summary) -> None:
    if summary["groups"] == 0:
        log.info("no two items are within %g nats of each other.", summary["nats"])
        return
    if summary["beyond"]:
        log.info(
            "%d members of groups are farther than %g nats from the item that is kept, the "
            "farthest %g: others connect them with it.",
            summary["beyond"],
            summary["nats"],
            summary["farthest"],
        )
