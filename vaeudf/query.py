"""Bulk queries on Spark: the k items with the highest log q(z|x) for every z, exactly.

The queries are broadcast; every partition of the items keeps its own top-k; a global merge keeps
k per query.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import ArrayLike, NDArray
from pyspark import Broadcast
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, FloatType, NumericType

from vaeudf.errors import InputError
from vaeudf.latents import Latents, from_rows
from vaeudf.schema import ITEM_ID, LOG_LIKELIHOOD, LOG_VAR, MU, QUERY_ID, RANK
from vaeudf.storage import spark_literal
from vaeudf.table import PosteriorTable, open_table
from vaeudf.topk import TopK, check_k, score_into

_CANDIDATE_TYPE = f"{QUERY_ID} string, {ITEM_ID} string, {LOG_LIKELIHOOD} double"


def top_k(
    posteriors: str | PosteriorTable | DataFrame, queries: Latents | ArrayLike, k: int = 10
) -> DataFrame:
    """Return the k items with the highest log q(z|x) for every query.

    Args:
        posteriors: A posterior table or its path, or any DataFrame with the columns ``item_id``,
            ``mu`` and ``log_var`` (arrays of n numbers).
        queries: z vectors, shape (Q, n); as :class:`vaeudf.latents.Latents` they have names.
        k: How many items per query; all of them if there are fewer.

    Returns:
        ``query_id`` string, ``rank`` int from 1, ``item_id`` string, ``log_likelihood`` double in
        nats. Ranked by log_likelihood descending, then item_id ascending.

    Raises:
        InputError: k < 1, a z that is not finite or not of the posteriors' latent_dim, or a
            DataFrame without these columns.
        TableError: The path does not hold a posterior table.
    """
    check_k(k)
    latents = queries if isinstance(queries, Latents) else from_rows(_rows_of(queries))
    frame = posteriors if isinstance(posteriors, DataFrame) else _open(posteriors, latents)
    missing = [name for name in (ITEM_ID, MU, LOG_VAR) if name not in frame.columns]
    if missing:
        raise InputError(
            f"the posteriors have no column {', '.join(missing)}; "
            f"found {', '.join(frame.columns)}, expected item_id, mu and log_var."
        )
    spark = frame.sparkSession
    broadcast = spark.sparkContext.broadcast(latents)

    def fold(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return fold_partition(batches, broadcast, k)

    items = frame.select(F.col(ITEM_ID).cast("string"), _vector(frame, MU), _vector(frame, LOG_VAR))
    candidates = items.mapInArrow(fold, _CANDIDATE_TYPE)
    best_first = Window.partitionBy(QUERY_ID).orderBy(F.desc(LOG_LIKELIHOOD), ITEM_ID)
    ranked = candidates.withColumn(RANK, F.row_number().over(best_first)).where(F.col(RANK) <= k)
    return ranked.select(QUERY_ID, RANK, ITEM_ID, LOG_LIKELIHOOD)


def _vector(frame: DataFrame, name: str) -> Column:
    """Return a column of arrays of numbers, float32 or else float64."""
    kind = frame.schema[name].dataType
    if not isinstance(kind, ArrayType) or not isinstance(kind.elementType, NumericType):
        raise InputError(
            f"column {name} holds {kind.simpleString()}; expected an array of numbers."
        )
    exact = isinstance(kind.elementType, FloatType)
    return F.col(name) if exact else F.col(name).cast("array<double>")


def fold_partition(
    batches: Iterator[pa.RecordBatch], queries: Broadcast[Latents], k: int
) -> Iterator[pa.RecordBatch]:
    """Reduce one partition of items to its top-k per query."""
    latents = queries.value
    z = latents.z
    running = TopK(len(z), k, object)
    for batch in batches:
        ids = batch.column(ITEM_ID)
        if ids.null_count:
            raise InputError("the posteriors have an item_id that is null.")
        names = ids.to_numpy(zero_copy_only=False)
        mu = _to_matrix(batch, MU, z.shape[1])
        log_var = _to_matrix(batch, LOG_VAR, z.shape[1])
        score_into(running, z, names, mu, log_var)
    kept = running.scores.shape[1]
    if kept:
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(np.repeat(np.array(latents.ids, object), kept), pa.string()),
                pa.array(running.ids.ravel(), pa.string()),
                pa.array(running.scores.ravel()),
            ],
            names=[QUERY_ID, ITEM_ID, LOG_LIKELIHOOD],
        )


def _to_matrix(batch: pa.RecordBatch, name: str, latent_dim: int) -> NDArray[np.float32]:
    """Return a column of lists as an array (B, n), or say which item does not fit."""
    column = batch.column(name)
    lengths = pa.compute.fill_null(pa.compute.list_value_length(column), 0).to_numpy()
    wrong = np.flatnonzero(lengths != latent_dim)
    if len(wrong):
        item = batch.column(ITEM_ID)[int(wrong[0])].as_py()
        raise InputError(
            f"item {item!r} has a {name} of {lengths[wrong[0]]} numbers, "
            f"but the queries have {latent_dim} dimensions."
        )
    matrix = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, latent_dim)
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        item = batch.column(ITEM_ID)[int(bad[0])].as_py()
        raise InputError(f"item {item!r} has a {name} that is null, NaN or infinite.")
    return matrix  # type: ignore[no-any-return]


def read_table(spark: SparkSession, table: PosteriorTable) -> DataFrame:
    """Return a posterior table's version as a DataFrame, payload included."""
    return spark.read.parquet(*(spark_literal(uri) for uri in table.files))


def _open(posteriors: str | PosteriorTable, latents: Latents) -> DataFrame:
    table = open_table(posteriors) if isinstance(posteriors, str) else posteriors
    latents.check_latent_dim(table.latent_dim)
    return read_table(SparkSession.builder.getOrCreate(), table)


def _rows_of(queries: ArrayLike) -> list[NDArray[np.float64]]:
    try:
        return list(np.atleast_2d(np.asarray(queries, dtype=np.float64)))
    except (ValueError, TypeError) as error:
        raise InputError(f"queries are not an array of shape (Q, n): {error}.") from None
