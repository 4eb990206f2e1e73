"""Search any DataFrame of posteriors on Spark: its rows go to the tasks through Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, FloatType, NumericType

from vaeudf.errors import InputError
from vaeudf.query.request import Request
from vaeudf.query.results import Columns, results
from vaeudf.query.task import Fold
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, quoted
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.counters import Counts
from vaeudf.spark.shared import Shared
from vaeudf.spark.tasks import tasks_on
from vaeudf.table.vectors import to_matrix

# Rows that are searched together: enough for the tree of boxes to pay.
_ROWS_PER_BATCH = 65_536


def search_frame(frame: DataFrame, request: Request, columns: Columns, counts: Counts) -> DataFrame:
    """Return the best of every partition.

    Args:
        frame: The posteriors.
        request: What is asked for.
        columns: What the tasks yield.
        counts: What the tasks count into.

    Raises:
        InputError: A column is missing, or does not hold vectors.
    """
    items = searched_columns(frame, request)
    shared = Cluster.of(frame.sparkSession).share(request)

    def fold(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from _fold_rows(batches, shared, columns, counts)

    return tasks_on(items, fold, columns.struct, counts)


def _fold_rows(
    batches: Iterator[pa.RecordBatch],
    shared: Shared[Request],
    columns: Columns,
    counts: Counts,
) -> Iterator[pa.RecordBatch]:
    request = shared.value
    folds = [Fold(request, members) for members in request.groups()]
    for mu, log_var, items in gathered(batches, request, counts):
        for one in folds:
            one.add(mu, log_var, items, in_order=False)
    for one in folds:
        yield from results(one, columns, counts)


def searched_columns(frame: DataFrame, request: Request) -> DataFrame:
    """Return what the tasks read of a DataFrame of posteriors.

    Raises:
        InputError: A column is missing, or does not hold vectors.
    """
    missing = [name for name in (ITEM_ID, MU, LOG_VAR) if name not in frame.columns]
    if missing:
        raise InputError(
            f"the posteriors have no column {', '.join(missing)}; "
            f"found {', '.join(frame.columns)}, expected item_id, mu and log_var."
        )
    return frame.select(
        F.col(ITEM_ID).cast("string"),
        _vector(frame, MU),
        _vector(frame, LOG_VAR),
        # The posteriors themselves may be wanted, or columns with dots, which mapInArrow refuses.
        *(F.col(quoted(name)).alias(_payload(i)) for i, name in enumerate(request.columns)),
    )


def gathered(
    batches: Iterator[pa.RecordBatch], request: Request, counts: Counts
) -> Iterator[
    tuple[NDArray[np.floating], NDArray[np.floating], Callable[[NDArray[np.int64]], pa.Table]]
]:
    """Yield (mu, log_var, items) of rows that are searched together.

    ``items`` gives the ``item_id`` and payload of some of these rows.
    """
    latent_dim = request.queries.latent_dim
    names = [_payload(i) for i in range(len(request.columns))]
    for table in _gather(batches):
        if table.column(ITEM_ID).null_count:
            raise InputError("the posteriors have an item_id that is null.")
        mu, log_var = to_matrix(table, MU, latent_dim), to_matrix(table, LOG_VAR, latent_dim)
        counts.add(num_items=table.num_rows)
        payload = table.select([ITEM_ID, *names]).rename_columns([ITEM_ID, *request.columns])
        yield mu, log_var, partial(_rows_of_table, payload)


def _payload(place: int) -> str:
    return f"__vaeudf_payload_{place}"


def _rows_of_table(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    return table.take(pa.array(rows))


def _gather(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    gathered: list[pa.RecordBatch] = []
    for batch in batches:
        gathered.append(batch)
        if sum(part.num_rows for part in gathered) >= _ROWS_PER_BATCH:
            yield pa.Table.from_batches(gathered)
            gathered = []
    if gathered:
        yield pa.Table.from_batches(gathered)


def _vector(frame: DataFrame, name: str) -> Column:
    """Return a column of arrays of numbers, float32 or else float64."""
    kind = frame.schema[name].dataType
    if not isinstance(kind, ArrayType) or not isinstance(kind.elementType, NumericType):
        raise InputError(
            f"column {name} holds {kind.simpleString()}; expected an array of numbers."
        )
    exact = isinstance(kind.elementType, FloatType)
    return F.col(name) if exact else F.col(name).cast("array<double>")
