"""Vectors as lists, as Spark ML's structs, or as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.query.latents import coordinate

_FIELDS = {"type", "size", "indices", "values"}
# How NumPy and torch print an array: array([0.1, 2.], dtype=float32).
_PRINTED = re.compile(r"^(?:array|tensor)\((.*?)(?:, *(?:dtype|device|grad_fn)=.*)?\)$", re.DOTALL)
# How NumPy and torch print one number of a list: np.float32(0.1), tensor(0.1).
_PRINTED_NUMBER = re.compile(r"\b(?:(?:np|numpy)\.float\d+|tensor)\(([^(),\s]+)\)")
_SPARSE = re.compile(r"^\((\d+), *\[([^]]*)\], *\[([^]]*)\]\)$")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_EXPECTED = "expected numbers with commas between, such as [0.1, -2, 0]"


def vectors(column: pa.ChunkedArray, what: str) -> list[ArrayLike]:
    """Return a vector per row; a value of another kind is left as it is, and null is None.

    Args:
        column: Lists of numbers; structs of Spark ML's vectors, dense or sparse; or text with
            numbers between commas, semicolons or blanks, with or without brackets.
        what: The file and the column, for messages.

    Raises:
        InputError: A text is no list of numbers, or a sparse vector has places that it cannot have.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column, kind = column.cast(kind.storage_type), kind.storage_type
    column = plain_text(_flat(column))
    kind = column.type
    rows: list[Any] = column.to_pylist()
    if pa.types.is_string(kind):
        return [row and _parsed(row, what, place) for place, row in enumerate(rows)]
    if pa.types.is_struct(kind) and {field.name for field in kind} >= _FIELDS - {"size", "indices"}:
        return [row and _unpacked(row, what, place) for place, row in enumerate(rows)]
    if pa.types.is_struct(kind) and _are_places([field.name for field in kind]):
        # How JavaScript writes a Float32Array.
        return [row and [row[str(place)] for place in range(len(row))] for row in rows]
    return rows


def _flat(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return lists in place of the structs around them, and around their elements.

    Files whose lists are not named as Parquet prescribes come so out of databases.
    """
    kind = column.type
    if pa.types.is_struct(kind) and [field.name for field in kind] == ["list"]:
        column = pc.struct_field(column, "list")
        kind = column.type
    if not pa.types.is_list(kind) or not pa.types.is_struct(kind.value_type):
        return column
    names = [field.name for field in kind.value_type]
    if names not in (["element"], ["item"], ["array_element"]):
        return column
    rows = [
        row and [element and element[names[0]] for element in row] for row in column.to_pylist()
    ]
    return pa.chunked_array([pa.array(rows, pa.list_(kind.value_type[0].type))])


def _are_places(names: Sequence[str]) -> bool:
    """Whether names are 0, 1, 2, …, in any order."""
    return set(names) == set(map(str, range(len(names)))) and len(names) > 0


def plain_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without a dictionary, and of text of any kind as strings."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        kind = pa.string()
    return column.cast(kind) if kind != column.type else column


def _parsed(text: str, what: str, place: int) -> list[float] | NDArray[np.float64]:
    """Return the numbers of a text."""
    printed = _PRINTED.match(text.strip())
    inner = printed[1] if printed else text.strip()
    sparse = _SPARSE.match(inner)
    if sparse:
        indices, values = ([part for part in sparse[i].split(",") if part] for i in (2, 3))
        return _scattered(sparse[1], indices, values, what, place)
    inner = _PRINTED_NUMBER.sub(r"\1", inner)
    if inner[:1] in _BRACKETS and inner.endswith(_BRACKETS[inner[0]]):
        inner = inner[1:-1]
    try:
        return [coordinate(part) for part in _parts(inner)]
    except ValueError:
        shown = text if len(text) <= 60 else text[:59] + "…"
        raise InputError(f"{what} is {shown!r} in row {place}; {_EXPECTED}.") from None


def _parts(text: str) -> list[str]:
    """Split at semicolons, else at commas, else at blanks."""
    if ";" in text:
        # Then a comma is where another country's numbers have the point.
        parts = text.split(";")
        return parts if "." in text else [part.replace(",", ".") for part in parts]
    return text.split(",") if "," in text else text.split()


def _unpacked(
    row: Mapping[str, Any], what: str, place: int
) -> Sequence[float] | NDArray[np.float64]:
    """Return a vector of Spark ML: type 1 is dense, type 0 has the values that are not zero."""
    if str(row["type"]) == "1":
        values: Sequence[float] = row["values"]
        return values
    return _scattered(row.get("size"), row.get("indices"), row["values"], what, place)


def _scattered(
    size: Any, indices: Sequence[Any] | None, values: Sequence[Any], what: str, place: int
) -> NDArray[np.float64]:
    try:
        vector = np.zeros(int(size))
        places = [int(place) for place in indices or ()]
        if len(places) != len(values) or any(place < 0 for place in places):
            raise ValueError
        vector[places] = np.array(values, np.float64)
    except (TypeError, ValueError, IndexError):
        raise InputError(
            f"{what} has a sparse vector in row {place} with size {size}, indices {indices} and "
            f"values {values}; expected as many indices as values, each from 0 below the size."
        ) from None
    return vector
