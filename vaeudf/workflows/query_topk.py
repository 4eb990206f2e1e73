"""Answer bulk queries: for each z, the items with the highest log q(z|x)."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.catalog.patterns import is_glob
from vaeudf.errors import InputError
from vaeudf.gaussian.checks import Tolerance, check_tolerance
from vaeudf.gaussian.scores import SCORES
from vaeudf.model.py_files import use_py_files
from vaeudf.query.all_above import plan_all
from vaeudf.query.blends import UNLIKE_WEIGHT, Blends, with_dislikes
from vaeudf.query.bulk import plan, posteriors_of
from vaeudf.query.files import read_queries
from vaeudf.query.latents import Latents, parse_z
from vaeudf.query.options import CANDIDATES, QueryOptions
from vaeudf.query.per_value import Per, tell_of_few
from vaeudf.query.shares import plan_shares
from vaeudf.schema import HIDDEN, QUERY_ID
from vaeudf.spark.progress import progress
from vaeudf.spark.read import read_table
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import absolute
from vaeudf.table.open import PosteriorTable, open_posteriors
from vaeudf.workflows.all_hits import check_all, told_of_all
from vaeudf.workflows.blending import blended, check_blending
from vaeudf.workflows.cli import Summary, option, path_option
from vaeudf.workflows.conditions import rows_where, where_is_to_blame
from vaeudf.workflows.hits import most_frequent, most_frequent_of, print_table
from vaeudf.workflows.option_groups import PageOptions, VersionOptions
from vaeudf.workflows.page_pictures import check_page_pictures, find_page_pictures
from vaeudf.workflows.photos import photos_as_queries
from vaeudf.workflows.pictures import load_decoder, places_read
from vaeudf.workflows.query_checks import check_queries, check_score, check_table
from vaeudf.workflows.query_output import check_query_output, share_folder, write_results
from vaeudf.workflows.query_page import QueryPage
from vaeudf.workflows.query_summary import summary_of
from vaeudf.workflows.reranking import (
    check_candidates,
    check_rerank,
    prepare_rerank,
)
from vaeudf.workflows.share_table import leading, print_shares

if TYPE_CHECKING:
    from vaeudf.model.bundle import Bundle

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueryTopk(VersionOptions, PageOptions):
    """Find, for every latent vector z, the k items with the highest log q(z|x), exactly."""

    table: str = path_option(help="folder of the posterior table, or of plain Parquet like it")
    queries: str | None = path_option(
        None, help="file of z vectors, or of mu and log_var: Parquet, CSV, JSON lines or .npy"
    )
    z: list[str] | None = option(None, help='a vector, "0.1,-2,…"; repeat it for more')
    like: list[str] | None = option(
        None, help="an item_id of the table, to find others like it; repeat it for more"
    )
    image: list[str] | None = path_option(
        None, help="a photo, a folder or a glob of photos, to find items like them; repeat it"
    )
    blend: bool = option(False, help="make one query of all, or of each group of a file")
    unlike: list[str] | None = option(
        None, help="an item_id that hits are to be unlike, in one query with the rest; repeat it"
    )
    unlike_weight: float = option(
        UNLIKE_WEIGHT, help="with --unlike: what these weigh, together, beside 1"
    )
    k: int | None = option(None, help=f"items per query (default: {QueryOptions.k})")
    all: bool = option(False, help="with --min-score: every item that reaches it, not k; unranked")
    score: str | None = option(
        None,
        help=f"{', '.join(SCORES)} (default: log_likelihood for z, kl for Gaussians)",
    )
    tolerance: float | str = option(
        0.0, help="how precisely z is meant, T or T,T,… by dimension: score N(z, T²) against all"
    )
    ignore_dims: int | str | None = option(
        None, help='dimensions that z says nothing of, such as "0,7"; also --z "0.4,,*,-1"'
    )
    min_score: float | None = option(None, help="leave out items that score worse")
    exclude_self: bool = option(False, help="with --like or --unlike: leave out the items named")
    where: str | None = option(None, help="search only items that fulfil this SQL condition")
    columns: list[str] | None = option(None, help="a payload column to add; repeat it for more")
    per: str | None = option(
        None, help="at most N hits for each value of a payload column: COLUMN:N (COLUMN: 1)"
    )
    explain: bool = option(False, help="add misfit, volume and the costliest dimensions")
    responsibilities: bool = option(
        False, help="add each hit's p(x|z), and log of the mean of q(z|x) over the items"
    )
    share: str | None = option(
        None, help="a payload column: add up p(x|z) by its values, such as 83 % dress"
    )
    distinct: float | None = option(
        None, help="hide items whose Bhattacharyya distance from a better hit is below this, nats"
    )
    diversify: float | None = option(
        None, help="lambda in (0, 1]: hits unlike each other, by maximal marginal relevance"
    )
    rerank: Literal["picture"] | None = option(
        None, help="picture: rank the best again by log p(x|z) of their own pictures"
    )
    candidates: int | None = option(
        None,
        help="choose from this many of the best: with --rerank (default: "
        f"{CANDIDATES}), with --diversify (default: 10 k)",
    )
    likelihood: str | None = option(
        None, help="with --rerank: gaussian:VARIANCE or bernoulli, if the model does not say"
    )
    z_bound: float | None = option(None, help="refuse queries outside [-A, A]")
    output: str | None = path_option(
        None, help="folder of Parquet to write (default: print a table)"
    )
    report_queries: int = option(50, help="show at most this many queries on the page")

    def __post_init__(self) -> None:
        check_candidates(self)
        self.query_options()
        self.open_dims  # noqa: B018 - checks that they are numbers
        if sum((self.queries is not None, bool(self.z), bool(self.like), bool(self.image))) != 1:
            raise InputError(
                "expected queries, from one of --queries FILE, --z, --like and --image, and from "
                "one only."
            )
        if self.ignore_dims is not None and (self.like or self.image):
            raise InputError("ignore-dims is for --z and --queries: other queries are Gaussians.")
        check_blending(self, UNLIKE_WEIGHT)
        check_score(self)
        # Whether a file is of blends is seen when it is read.
        if self.exclude_self and not (self.like or self.unlike or self.queries):
            raise InputError("exclude-self is for --like: a z has no item of its own.")
        check_all(self)
        check_rerank(self)
        self.check_version()
        if self.report_queries < 1:
            raise InputError(f"report-queries is {self.report_queries}; expected at least 1.")
        self.check_page("report_queries", encodes=bool(self.image), reads=self.rerank is not None)

    @property
    def _tolerance(self) -> Tolerance:
        try:
            taus = [float(text) for text in str(self.tolerance).strip("[]() ").split(",")]
        except ValueError:
            raise InputError(
                f"tolerance is {self.tolerance!r}; expected a number, or one for each dimension "
                "with commas between, such as 0.2,0.5."
            ) from None
        return check_tolerance(taus if len(taus) > 1 else taus[0])

    @property
    def open_dims(self) -> list[int]:
        """The dimensions that no query says anything of."""
        if self.ignore_dims is None:
            return []
        try:
            return [int(text) for text in str(self.ignore_dims).strip("[]() ").split(",")]
        except ValueError:
            raise InputError(
                f"ignore-dims is {self.ignore_dims!r}; expected whole numbers with commas between, "
                "such as 0,7."
            ) from None

    @property
    def num_hits(self) -> int:
        """How many hits each query is to have."""
        return QueryOptions.k if self.k is None else self.k

    @property
    def num_candidates(self) -> int:
        """With --rerank, of how many they are chosen."""
        return CANDIDATES if self.candidates is None else self.candidates

    def query_options(self) -> QueryOptions:
        """Return what is asked for of every query; with --rerank, that is the candidates."""
        return QueryOptions(
            k=self.num_hits if self.rerank is None else self.num_candidates,
            score=self.score,
            tolerance=self._tolerance,
            min_score=self.min_score,
            columns=tuple(self.columns or ()),
            explain=self.explain,
            exclude_self=self.exclude_self,
            responsibilities=self.responsibilities,
            distinct=self.distinct,
            diversify=self.diversify,
            candidates=self.candidates if self.rerank is None else None,
            per=None if self.per is None else Per.of(self.per),
        )


def query_topk(options: QueryTopk) -> Summary:
    """Read the queries, search the table, write the results, draw the page."""
    watch = Stopwatch()
    table = open_posteriors(options.table, options.version)
    check_table(options, table)
    use_py_files(options.py_files)
    latents = _read_queries(options, table)
    if latents is not None:
        latents = latents if options.unlike else blended(latents, options)
        check_queries(latents, table, options)
    reranking = prepare_rerank(options, table)
    decoder = None if reranking is None else reranking.bundle
    if options.report:
        decoder = load_decoder(
            table, options.model, options.catalog, trust_model=options.trust_model
        )
        check_page_pictures(table, options.catalog)
    named = (options.table, options.queries, options.catalog, options.model)
    # What a glob matches is beside other things, such as an earlier page.
    photos = [path for path in options.image or () if not is_glob(path)]
    inputs = places_read(table, *named, *photos)
    check_query_output(options, inputs)

    written = None
    with ExitStack() as frames:
        spark = frames.enter_context(spark_session("query_topk", *_opened_by_spark(options)))
        frames.enter_context(progress(spark, watch))
        page = None
        if options.report and decoder is not None:
            page = _page(spark, table, decoder, options)
        latents = _complete(spark, table, latents, options)
        # With --distinct the plan searches already.
        with watch.phase("plan"), where_is_to_blame(options.where):
            searched, asked = _searched(spark, table, options), options.query_options()
            query = (plan_all if options.all else plan)(searched, latents, asked)
            shares = None
            if options.share is not None:
                shares = plan_shares(searched, latents, options.share, asked)
        hits, hidden, reranked = query.hits, None, None
        with watch.phase("search"), where_is_to_blame(options.where):
            if reranking is not None:
                reranked = reranking.plan(spark, table, hits, latents, frames)
                hits = reranked.hits
            if options.output:
                # What follows reads the results instead of searching again.
                ranked = not options.all
                hits, shares = write_results(spark, hits, shares, options.output, ranked=ranked)
                hub = None if options.all else most_frequent(hits, len(latents))
                if options.distinct is not None:
                    hidden = hits.agg(F.coalesce(F.sum(HIDDEN), F.lit(0))).collect()[0][0]
            else:
                rows = hits.collect()
                hub = most_frequent_of(rows, len(latents))
                if options.distinct is not None:
                    hidden = sum(row[HIDDEN] for row in rows)
            told = {}
            if shares is not None and (page is not None or not options.output):
                names = None if page is None else latents.ids[: options.report_queries]
                told = leading(shares, str(options.share), names)
        if len(latents) == 1:
            hub = None  # all hits of one query are equally frequent
        summary = summary_of(options, table, query, latents, hub)
        if hidden is not None:
            summary["hidden"] = hidden
        if options.all:
            summary |= told_of_all(hits, latents)
        if reranking is not None and reranked is not None:
            summary |= reranking.told(reranked)
        summary["seconds"] = watch.seconds
        if page is not None:
            with watch.phase("report"):
                if options.output:
                    shown = latents.ids[: options.report_queries]
                    rows = hits.where(F.col(QUERY_ID).isin(list(shown))).collect()
                written = page.write(spark, table, latents, rows, query.score, summary, told)
        # Neither can be asked of a session that has ended.
        columns, num_hits = hits.columns, None
        if options.per is not None and options.min_score is None:
            num_hits = hits.count() if options.output else len(rows)
    if not options.output and not options.report:
        print_table(rows, columns, latents)
        if options.share is not None:
            print_shares(told, options.share, latents)
    if options.per is not None and num_hits is not None:
        tell_of_few(options.per, summary["k"], num_hits, len(latents))
    elif not options.all and options.distinct is None and summary["k"] > summary["items"]:
        log.info(
            "k is %d, but there are %d items: all are returned.", summary["k"], summary["items"]
        )
    if options.output:
        summary["output"] = absolute(options.output)
        if options.share is not None:
            summary["share_output"] = absolute(share_folder(options.output))
    if written is not None:
        summary["report"] = written
    return summary


def _opened_by_spark(options: QueryTopk) -> list[str]:
    """Return what Spark itself is to read or write; most of a query's reading is pyarrow's."""
    by_rows = (options.report, options.like, options.unlike, options.where, options.columns)
    return [
        *([options.output] if options.output else []),
        *([options.table] if any(by_rows) else []),
    ]


def _read_queries(options: QueryTopk, table: PosteriorTable) -> Latents | None:
    """Return what is asked for; None if it must be looked up in the table."""
    if options.like:
        return None
    if options.image:
        return photos_as_queries(
            options.image, table, options.model, trust_model=options.trust_model
        )
    if options.queries:
        latents = read_queries(options.queries, blend=options.blend)
    else:
        latents = parse_z(options.z or [])
    latents = latents.leaving_open(options.open_dims) if options.open_dims else latents
    if latents.has_open:
        count = int(latents.is_open.any(axis=1).sum())
        log.info("%d of %d queries leave dimensions open.", count, len(latents))
    return latents


def _page(
    spark: SparkSession, table: PosteriorTable, decoder: Bundle, options: QueryTopk
) -> QueryPage:
    """Return the page that is asked for, without its hits."""
    return QueryPage(
        str(options.report),
        decoder,
        find_page_pictures(spark, table, options.catalog),
        options.report_queries,
        options.z_bound,
        photos=bool(options.image),
        items=frozenset([*(options.like or ()), *(options.unlike or ())]),
    )


def _complete(
    spark: SparkSession, table: PosteriorTable, latents: Latents | None, options: QueryTopk
) -> Latents:
    """Return the queries, with what must be looked up in the table."""
    if latents is None:
        latents = posteriors_of(read_table(spark, table), options.like or [])
        latents = latents if options.unlike else blended(latents, options)
        check_queries(latents, table, options)
    if options.unlike:
        unlikes = posteriors_of(read_table(spark, table), options.unlike)
        latents = with_dislikes(
            latents, unlikes, options.unlike_weight, likes_are_items=bool(options.like)
        )
        check_queries(latents, table, options)
    if isinstance(latents, Blends):
        latents.tell()
    return latents


def _searched(
    spark: SparkSession, table: PosteriorTable, options: QueryTopk
) -> PosteriorTable | DataFrame:
    """Return the table, or what a condition leaves of it."""
    if options.where is None:
        return table
    return rows_where(read_table(spark, table), options.where)
