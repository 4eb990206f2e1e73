"""What a table's payload columns hold, as filters are made from it."""

from __future__ import annotations

from typing import Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

MOST_VALUES = 50
"""A column of text with more different values is no category."""
_FIRST = 10_000


class ValueCount(msgspec.Struct, frozen=True):
    """A value of a column, and how many items have it.

    Attributes:
        value: The value.
        count: Items.
    """

    value: str | bool
    count: int


class NumberColumn(msgspec.Struct, frozen=True, tag_field="kind", tag="number", kw_only=True):
    """A column of numbers.

    Attributes:
        name: Of the column.
        low: The least; None if there is none.
        high: The greatest.
        integers: Whether all are whole numbers.
    """

    name: str
    low: float | None
    high: float | None
    integers: bool


class CategoryColumn(msgspec.Struct, frozen=True, tag_field="kind", tag="category", kw_only=True):
    """A column of text with few values, or of truth values.

    Attributes:
        name: Of the column.
        values: What there is, the most frequent first; without nulls.
        nulls: Items without a value.
    """

    name: str
    values: tuple[ValueCount, ...]
    nulls: int


class OtherColumn(msgspec.Struct, frozen=True, tag_field="kind", tag="text", kw_only=True):
    """Any other column, such as one of many different texts.

    Attributes:
        name: Of the column.
        type: Its type, as Arrow names it.
    """

    name: str
    type: str


Column = NumberColumn | CategoryColumn | OtherColumn
Kind = Literal["number", "category", "text"]


def describe(name: str, values: pa.ChunkedArray) -> Column:
    """Return what a column holds."""
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(name, values, kind)
    if pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        if pc.count_distinct(values.slice(0, _FIRST)).as_py() > MOST_VALUES + 1:
            # Most columns of many values show it at once, and need not be counted.
            return OtherColumn(name=name, type=str(kind))
        found = pc.value_counts(values)
        counts = list(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True))
        own = [ValueCount(value, count) for value, count in counts if value is not None]
        if len(own) <= MOST_VALUES:
            nulls = sum(count for value, count in counts if value is None)
            own.sort(key=lambda one: (-one.count, str(one.value)))
            return CategoryColumn(name=name, values=tuple(own), nulls=nulls)
    return OtherColumn(name=name, type=str(kind))


def _numbers(name: str, values: pa.ChunkedArray, kind: pa.DataType) -> NumberColumn:
    whole = bool(pa.types.is_integer(kind))
    if pa.types.is_floating(kind):
        # pyarrow has no is_finite of halves.
        values = pc.cast(values, pa.float64())
        values = pc.if_else(pc.is_finite(values), values, None)
    ends = pc.min_max(values).as_py()
    low, high = (None if end is None else float(end) for end in (ends["min"], ends["max"]))
    return NumberColumn(name=name, low=low, high=high, integers=whole)
