"""A number for an item's payload, by which two versions of it are compared."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    DateType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from vaeudf.schema import quoted

_PLAIN = (
    *(StringType, BinaryType, BooleanType, NumericType),
    *(DateType, TimestampType, TimestampNTZType),
)


def payload_digest(ours: DataFrame, theirs: DataFrame, names: Sequence[str]) -> Column:
    """Return the digest of a payload, a long, as an expression for the rows of two DataFrames.

    Two payloads that differ have the same digest once in 2^64 times.

    Args:
        ours: Has the payload's columns.
        theirs: Has them, too, maybe of other types.
        names: The columns.
    """
    parts = []
    our_types, their_types = ({f.name: f.dataType for f in one.schema} for one in (ours, theirs))
    for name in names:
        value = F.col(quoted(name))
        if our_types[name] != their_types[name] or not isinstance(our_types[name], _PLAIN):
            # Spark hashes no maps, and lists and structs without telling where they end.
            value = F.to_json(F.struct(value.alias("value")), {"ignoreNullFields": "false"})
        # A hash passes over nulls, as if the value stood in the next column.
        parts += [value.isNull(), value]
    return F.xxhash64(F.lit(0), *parts)
