"""p(value | z): what part of the catalog's density at z the items of one value of a column have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, StringType, StructType

from vaeudf.errors import InputError
from vaeudf.gaussian.scores import Score
from vaeudf.query.above import Taker, all_pairs
from vaeudf.query.blends import Blends
from vaeudf.query.bulk import as_latents, with_tolerance
from vaeudf.query.latents import Latents
from vaeudf.query.options import QueryOptions
from vaeudf.query.request import Request
from vaeudf.query.results import check_values
from vaeudf.query.source import Source
from vaeudf.query.two_rounds import cuts_below, first_round
from vaeudf.query.value_sums import ValueSums
from vaeudf.schema import ITEM_ID, QUERY_ID, SHARE, SHARE_ERROR, quoted
from vaeudf.table.open import PosteriorTable

NO_SHARES = (
    "share is not for blends, which are no density of one z; leave it out, or ask without blending."
)
_LARGEST = "__vaeudf_largest"
_SCALED = "__vaeudf_scaled"
_LOG_SKIPPED = "__vaeudf_log_skipped"
_ALL_LARGEST = "__vaeudf_all_largest"
_PART = "__vaeudf_part"


def shares(
    posteriors: str | PosteriorTable | DataFrame,
    queries: Latents | ArrayLike,
    column: str,
    *,
    tolerance: ArrayLike = 0.0,
) -> DataFrame:
    """Return p(value | z) for every query and every value of a payload column.

    That is Σ q(z|x) over the items of the value by the same sum over all items. A null is a value
    like any other. For a table, the first of two rounds runs at once.

    Args:
        posteriors: As for :func:`vaeudf.top_k`.
        queries: z vectors, shape (Q, n), or :class:`vaeudf.query.latents.Latents`; of Gaussians
            their means.
        column: A payload column of text, whole numbers, decimals, booleans, dates or times.
        tolerance: tau, in units of z: how precisely z is meant; a number, or one per dimension,
            shape (n,); for each query its own, shape (Q, 1) or (Q, n).

    Returns:
        ``query_id`` string, the column, ``share`` double from 0 to 1, and ``share_error``: how far
        off the share may be for items that were passed over, below 10⁻¹². In no order. Values whose
        items were all passed over have no row, and neither has a query at whose z every log density
        is -inf in float64; densities that are merely 0 there have their shares.

    Raises:
        InputError: As :func:`vaeudf.top_k`; or the column's values cannot be compared for equality.
        TableError: The path does not hold posteriors.
    """
    latents, tau = with_tolerance(queries, tolerance)
    options = QueryOptions(score="log_likelihood", tolerance=tau)
    return plan_shares(posteriors, latents, column, options)


def plan_shares(
    posteriors: str | PosteriorTable | DataFrame,
    queries: Latents | ArrayLike,
    column: str,
    options: QueryOptions,
) -> DataFrame:
    """Do as :func:`shares`.

    Args:
        posteriors: As there.
        queries: As there.
        column: As there.
        options: Has the score, a log density, and the tolerance; the rest, such as ``min_score``,
            is about hits, and passed over.
    """
    latents = as_latents(queries)
    own = QueryOptions(k=1, score=options.score, tolerance=options.tolerance)
    check_share(own.score_for(latents), latents)
    request = replace(own.request_for(latents), columns=(column,))
    source = Source.of(posteriors, latents)
    row_type, schema = _columns(source.payload((column,)), column)
    if source.frame is None:
        groups = [group for group in source.groups if group.num_rows]
        floors = first_round(source.spark, groups, request, source.counts)
        cuts, log_num_items = cuts_below(floors, groups)
        request = replace(request, floors=cuts, log_num_items=log_num_items)
    found = all_pairs(source, request, partial(_sums, column=column, schema=schema), row_type)
    return _merged(found, column)


def check_share(score: Score, queries: Latents) -> None:
    """Check that values of this score can be added up.

    Raises:
        InputError: It is no log density, or none of one z.
    """
    if isinstance(queries, Blends):
        raise InputError(NO_SHARES)
    if not score.is_log_density:
        raise InputError(not_of_score("share", score.name))


def not_of_score(name: str, score: str) -> str:
    """Return why an option of log densities is refused, and how Gaussians are asked for one."""
    return (
        f"{name} is for log_likelihood, but the score is {score}; with --score log_likelihood "
        "items, photos and other Gaussians ask by their mu alone."
    )


def _sums(request: Request, column: str, schema: pa.Schema) -> Taker:
    log_skipped = np.where(
        np.isneginf(request.floors), -np.inf, request.floors + request.log_num_items
    )
    return ValueSums(request.queries.ids, column, log_skipped, schema)


def _columns(payload: DataFrame | None, column: str) -> tuple[StructType, pa.Schema]:
    """Return the columns of the sums that the tasks yield, as Spark and as Arrow write their types.

    Raises:
        InputError: As :func:`check_share_column`; or its values cannot be compared for equality.
    """
    check_share_column(column, [] if payload is None else payload.columns)
    assert payload is not None
    carried = payload.select(F.col(quoted(column)))
    kind = carried.schema[column].dataType
    check_values("share", column, kind)
    arrow = carried.limit(0).toArrow().schema.field(column).type
    row_type = StructType().add(QUERY_ID, StringType()).add(column, kind)
    numbers = (_LARGEST, _SCALED, _LOG_SKIPPED)
    for name in numbers:
        row_type = row_type.add(name, DoubleType())
    return row_type, pa.schema(
        [(QUERY_ID, pa.string()), (column, arrow), *((name, pa.float64()) for name in numbers)]
    )


def check_share_column(column: str, found: Sequence[str]) -> None:
    """Check that there can be shares of a column.

    Args:
        column: Its name.
        found: The columns that the posteriors have.

    Raises:
        InputError: There is no such column, or it has the name of another of the result.
    """
    if column.lower() == ITEM_ID:
        raise InputError("share is of item_id; for each item's own part, name responsibilities.")
    if column.lower() in (QUERY_ID, SHARE, SHARE_ERROR):
        raise InputError(f"share is of {column!r}, a name that the result has already; rename it.")
    if column not in found:
        raise InputError(
            f"share is of {column!r}, which the posteriors have no column for; "
            f"found {', '.join(found)}."
        )


def _merged(found: DataFrame, column: str) -> DataFrame:
    """Add up the tasks' sums of each query and value, and divide them by the query's."""
    of_query = Window.partitionBy(QUERY_ID)
    value = quoted(column)
    parts = (
        found.withColumn(_ALL_LARGEST, F.max(_LARGEST).over(of_query))
        .withColumn(_PART, F.col(_SCALED) * F.exp(F.col(_LARGEST) - F.col(_ALL_LARGEST)))
        .groupBy(QUERY_ID, value)
        .agg(
            F.sum(_PART).alias(_PART),
            F.first(_ALL_LARGEST).alias(_ALL_LARGEST),
            F.first(_LOG_SKIPPED).alias(_LOG_SKIPPED),
        )
    )
    total = F.sum(_PART).over(of_query)
    # What was passed over may belong to any one value, or to none that was found: with f of a sum T
    # found and at most S passed over, the share lies between f / (T + S) and (f + S) / (T + S).
    skipped = F.exp(F.col(_LOG_SKIPPED) - F.col(_ALL_LARGEST)) / total
    share = F.col(_PART) / total
    error = skipped / (1 + skipped) * F.greatest(share, 1 - share)
    return parts.select(QUERY_ID, value, share.alias(SHARE), error.alias(SHARE_ERROR))
