"""JSON: an object a line, or a list of objects, or of vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NoReturn

import pyarrow as pa

from vaeudf.errors import InputError

_EXPECTED = 'expected objects such as {"query_id": "a", "z": [0.1, -2]}'
# Numbers stay as they are written: an id of 17 digits would not survive as a float64, nor 1.0 or
# 1e3 as another spelling of the same number.


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object's values by its keys; Python's own decoder keeps the last of several."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key {twice!r} {keys.count(twice)} times")
    return found


_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_int=str, parse_float=str, parse_constant=str
)


def read_json(text: str, path: str) -> pa.Table:
    """Read objects, one a line or all in a list; or z vectors, as lists in the same two ways.

    Args:
        text: What is in the file.
        path: The file's name, for messages.

    Returns:
        A column for every key, numbers as text; null where an object has no such key.

    Raises:
        InputError: It is not JSON, or holds something else.
    """
    rows = _rows(text, path)
    _check_not_pandas(rows, path)
    if all(isinstance(row, list) for row in rows):
        rows = [{"z": row} for row in rows]
    columns: dict[str, list[object]] = {}
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(
                f"queries {path} hold {_shown(row)} in place {place}; {_EXPECTED}, or lists of "
                "numbers alone."
            )
        for name in row:
            columns.setdefault(name, [])
    for name, values in columns.items():
        values += [_as_list(row.get(name)) for row in rows]  # type: ignore[attr-defined]
    return pa.table({name: _array(name, values, path) for name, values in columns.items()})


def _as_list(value: object) -> object:
    """Return the values of an object with the keys 0, 1, 2, … as a list, and others as they are.

    So does JavaScript write a Float32Array. Were they a struct of Arrow, those of a short one would
    be filled up with nulls.
    """
    if not isinstance(value, dict) or not value:
        return value
    places = [str(place) for place in range(len(value))]
    return [value[place] for place in places] if value.keys() == set(places) else value


def _check_not_pandas(rows: list[object], path: str) -> None:
    """Refuse one object that holds a whole table, as pandas writes it unless told otherwise."""
    row = rows[0] if len(rows) == 1 else None
    if not isinstance(row, dict):
        return
    values = list(row.values())
    tables = len(values) > 1 and all(isinstance(value, dict) for value in values)
    if {"columns", "data"} <= row.keys() or {"schema", "data"} <= row.keys() or tables:
        raise InputError(
            f"queries {path} hold one object with a whole table, of the keys "
            f"{', '.join(list(row)[:4])}; {_EXPECTED}, one a line. From pandas: "
            "to_json(…, orient='records', lines=True)."
        )


def _rows(text: str, path: str) -> list[object]:
    """Return the objects, or the vectors."""
    if not text.strip():
        raise InputError(f"queries {path} are empty; {_EXPECTED}.")
    try:
        whole = _decoded(text)
    except ValueError as error:
        first = text.strip().split("\n", 1)[0]
        if not _is_json(first):
            _refuse(error.lineno if isinstance(error, json.JSONDecodeError) else 1, error, path)
        return list(_lines(text, path))
    # One vector alone is a line of its own.
    if isinstance(whole, list) and not all(isinstance(value, (str, type(None))) for value in whole):
        return whole
    return [whole]


def _decoded(text: str) -> object:
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("too many brackets within brackets") from None


def _is_json(line: str) -> bool:
    try:
        _decoded(line)
    except ValueError:
        return False
    return True


def _lines(text: str, path: str) -> Iterator[object]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield _decoded(line)
            except ValueError as error:
                _refuse(number, error, path)


def _refuse(number: int, error: ValueError, path: str) -> NoReturn:
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    raise InputError(
        f"queries {path} cannot be read: line {number} is not JSON ({reason}); {_EXPECTED}, one a "
        "line, or a list of them."
    ) from None


def _array(name: str, values: list[object], path: str) -> pa.Array:
    try:
        return pa.array(values)
    except UnicodeEncodeError:
        raise InputError(
            f"queries {path} have {name!r} with half of a character (such as \\ud83d alone); "
            "expected whole ones."
        ) from None
    except (pa.ArrowException, TypeError, RecursionError):
        known = [value for value in values if value is not None]
        other = next((value for value in known if type(value) is not type(known[0])), known[-1])
        raise InputError(
            f"queries {path} have {name!r} of different kinds, such as {_shown(known[0])} and "
            f"{_shown(other)}; expected one kind."
        ) from None


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:39] + "…"
