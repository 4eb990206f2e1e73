"""Bulk queries on Spark: the k items that score best for every query, exactly.

A table is read in splits of row groups by the tasks that need them
(:mod:`vaeudf.query.two_rounds`); an arbitrary DataFrame goes through Spark's rows instead
(:mod:`vaeudf.query.frame_search`). Both feed the same fold, and Spark merges what it yields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from vaeudf.errors import InputError
from vaeudf.gaussian.checks import check_k, check_tolerance
from vaeudf.gaussian.scores import Score
from vaeudf.gaussian.scores import choose_score as choose_score_named
from vaeudf.query.frame_search import search_frame
from vaeudf.query.latents import Latents, from_rows
from vaeudf.query.results import LOG_SKIPPED, LOG_SUM, NUM_ITEMS, Columns
from vaeudf.query.task import Search
from vaeudf.query.two_rounds import search_table
from vaeudf.schema import (
    ITEM_ID,
    LOG_AGGREGATE_POSTERIOR,
    LOG_AGGREGATE_POSTERIOR_ERROR,
    LOG_VAR,
    MU,
    QUERY_ID,
    RANK,
    RESPONSIBILITY,
    quoted,
)
from vaeudf.spark.counters import Counts, counter
from vaeudf.spark.read import read_table
from vaeudf.table.delta import PosteriorTable, open_posteriors
from vaeudf.table.footers import read_footers


@dataclass(frozen=True)
class BulkQuery:
    """A query that was planned and has run its first round.

    Attributes:
        hits: The result; evaluating it is the second round.
        counts: What the tasks have done so far; complete once ``hits`` was evaluated, once.
        num_queries: Queries.
        row_groups: Row groups of the table; 0 for a DataFrame.
        score: What the hits are ranked by.
    """

    hits: DataFrame
    counts: Counts
    num_queries: int
    row_groups: int
    score: Score


def top_k(
    posteriors: str | PosteriorTable | DataFrame,
    queries: Latents | ArrayLike,
    k: int = 10,
    *,
    score: str | None = None,
    tolerance: float = 0.0,
    min_score: float | None = None,
    columns: Sequence[str] = (),
    explain: bool = False,
    exclude_self: bool = False,
    responsibilities: bool = False,
) -> DataFrame:
    """Return the k items that score best for every query, by default by log q(z|x).

    For a table, the first of two rounds runs at once; evaluating the result is the second.

    Args:
        posteriors: A posterior table or its path, the path of a folder of plain Parquet, or any
            DataFrame; the latter two with the columns ``item_id``, ``mu`` and ``log_var`` (arrays
            of n numbers).
        queries: z vectors, shape (Q, n), or :class:`vaeudf.query.latents.Latents`: with names, and
            perhaps Gaussians.
        k: How many items per query; all of them if there are fewer.
        score: One of :data:`vaeudf.gaussian.scores.SCORES`; unless given, ``log_likelihood`` for
            points and ``kl`` for Gaussians.
        tolerance: tau, in units of z: how precisely z is meant.
        min_score: Leave out items that score worse than this.
        columns: Payload columns to carry into the result.
        explain: Take each log-likelihood apart: ``misfit`` + ``volume``, and the three
            dimensions that cost most, ``costliest``.
        exclude_self: Leave out the item whose item_id is the query's own query_id.
        responsibilities: Add each hit's ``responsibility`` p(x|z) = q(z|x) / Σ q(z|x') over all
            items x', and for each query ``log_aggregate_posterior``, log of the mean of q(z|x')
            over them, in nats; ``log_aggregate_posterior_error`` is how much higher it may be
            for what was passed over.

    Returns:
        ``query_id`` string, ``rank`` int from 1, ``item_id`` string, a column named as the score
        (double, nats or a distance), and what was asked for besides. Ranked best first, then
        by item_id ascending.

    Raises:
        InputError: k < 1, a z that is not finite or not of the posteriors' latent_dim, a score
            that does not fit the queries, or columns that are not there. What is wrong with a
            DataFrame's rows shows when the result is evaluated, as an error of Spark's.
        TableError: The path does not hold posteriors.
    """
    return plan(
        posteriors,
        queries,
        k,
        score=score,
        tolerance=tolerance,
        min_score=min_score,
        columns=columns,
        explain=explain,
        exclude_self=exclude_self,
        responsibilities=responsibilities,
    ).hits


def plan(
    posteriors: str | PosteriorTable | DataFrame,
    queries: Latents | ArrayLike,
    k: int = 10,
    *,
    score: str | None = None,
    tolerance: float = 0.0,
    min_score: float | None = None,
    columns: Sequence[str] = (),
    explain: bool = False,
    exclude_self: bool = False,
    responsibilities: bool = False,
) -> BulkQuery:
    """Do as :func:`top_k`, and return along with the result what is known of the run."""
    latents = queries if isinstance(queries, Latents) else from_rows(_rows_of(queries))
    kind = choose_score(latents, score)
    for wanted, name in ((explain, "explain"), (responsibilities, "responsibilities")):
        if wanted and not kind.is_log_density:
            raise InputError(f"{name} is for log_likelihood, but the score is {kind.name}.")
    search = Search(
        latents,
        check_k(k) + int(exclude_self),
        kind,
        check_tolerance(tolerance),
        _floors(len(latents), kind, min_score),
        tuple(columns),
        explain,
        np.full(len(latents), -np.inf) if responsibilities else None,
    )
    num_groups, num_items = 0, None
    if isinstance(posteriors, DataFrame):
        counts = counter(posteriors.sparkSession.sparkContext)
        found = search_frame(posteriors, search, Columns.of(search, posteriors), counts)
    else:
        spark = SparkSession.builder.getOrCreate()
        counts = counter(spark.sparkContext)
        table = open_posteriors(posteriors) if isinstance(posteriors, str) else posteriors
        latents.check_latent_dim(table.latent_dim)
        # Spark looks into the files to know the payload's types: not for nothing.
        own = Columns.of(search, read_table(spark, table) if columns else None)
        groups = read_footers(table.files)
        num_groups, num_items = len(groups), table.num_items
        found = search_table(spark, groups, search, own, counts)
    if responsibilities:
        found = _with_responsibilities(found, kind, num_items)
    hits = _rank(found, kind, k, min_score, exclude_self)
    return BulkQuery(hits, counts, len(latents), num_groups, kind)


def no_such_items(missing: Sequence[str]) -> InputError:
    """Return the error that says of at least one item that the table does not have it."""
    more = f" (nor {len(missing) - 1} more)" if len(missing) > 1 else ""
    return InputError(
        f"there is no item {missing[0]!r} in the table{more}; expected item_ids as this version of "
        "the table has them."
    )


def posteriors_of(posteriors: DataFrame, item_ids: Sequence[str]) -> Latents:
    """Return items' own posteriors as queries: what is like these items?

    Args:
        posteriors: Has ``item_id``, ``mu`` and ``log_var``.
        item_ids: Which.

    Raises:
        InputError: There is no such item.
    """
    rows = posteriors.where(F.col(ITEM_ID).cast("string").isin(list(item_ids)))
    found = {str(row[ITEM_ID]): row for row in rows.select(ITEM_ID, MU, LOG_VAR).collect()}
    missing = [name for name in item_ids if name not in found]
    if missing:
        raise no_such_items(missing)
    return from_rows(
        [found[name][MU] for name in item_ids],
        list(item_ids),
        [found[name][LOG_VAR] for name in item_ids],
    )


def choose_score(queries: Latents, name: str | None) -> Score:
    """Return the score of this name, or the one that such queries are ranked by.

    Raises:
        InputError: It is between Gaussians, and the queries are points.
    """
    remedy = "query with mu and log_var or with --like"
    return choose_score_named(name, gaussian=queries.is_gaussian, remedy=remedy)


def _with_responsibilities(found: DataFrame, score: Score, num_items: int | None) -> DataFrame:
    """Spread each query's sums over its rows, and drop the rows that carried them."""
    query = Window.partitionBy(QUERY_ID)
    largest = F.max(LOG_SUM).over(query)
    found = found.withColumn("__largest", F.when(largest > F.lit(-math.inf), largest))
    terms = F.sum(F.exp(F.col(LOG_SUM) - F.col("__largest"))).over(query)
    found = found.withColumns(
        {
            "__log_sum": F.col("__largest") + F.log(terms),
            # Of a table nobody has seen all items.
            "__num_items": F.lit(num_items) if num_items else F.sum(NUM_ITEMS).over(query),
            "__log_skipped": F.max(LOG_SKIPPED).over(query),
        }
    )
    added = {
        RESPONSIBILITY: F.exp(F.col(score.name) - F.col("__log_sum")),
        LOG_AGGREGATE_POSTERIOR: F.col("__log_sum") - F.log("__num_items"),
        LOG_AGGREGATE_POSTERIOR_ERROR: F.log1p(F.exp(F.col("__log_skipped") - F.col("__log_sum"))),
    }
    found = found.where(F.col(ITEM_ID).isNotNull()).withColumns(added)
    own = (LOG_SUM, LOG_SKIPPED, NUM_ITEMS, "__largest", "__log_sum", "__num_items")
    return found.drop(*own, "__log_skipped")


