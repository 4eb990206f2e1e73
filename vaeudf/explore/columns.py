"""What a table's payload columns hold, as filters are made from it.

A column of one value says so: its ends are the same, or its values one, and ``nulls`` tells whether
all items have it.
"""

from __future__ import annotations

import datetime
from contextlib import suppress

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
        nulls: Items without a finite value.
    """

    name: str
    low: float | None
    high: float | None
    integers: bool
    nulls: int


class DateColumn(msgspec.Struct, frozen=True, tag_field="kind", tag="date", kw_only=True):
    """A column of days.

    Attributes:
        name: Of the column.
        low: The first, such as ``2024-01-31``, as conditions in SQL have it: ``DATE '2024-01-31'``.
            None if there is none, or it is not of the years 1 to 9999.
        high: The last.
        nulls: Items without a value.
    """

    name: str
    low: str | None
    high: str | None
    nulls: int


class TimestampColumn(msgspec.Struct, frozen=True, tag_field="kind", tag="timestamp", kw_only=True):
    """A column of points in time.

    Attributes:
        name: Of the column.
        low: The first, such as ``2024-01-31 08:30:00``, in UTC, as conditions in SQL have it:
            ``TIMESTAMP '2024-01-31 08:30:00'``; the last whole microsecond that is not after it.
            None if there is none, or it is not of the years 1 to 9999.
        high: The last, as the first whole microsecond that is not before it.
        nulls: Items without a value.
    """

    name: str
    low: str | None
    high: str | None
    nulls: int


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


Column = NumberColumn | DateColumn | TimestampColumn | CategoryColumn | OtherColumn


def describe(name: str, values: pa.ChunkedArray) -> Column:
    """Return what a column holds."""
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(name, values, kind)
    if pa.types.is_date(kind):
        ends = _ends(values.cast(pa.date32()), pa.int32())
        low, high = (None if end is None else _day(end) for end in ends)
        return DateColumn(name=name, low=low, high=high, nulls=values.null_count)
    if pa.types.is_timestamp(kind):
        return _times(name, values, kind)
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


def folders(ids: pa.ChunkedArray) -> tuple[ValueCount, ...]:
    """Return the folders that items are in, the largest first, by the first part of their item_ids.

    In a catalog that is a folder of image files, they are often what the items are. There are none
    where most items are in no folder, or all are in one, or there are more than
    :data:`MOST_VALUES`.
    """
    for some in (ids.slice(0, _FIRST), ids):
        inside = some.filter(pc.match_substring_regex(some, "^[^/]+/"))
        if 2 * len(inside) < len(some):
            return ()
        first = pc.replace_substring_regex(inside, "(?s)/.*$", "")
        found = pc.value_counts(first)
        if len(found) > MOST_VALUES:
            return ()
    names, counts = found.field(0).to_pylist(), found.field(1).to_pylist()
    own = [ValueCount(name, count) for name, count in zip(names, counts, strict=True)]
    own.sort(key=lambda one: (-one.count, str(one.value)))
    return tuple(own) if len(own) > 1 else ()


def _numbers(name: str, values: pa.ChunkedArray, kind: pa.DataType) -> NumberColumn:
    whole = bool(pa.types.is_integer(kind))
    if pa.types.is_floating(kind):
        # pyarrow has no is_finite of halves.
        values = pc.cast(values, pa.float64())
        values = pc.if_else(pc.is_finite(values), values, None)
    ends = pc.min_max(values).as_py()
    low, high = (None if end is None else float(end) for end in (ends["min"], ends["max"]))
    return NumberColumn(name=name, low=low, high=high, integers=whole, nulls=values.null_count)


def _times(name: str, values: pa.ChunkedArray, kind: pa.TimestampType) -> TimestampColumn:
    low, high = _ends(values, pa.int64())
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    return TimestampColumn(
        name=name,
        low=None if low is None else _moment(low * 10**6 // per_second),
        high=None if high is None else _moment(-(-high * 10**6 // per_second)),
        nulls=values.null_count,
    )


def _ends(values: pa.ChunkedArray, whole: pa.DataType) -> tuple[int | None, int | None]:
    """Return the least and the greatest value as the whole numbers that they are stored as."""
    ends = pc.min_max(values.cast(whole)).as_py()
    return ends["min"], ends["max"]


def _day(number: int) -> str | None:
    """Return a day, by its number from 1970 on, as SQL has it."""
    with suppress(OverflowError):
        return (datetime.date(1970, 1, 1) + datetime.timedelta(days=number)).isoformat()
    return None


def _moment(microseconds: int) -> str | None:
    """Return a point in time, in microseconds from 1970 on, as SQL has it."""
    with suppress(OverflowError):
        since = datetime.timedelta(microseconds=microseconds)
        return (datetime.datetime(1970, 1, 1) + since).isoformat(" ")
    return None
