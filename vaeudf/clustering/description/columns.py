"""Payload columns that clusters are described by, and how each of them is summarised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from vaeudf.errors import InputError
from vaeudf.table.columns import OWN, one_type, payload_types
from vaeudf.table.open import PosteriorTable


@dataclass(frozen=True)
class Column:
    """A payload column.

    Attributes:
        name: Its name.
        type: What its values are read as.
        is_list: Whether an item has several values; ``type`` is then that of one.
        counted: Whether its values are counted, each for itself: text, truth values, and whole
            numbers, of which it turns out whether they are few.
        ordered: Whether it has quantiles: numbers and points in time.
    """

    name: str
    type: pa.DataType
    is_list: bool
    counted: bool
    ordered: bool

    @classmethod
    def of(cls, name: str, kind: pa.DataType) -> Column:
        """Return how a column of a type is summarised.

        Raises:
            InputError: It holds what has neither values that recur nor an order.
        """
        stored = kind
        is_list = _is_list(kind)
        if is_list:
            kind = kind.value_type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        whole = pa.types.is_integer(kind)
        counted = _is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind) or whole
        ordered = whole or _is_ordered(kind)
        if not counted and (is_list or not ordered):
            raise InputError(
                f"describe-by is the column {name!r}, which holds {stored}; expected text, lists "
                "of text, booleans, numbers, dates or timestamps."
            )
        if _is_text(kind) or pa.types.is_null(kind):
            kind = pa.string()
        return cls(name, kind, is_list, counted, ordered and not is_list)


def find_columns(table: PosteriorTable, names: Sequence[str]) -> tuple[Column, ...]:
    """Return the columns of these names, without reading more than the schema.

    Raises:
        InputError: One is not there, is the table's own, is named twice, or is of a type that
            clusters cannot be described by.
    """
    types = payload_types(table)
    found = []
    for place, name in enumerate(names):
        if name not in types:
            there = f"found {', '.join(types)}" if types else "it has none"
            own = ", which every item has for itself" if name in OWN else ""
            raise InputError(
                f"describe-by is {name!r}{own}; expected a payload column of the table: {there}."
            )
        if name in names[:place]:
            raise InputError(f"describe-by names {name!r} twice; name each column once.")
        found.append(Column.of(name, one_type("describe-by", name, types[name])))
    return tuple(found)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_ordered(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
    )
