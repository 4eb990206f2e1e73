"""Columns that are folders' names, as Hive and Spark write them: ``year=2026/season=summer``."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Sequence
from decimal import Decimal, InvalidOperation
from urllib.parse import unquote

import pyarrow as pa

from vaeudf.errors import InputError

_NULL = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"[+-]?[0-9]+\Z")
_FLOAT = re.compile(r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?[dDfF]?\Z")
_SPECIAL = {"NaN": "nan", "Infinity": "inf", "+Infinity": "inf", "-Infinity": "-inf"}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9])?\Z")
_INSTANT = pa.timestamp("us", "UTC")
_MOST_DIGITS = 38
_DIGITS = {pa.int32(): 10, pa.int64(): 20}


def partition_values(
    files: Sequence[str], bases: Sequence[str], as_written: Collection[str | None] = ()
) -> pa.Table | None:
    """Return the values that are in the folders' names, typed as Spark types them.

    Args:
        files: The files' paths.
        bases: The folder of each below which names count.
        as_written: Names whose values stay text, such as an id: 007 is not 7.

    Returns:
        A row for each file, and a column for each name; None if there are none.

    Raises:
        InputError: Some files are in folders of other names than others.
    """
    rows = [_pairs(file[len(base) :]) for file, base in zip(files, bases, strict=True)]
    names = list(rows[0]) if rows else []
    for file, row in zip(files, rows, strict=True):
        if list(row) != names:
            here, there = (", ".join(found) or "none" for found in (row, names))
            raise InputError(
                f"the folders above {file} name other columns than those above {files[0]}: "
                f"{here} beside {there}; expected the same. Move the files, or name some of them."
            )
    if not names:
        return None
    texts = {name.lower() for name in as_written if name}
    columns = {name: [row[name] for row in rows] for name in names}
    return pa.table(
        {
            name: _texts(values) if name.lower() in texts else _typed(values)
            for name, values in columns.items()
        }
    )


def _pairs(path: str) -> dict[str, str | None]:
    found = {}
    for folder in path.split("/")[:-1]:
        name, separator, value = folder.partition("=")
        if separator and name:
            found[unquote(name)] = None if value == _NULL else value
    return found


def _texts(values: Sequence[str | None]) -> pa.Array:
    return pa.array([value and unquote(value) for value in values], pa.string())


def _typed(values: Sequence[str | None]) -> pa.Array:
    """Return values in the type that holds all of them."""
    kinds = [_kind(value) for value in sorted({value for value in values if value is not None})]
    kind = kinds[0] if kinds else pa.null()
    for other in kinds[1:]:
        kind = _wider(kind, other)
    return pa.array([None if value is None else _value(value, kind) for value in values], kind)


def _kind(text: str) -> pa.DataType:
    if _WHOLE.match(text):
        number = int(text)
        if -(2**31) <= number < 2**31:
            return pa.int32()
        if -(2**63) <= number < 2**63:
            return pa.int64()
    if _FLOAT.match(text.strip()):
        return _decimal(text) or pa.float64()
    if text in _SPECIAL:
        return pa.float64()
    text = unquote(text)
    for pattern, kind in ((_TIME, _INSTANT), (_DATE, pa.date32())):
        if pattern.match(text):
            try:
                _value(text, kind)
            except ValueError:
                return pa.string()
            return kind
    return pa.string()


def _decimal(text: str) -> pa.DataType | None:
    """Return the type of a whole number that is no integer to Spark, such as 1e5."""
    if text != text.strip():
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    _, digits, exponent = number.as_tuple()
    count = len(digits) + int(exponent)
    return pa.decimal128(count, 0) if int(exponent) >= 0 and count <= _MOST_DIGITS else None


def _wider(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    if first == second:
        return first
    both = {first, second}
    if both == {pa.int32(), pa.int64()}:
        return pa.int64()
    if both == {pa.int32(), pa.float64()}:
        return pa.float64()
    if both == {pa.date32(), _INSTANT}:
        return _INSTANT
    decimals = [kind for kind in both if pa.types.is_decimal(kind)]
    if decimals and both <= {pa.int32(), pa.int64(), *decimals}:
        digits = [_DIGITS.get(kind) or kind.precision for kind in both]
        return pa.decimal128(max(digits), 0)
    return pa.string()


def _value(text: str, kind: pa.DataType) -> object:
    if pa.types.is_string(kind):
        return unquote(text)
    if pa.types.is_date(kind):
        return datetime.date.fromisoformat(text)
    if pa.types.is_timestamp(kind):
        moment, _, tenths = unquote(text).partition(".")
        found = datetime.datetime.fromisoformat(moment).replace(tzinfo=datetime.timezone.utc)
        return found.replace(microsecond=int(tenths or 0) * 100_000)
    if pa.types.is_decimal(kind):
        return Decimal(text)
    return (
        float(_SPECIAL.get(text, text.strip().rstrip("dDfF")))
        if kind == pa.float64()
        else int(text)
    )
