"""What the tasks of a bulk query yield: candidates, and partial sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    IntegralType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from vaeudf.errors import InputError
from vaeudf.query.request import Request
from vaeudf.query.task import Fold
from vaeudf.schema import (
    COSTLIEST,
    ITEM_ID,
    LOG_AGGREGATE_POSTERIOR,
    LOG_AGGREGATE_POSTERIOR_ERROR,
    MISFIT,
    QUERY_ID,
    RANK,
    RESPONSIBILITY,
    VOLUME,
    quoted,
)
from vaeudf.spark.counters import Counts

LOG_SUM = "__vaeudf_log_sum"
LOG_SKIPPED = "__vaeudf_log_skipped"
NUM_ITEMS = "__vaeudf_num_items"

_ROWS_PER_BATCH = 65_536
_DOUBLE = (DoubleType(), pa.float64())
_STRING = (StringType(), pa.string())
_COSTLIEST = (
    ArrayType(StructType().add("dimension", IntegerType()).add("nats", DoubleType())),
    pa.list_(pa.struct([("dimension", pa.int32()), ("nats", pa.float64())])),
)
_EXPLANATION = {MISFIT: _DOUBLE, VOLUME: _DOUBLE, COSTLIEST: _COSTLIEST}
_SUMS = {LOG_SUM: _DOUBLE, LOG_SKIPPED: _DOUBLE, NUM_ITEMS: (LongType(), pa.int64())}
_RESPONSIBILITIES = (RESPONSIBILITY, LOG_AGGREGATE_POSTERIOR, LOG_AGGREGATE_POSTERIOR_ERROR)


@dataclass(frozen=True)
class Columns:
    """The columns of what the tasks yield.

    Attributes:
        struct: As Spark writes their types.
        schema: As Arrow does.
    """

    struct: StructType
    schema: pa.Schema

    @classmethod
    def of(cls, request: Request, payload: DataFrame | None, *, ranked: bool = True) -> Columns:
        """Return the columns for a bulk query.

        Args:
            request: What is asked for.
            payload: Has the payload columns that are asked for, if any are.
            ranked: As of :func:`check_columns`.

        Raises:
            InputError: As :func:`check_columns`; or values cannot be compared for equality.
        """
        types: dict[str, tuple[DataType, pa.DataType]] = {
            QUERY_ID: _STRING,
            ITEM_ID: _STRING,
            request.score.name: _DOUBLE,
        }
        if request.explain:
            types |= _EXPLANATION
        check_columns(
            request.columns,
            [] if payload is None else payload.columns,
            score=request.score.name,
            explain=request.explain,
            ranked=ranked,
        )
        if payload is not None and request.columns:
            carried = payload.select(*(F.col(quoted(name)) for name in request.columns))
            arrow = carried.limit(0).toArrow().schema
            if request.per is not None:
                check_values("per", request.per.column, carried.schema[request.per.column].dataType)
            for field in carried.schema:
                types[field.name] = (field.dataType, arrow.field(field.name).type)
        if request.cuts is not None:
            types |= _SUMS
        return cls(
            StructType([StructField(name, kind) for name, (kind, _) in types.items()]),
            pa.schema([(name, kind) for name, (_, kind) in types.items()]),
        )


def check_columns(
    names: Sequence[str],
    found: Sequence[str],
    *,
    score: str | None,
    explain: bool = False,
    ranked: bool = True,
) -> None:
    """Check that payload columns can be carried into the result.

    Args:
        names: The columns.
        found: Those that the posteriors have.
        score: Name of the score, where it is known.
        explain: Whether the result has each log-likelihood's parts.
        ranked: Whether it has ranks, or could have responsibilities.

    Raises:
        InputError: A column is not there, or has the name of another.
    """
    own = [QUERY_ID, ITEM_ID, *([] if score is None else [score])]
    own += [*(_EXPLANATION if explain else ()), *((RANK, *_RESPONSIBILITIES) if ranked else ())]
    taken = {name.lower() for name in own}
    for name in names:
        if name.lower() in taken:
            raise InputError(f"column {name!r} is in the result already; leave it out.")
        if name not in found:
            raise InputError(
                f"the posteriors have no column {name!r} to carry into the result; "
                f"found {', '.join(found)}."
            )
        taken.add(name.lower())


def results(fold: Fold, columns: Columns, counts: Counts) -> Iterator[pa.RecordBatch]:
    """Yield what a fold has found: its candidates, and one row of sums per query."""
    queries, scores, items = fold.result()
    ids = np.array(fold.request.queries.ids, object)
    sums = None if fold.sums is None else _sums(fold, ids)
    counts.add(
        scored=fold.work.scored,
        rows_out=len(queries) + (0 if sums is None else len(sums[QUERY_ID])),
    )
    if items is not None and len(queries):
        found = {QUERY_ID: pa.array(ids[queries], pa.string()), ITEM_ID: items.column(ITEM_ID)}
        found[fold.request.score.name] = pa.array(scores)
        found |= {name: items.column(name) for name in items.column_names if name != ITEM_ID}
        yield from batches(found, len(queries), columns.schema)
    if sums is not None:
        yield from batches(sums, len(sums[QUERY_ID]), columns.schema)


def _sums(fold: Fold, ids: NDArray[np.object_]) -> dict[str, pa.Array]:
    """Return the sums that are not empty: with cuts, most tasks have nothing for most queries."""
    assert fold.sums is not None
    log_sums, log_skipped = fold.sums.logarithms(), fold.log_skipped()
    wanted = np.flatnonzero((log_sums > -np.inf) | np.isneginf(log_skipped))
    return {
        QUERY_ID: pa.array(ids[fold.group[wanted]], pa.string()),
        LOG_SUM: pa.array(log_sums[wanted]),
        LOG_SKIPPED: pa.array(log_skipped[wanted]),
        NUM_ITEMS: pa.array(np.full(len(wanted), fold.num_items)),
    }


def batches(
    found: dict[str, pa.Array], num_rows: int, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Yield columns as the tasks do, with nulls for those that are not there."""
    arrays = [
        found[field.name].cast(field.type)
        if field.name in found
        else pa.nulls(num_rows, field.type)
        for field in schema
    ]
    table = pa.table(arrays, schema=schema).combine_chunks()
    yield from table.to_batches(max_chunksize=_ROWS_PER_BATCH)


_TYPES_WITH_SAME_VALUES = (
    BooleanType,
    DateType,
    DecimalType,
    IntegralType,
    StringType,
    TimestampNTZType,
    TimestampType,
)


def check_values(option: str, column: str, kind: DataType) -> None:
    """Check that values of a column's type can be compared for equality.

    Args:
        option: What the column is named for.
        column: Its name.
        kind: Its type.

    Raises:
        InputError: They are lists, structs, bytes, or numbers with rounding errors.
    """
    if not isinstance(kind, _TYPES_WITH_SAME_VALUES):
        raise InputError(
            f"{option} is the column {column!r}, which holds {kind.simpleString()}; expected "
            "text, whole numbers, decimals, booleans, dates or times."
        )
