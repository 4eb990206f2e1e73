"""Payload columns that clusters are described by, and how each of them is summarised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from vaeudf.errors import InputError
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, SOURCE_VERSION
from vaeudf.table.open import PosteriorTable
from vaeudf.table.plain_parquet import schemas_of

_OWN = (ITEM_ID, MU, LOG_VAR, SOURCE_VERSION)


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
    types = _types(table)
    payload = [name for name in types if name not in _OWN]
    found = []
    for place, name in enumerate(names):
        if name not in payload:
            there = f"found {', '.join(payload)}" if payload else "it has none"
            own = ", which every item has for itself" if name in _OWN else ""
            raise InputError(
                f"describe-by is {name!r}{own}; expected a payload column of the table: {there}."
            )
        if name in names[:place]:
            raise InputError(f"describe-by names {name!r} twice; name each column once.")
        found.append(Column.of(name, _one_type(name, types[name])))
    return tuple(found)


def _types(table: PosteriorTable) -> dict[str, list[pa.DataType]]:
    """Return the types that each column has, in all files."""
    if table.snapshot.columns is not None:
        schemas = [table.snapshot.columns.schema]
    else:
        schemas = schemas_of(table.files)
    types: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for field in schema:
            own = types.setdefault(field.name, [])
            if field.type not in own:
                own.append(field.type)
    return types


def _one_type(name: str, types: list[pa.DataType]) -> pa.DataType:
    if len(types) == 1:
        return types[0]
    try:
        return pa.unify_schemas(
            [pa.schema([(name, _plain(kind))]) for kind in types], promote_options="permissive"
        )[0].type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise InputError(
            f"describe-by is the column {name!r}, which holds {types[0]} in one file and "
            f"{types[1]} in another; expected one type."
        ) from None


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


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
