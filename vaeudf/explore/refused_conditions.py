"""Why a condition in SQL is refused, in words for somebody who does not write SQL every day.

The parser and DuckDB tell it in terms of their own classes, types and functions.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence

import duckdb
import pyarrow as pa
import sqlglot

from vaeudf.errors import root_cause

# Of a condition, what is shown of the part that precedes a mistake.
_MOST_BEFORE = 30
_MOST_EXAMPLE = 40
_ROWS = 1_000
_QUOTES = "'\"`"
_KINDS = (
    (r".*\[\d*\]$", "a list"),
    (r"STRUCT|MAP", "a structure"),
    (r"VARCHAR|STRING", "a text"),
    (r"BOOL", "true or false"),
    (r"DATE$", "a date"),
    (r"TIMESTAMP", "a date with a time"),
    (r"U?(TINY|SMALL|BIG|HUGE)?INT|INTEGER|DECIMAL|DOUBLE|FLOAT|REAL", "a number"),
    (r'"?NULL', "unknown (null)"),
)


def unread(where: str, error: sqlglot.errors.SqlglotError) -> str:
    """Return why a condition cannot be parsed."""
    if not isinstance(error, sqlglot.errors.ParseError) or not error.errors:
        if any(where.count(quote) % 2 for quote in _QUOTES):
            return "a quotation mark has no second one"
        return "it has a character, or a comment, that does not belong there"
    found = error.errors[0]
    before, at = str(found["start_context"]), str(found["highlight"])
    what = str(found["description"])
    if what.startswith("Required keyword: 'this'") and before.strip():
        return f"something is missing in {_end(before + at)}"
    if what.startswith("Required keyword"):
        return f"something is missing after {_end(before if at == ')' else before + at)}"
    if what.startswith("Expecting )"):
        return f"a closing bracket is missing after {_end(before + at)}"
    if not before.strip():
        return f"it cannot begin with {at!r}"
    return f"{at!r} is not expected after {_end(before)}"


def unevaluated(error: duckdb.Error) -> str:
    """Return why DuckDB cannot evaluate a condition that it has been handed."""
    said = root_cause(error)
    if match := re.search(r"Could not convert string '(.*)' to (\w+)", said):
        return f"the text {match[1]!r} stands where {_kind(match[2])} is expected"
    if match := re.search(r'invalid (date|timestamp) field format: "(.*?)"', said):
        return f"{match[2]!r} is no date; dates are written as '2024-01-31'"
    if match := re.search(r"compare values of type (.+?) and type (.+?) - ", said):
        return f"{_kind(match[1])} is compared with {_kind(match[2])}"
    if match := re.search(r"Unimplemented type for cast \((.+?) -> (.+?)\)", said):
        return f"{_kind(match[1])} stands where {_kind(match[2])} is expected"
    if match := re.search(r"argument types '(.+?)\((.*)\)'", said):
        # The escape character of LIKE is ours.
        name = match[1].removesuffix("_escape")
        kinds = match[2].split(", ")[: 2 if name != match[1] else None]
        return f"{name} does not go with {' and '.join(map(_kind, kinds))}"
    return said.partition(" Error: ")[2] or said


def no_truth(kind: str) -> str:
    """Return what is wrong with a condition whose value is of another type."""
    return f"by itself it is {_kind(kind)}, and not true or false; compare it with a value"


def no_column(written: str, name: str, names: Sequence[str]) -> str:
    """Return what is wrong where a column's name is expected.

    Args:
        written: As the condition has it.
        name: Without its table.
        names: Of the columns that there are.
    """
    near = difflib.get_close_matches(name.lower(), [one.lower() for one in names], 1)
    meant = next((one for one in names if one.lower() in near and one != written), None)
    hint = f"did you mean {meant}?" if meant else f"texts are written in quotes: '{name}'"
    return f"there is no column {written}; {hint}"


def example(items: pa.Table) -> str:
    """Return a condition on one of the columns, with a value that is there."""
    found: dict[str, str] = {}
    for field in items.schema:
        values = items.column(field.name).slice(0, _ROWS).drop_null()
        if not len(values):
            continue
        value, name = values[0].as_py(), _quoted(field.name)
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name == "item_id":
            found["id"] = f"startswith(item_id, {_text(re.split('[/._-]', value)[0])})"
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            if math.isfinite(value):
                found.setdefault("number", f"{name} <= {float(value):g}")
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            if len(value) <= _MOST_EXAMPLE:
                found.setdefault("text", f"{name} = {_text(value)}")
    return next((found[kind] for kind in ("number", "text", "id") if kind in found), "true")


def _kind(name: str) -> str:
    return next((words for pattern, words in _KINDS if re.match(pattern, name)), name.lower())


def _end(text: str) -> str:
    """Return the end of what precedes a mistake, from a word on."""
    text = text.strip()
    if len(text) <= _MOST_BEFORE:
        return repr(text)
    end = text[-_MOST_BEFORE:]
    return repr("… " + (end.partition(" ")[2] or end))


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else f"`{name.replace('`', '``')}`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
