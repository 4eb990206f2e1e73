"""What Spark makes of the tasks' results: responsibilities, and the k best of every query."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from vaeudf.gaussian.scores import Score
from vaeudf.query.blends import Blends
from vaeudf.query.latents import Latents
from vaeudf.query.options import QueryOptions
from vaeudf.query.per_value import Per
from vaeudf.query.results import LOG_SKIPPED, LOG_SUM, NUM_ITEMS
from vaeudf.schema import (
    ITEM_ID,
    LOG_AGGREGATE_POSTERIOR,
    LOG_AGGREGATE_POSTERIOR_ERROR,
    QUERY_ID,
    RANK,
    RESPONSIBILITY,
    quoted,
)

_PLACE = "__vaeudf_place_in_value"


def limited(candidates: DataFrame, per: Per, best_first: Sequence[Column | str]) -> DataFrame:
    """Return the best candidates of every query and value, at most so many of each."""
    value = Window.partitionBy(QUERY_ID, quoted(per.column)).orderBy(*best_first)
    places = candidates.withColumn(_PLACE, F.row_number().over(value))
    return places.where(F.col(_PLACE) <= per.at_most).drop(_PLACE)


def with_responsibilities(found: DataFrame, score: Score, num_items: int | None) -> DataFrame:
    """Spread each query's sums over its rows, and drop the rows that carried them.

    Args:
        found: What the tasks yield, sums included.
        score: A log density.
        num_items: How many items there are; None to count those that the tasks have seen.
    """
    query = Window.partitionBy(QUERY_ID)
    largest = F.max(LOG_SUM).over(query)
    found = found.withColumn("__largest", F.when(largest > F.lit(-math.inf), largest))
    terms = F.sum(F.exp(F.col(LOG_SUM) - F.col("__largest"))).over(query)
    found = found.withColumns(
        {
            "__log_sum": F.col("__largest") + F.log(terms),
            # The tasks skip part of a table, so they cannot count its items.
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


def _without_own(candidates: DataFrame, queries: Latents) -> DataFrame:
    """Return the candidates that are no query's own items."""
    if not isinstance(queries, Blends):
        return candidates.where(F.col(ITEM_ID) != F.col(QUERY_ID))
    own = candidates.sparkSession.createDataFrame(
        queries.pairs(), f"{QUERY_ID} string, {ITEM_ID} string"
    )
    return candidates.join(F.broadcast(own), [QUERY_ID, ITEM_ID], "left_anti")


def ranked(
    candidates: DataFrame, score: Score, options: QueryOptions, queries: Latents
) -> DataFrame:
    """Return the k best candidates of every query, with their ranks from 1."""
    if options.exclude_self:
        candidates = _without_own(candidates, queries)
    if options.min_score is not None:
        column, limit = F.col(score.name), options.min_score
        candidates = candidates.where(column <= limit if score.ascending else column >= limit)
    best = F.asc(score.name) if score.ascending else F.desc(score.name)
    best_first = Window.partitionBy(QUERY_ID).orderBy(best, ITEM_ID)
    if options.per is not None:
        candidates = limited(candidates, options.per, (best, ITEM_ID))
    rows = candidates.withColumn(RANK, F.row_number().over(best_first))
    others = [F.col(quoted(name)) for name in candidates.columns if name != QUERY_ID]
    return rows.where(F.col(RANK) <= options.k).select(QUERY_ID, RANK, *others)