def _rank(
    candidates: DataFrame, score: Score, k: int, min_score: float | None, exclude_self: bool
) -> DataFrame:
    if exclude_self:
        candidates = candidates.where(F.col(ITEM_ID) != F.col(QUERY_ID))
    if min_score is not None:
        reached = (
            F.col(score.name) <= min_score if score.ascending else F.col(score.name) >= min_score
        )
        candidates = candidates.where(reached)
    best = F.asc(score.name) if score.ascending else F.desc(score.name)
    best_first = Window.partitionBy(QUERY_ID).orderBy(best, ITEM_ID)
    ranked = candidates.withColumn(RANK, F.row_number().over(best_first)).where(F.col(RANK) <= k)
    others = [F.col(quoted(name)) for name in candidates.columns if name != QUERY_ID]
    return ranked.select(QUERY_ID, RANK, *others)


def _floors(num_queries: int, score: Score, min_score: float | None) -> NDArray[np.float64]:
    if min_score is None:
        return np.full(num_queries, -np.inf)
    if not math.isfinite(min_score):
        raise InputError(f"min-score is {min_score}; expected a finite number.")
    value = score.to_value(min_score)
    margin = 1e-9 * abs(value) + 1e-300 if math.isfinite(value) else 0.0
    return np.full(num_queries, value - margin)


def _rows_of(queries: ArrayLike) -> list[NDArray[np.float64]]:
    try:
        return list(np.atleast_2d(np.asarray(queries, dtype=np.float64)))
    except (ValueError, TypeError) as error:
        raise InputError(f"queries are not an array of shape (Q, n): {error}.") from None
