"""Which of a file's columns is meant by a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa


def named_by(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is meant: the same, or the only one that differs in capitals alone."""
    names = list(names)
    if name in names:
        return name
    alike = [other for other in names if other.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def find_column(kinds: Mapping[str, pa.DataType], name: str) -> tuple[str, ...] | None:
    """Return a column of that name, or else the field of a struct; None if there is neither.

    Args:
        kinds: The types of the columns.
        name: ``a.b`` is a column of that name; else the field ``b`` of a column ``a``.

    Returns:
        The column's name, and those of the fields.
    """
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        column = named_by(".".join(parts[:end]), kinds)
        if column is None:
            continue
        if end == len(parts):
            return (column,)
        if pa.types.is_struct(kinds[column]):
            fields = {field.name: field.type for field in kinds[column]}
            below = find_column(fields, ".".join(parts[end:]))
            if below is not None:
                return (column, *below)
    return None


def type_at(kinds: Mapping[str, pa.DataType], path: tuple[str, ...]) -> pa.DataType:
    """Return the type of what :func:`find_column` has found."""
    kind = kinds[path[0]]
    for name in path[1:]:
        kind = kind.field(name).type
    return kind
