"""Bulk queries on Spark: the k items that score best for every query, exactly.

A table is read in splits of row groups by the tasks that need them
(:mod:`vaeudf.query.two_rounds`); the rows of an arbitrary DataFrame come to the tasks through Spark
(:mod:`vaeudf.query.frame_search`). Both use the same fold, and Spark merges the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from vaeudf.errors import InputError
from vaeudf.gaussian.blends import check_groups
from vaeudf.gaussian.checks import Tolerance, check_tolerance
from vaeudf.gaussian.scores import Score
from vaeudf.query.blends import blend
from vaeudf.query.choosing import choose
from vaeudf.query.frame_search import search_frame
from vaeudf.query.latents import Latents, from_rows
from vaeudf.query.options import QueryOptions
from vaeudf.query.per_value import Per
from vaeudf.query.ranking import ranked, with_responsibilities
from vaeudf.query.request import Request
from vaeudf.query.results import Columns
from vaeudf.query.source import Source
from vaeudf.query.two_rounds import search_table
from vaeudf.schema import ITEM_ID, LOG_VAR, MU
from vaeudf.spark.counters import Counts
from vaeudf.table.open import PosteriorTable


@dataclass(frozen=True)
class BulkQuery:
    """A bulk query whose first round has run.

    Attributes:
        hits: The result; evaluating it runs the second round.
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
    tolerance: ArrayLike = 0.0,
    min_score: float | None = None,
    columns: Sequence[str] = (),
    explain: bool = False,
    exclude_self: bool = False,
    responsibilities: bool = False,
    distinct: float | None = None,
    diversify: float | None = None,
    candidates: int | None = None,
    per: str | tuple[str, int] | None = None,
    groups: Sequence[str] | None = None,
    weights: ArrayLike | None = None,
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
        tolerance: tau, in units of z: how precisely z is meant; a number, or one per dimension,
            shape (n,); for each query its own, shape (Q, 1) or (Q, n).
        min_score: Leave out items that score worse than this.
        columns: Payload columns to carry into the result.
        explain: Take each log-likelihood apart: ``misfit`` + ``volume``, and the three
            dimensions that cost most, ``costliest``.
        exclude_self: Leave out the item whose item_id is the query's own query_id; of a blend, all
            items that are members.
        responsibilities: Add each hit's ``responsibility`` p(x|z) = q(z|x) / Σ q(z|x') over all
            items x', and for each query ``log_aggregate_posterior``, log of the mean of q(z|x')
            over them, in nats; ``log_aggregate_posterior_error`` is how much higher it may be
            for what was passed over.
        distinct: Hide items whose Bhattacharyya distance from a better hit is below this, in nats;
            ``hidden`` says how many each hit has hidden. The tolerance blurs both. The search runs
            at once, in as many rounds as it takes.
        diversify: lambda, above 0 and at most 1: choose hits from each query's best by maximal
            marginal relevance (:class:`vaeudf.search.selection.Diversified`).
        candidates: Of how many it chooses; 10 · k unless given.
        per: At most so many hits of a query may have the same value of a payload column, as
            ``("category", 2)`` or ``"category:2"``; ``"category"`` means 1. A null is a value.
            The column is in the result.
        groups: Makes one query, a blend, of all queries with the same entry, which names it. Its
            score is the weighted mean of its members' scores, by ``log_likelihood`` or ``kl``.
        weights: Of the members, negative for what hits are to be unlike; without groups, all are
            one blend. The weights are divided by the sum of the positive ones.

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
    latents, tau = with_tolerance(queries, tolerance)
    options = QueryOptions(
        k=k,
        score=score,
        tolerance=tau,
        min_score=min_score,
        columns=tuple(columns),
        explain=explain,
        exclude_self=exclude_self,
        responsibilities=responsibilities,
        distinct=distinct,
        diversify=diversify,
        candidates=candidates,
        per=None if per is None else Per.of(per),
    )
    if groups is not None or weights is not None:
        names = None if groups is None else list(map(str, check_groups(groups).ravel().tolist()))
        latents = blend(latents, names, weights, named=isinstance(queries, Latents))
    return plan(posteriors, latents, options).hits


def plan(
    posteriors: str | PosteriorTable | DataFrame,
    queries: Latents | ArrayLike,
    options: QueryOptions,
) -> BulkQuery:
    """Do as :func:`top_k`, and return along with the result what is known of the run."""
    latents = as_latents(queries)
    request = options.request_for(latents)
    source = Source.of(posteriors, latents)

    def search(request: Request) -> DataFrame:
        columns = Columns.of(request, source.payload(request.columns))
        if source.frame is not None:
            return search_frame(source.frame, request, columns, source.counts)
        return search_table(source.spark, list(source.groups), request, columns, source.counts)

    def candidates(request: Request) -> DataFrame:
        found = search(request)
        if options.responsibilities:
            return with_responsibilities(found, request.score, source.num_items)
        return found

    if options.selection is not None:
        hits = choose(candidates, request, options)
    else:
        hits = ranked(candidates(request), request.score, options, latents)
    return BulkQuery(hits, source.counts, len(latents), len(source.groups), request.score)


def no_such_items(missing: Sequence[str]) -> InputError:
    """Return the error that names items, at least one, that the table does not have."""
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


def as_latents(queries: Latents | ArrayLike) -> Latents:
    """Return queries with names.

    Raises:
        InputError: They are not an array of shape (Q, n).
    """
    if isinstance(queries, Latents):
        return queries
    try:
        return from_rows(list(np.atleast_2d(np.asarray(queries, dtype=np.float64))))
    except (ValueError, TypeError) as error:
        raise InputError(f"queries are not an array of shape (Q, n): {error}.") from None


def with_tolerance(queries: Latents | ArrayLike, tolerance: ArrayLike) -> tuple[Latents, Tolerance]:
    """Return queries with the tolerances of their own, and the tolerance of all of them.

    Args:
        queries: z vectors, shape (Q, n), or :class:`vaeudf.query.latents.Latents`.
        tolerance: A number, or one per dimension, shape (n,), for all; or for each query its own,
            shape (Q, 1) or (Q, n).

    Raises:
        InputError: One of the two is not as it should be.
    """
    latents = as_latents(queries)
    if np.ndim(tolerance) == 2:
        return latents.with_tolerance(tolerance), 0.0
    return latents, check_tolerance(tolerance)
