"""Text with one row a line: CSV, and what spreadsheets of other countries write for it."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter

import pyarrow as pa

from vaeudf.errors import InputError
from vaeudf.query.files.columns import has_vectors
from vaeudf.table.ids import without_formulas

_DELIMITERS = (",", ";", "\t", "|")
# What Excel takes for the delimiter, in a line before the names.
_DECLARED = re.compile(r'"?sep=(.)"?\Z')
# A field may be an embedding; the csv module's own limit is 128 KiB.
_LONGEST_FIELD = 2**31 - 1
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
# How many names of columns a message writes out.
_NAMES_SHOWN = 4

Rows = list[list[str]]


def read_delimited(text: str, path: str) -> pa.Table:
    """Read a table whose first line has the columns' names.

    Fields are separated by what a line ``sep=;`` before the names says; else by commas, semicolons,
    tabs or bars: by what makes columns of the first line that queries have, and as many fields of
    every other line. Where none of these is in the first line, blanks are taken.

    Args:
        text: What is in the file.
        path: The file's name, for messages.

    Returns:
        Every column as text, as it is written; an empty field is null.

    Raises:
        InputError: It has no names of columns, one of them twice, or lines with other fields.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    delimiters: tuple[str, ...] = _DELIMITERS
    text = text.lstrip("\n\r")
    if declared := _DECLARED.match(_first_line(text)):
        delimiters = (declared[1],)
        text = text[declared.end() :].lstrip("\n\r")
    first = _first_line(text)
    if not first.strip():
        raise InputError(f"queries {path} are empty; expected a first line with names of columns.")
    if not any(delimiter in first for delimiter in delimiters):
        blanks = _names(first.removeprefix("#").strip(), " ")
        if len(blanks) > 1 and (has_vectors(blanks) or all(map(_NUMBER.fullmatch, blanks))):
            delimiters = (" ",)  # as numpy.savetxt writes
            text = re.sub(r"\A# *", "", text)
            first = _first_line(text)
    names = {delimiter: _names(first, delimiter) for delimiter in delimiters}
    known = [delimiter for delimiter in delimiters if has_vectors(names[delimiter])]
    # Of a table with one column, every delimiter is right that does not occur in it.
    known.sort(key=lambda delimiter: -len(names[delimiter]))
    if not known:
        # The comma last: with another delimiter it is a decimal point.
        for delimiter in reversed(delimiters):
            _check_has_names(names[delimiter], delimiter, path)
        known = [max(delimiters, key=first.count)]
    refusals = []
    for delimiter in known:
        try:
            return _table(names[delimiter], _rows(text, delimiter, path), path)
        except InputError as error:
            refusals.append(error)
    raise refusals[0]


def _first_line(text: str) -> str:
    return re.split("[\r\n]", text, maxsplit=1)[0]


def _names(first: str, delimiter: str) -> list[str]:
    try:
        fields = next(csv.reader([first], delimiter=delimiter, skipinitialspace=True))
    except csv.Error:
        fields = [first]
    # numpy.savetxt writes names as a comment.
    return [name.strip() for name in [fields[0].lstrip("# "), *fields[1:]]]


def _check_has_names(fields: list[str], delimiter: str, path: str) -> None:
    if not all(map(_NUMBER.fullmatch, fields)) or (len(fields) == 1 and delimiter != ","):
        return
    names = [f"z{place}" for place in range(len(fields))]
    if len(names) > _NAMES_SHOWN:
        names[2:-1] = ["…"]
    raise InputError(
        f"queries {path} have numbers in their first line; expected the names of the columns "
        f"there: add the line {delimiter.join(names)}."
    )


def _rows(text: str, delimiter: str, path: str) -> Rows:
    """Return the fields of every line below the first that is not blank.

    Raises:
        InputError: A line has not as many fields as the first, or quotes that do not end.
    """
    # Blanks after delimiters belong to an id, unless the names have them as well.
    blanks = delimiter == " " or f"{delimiter} " in _first_line(text)
    # Where files were put behind each other, the second begins with its own mark, and its names.
    lines = (line.removeprefix("\ufeff") for line in io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=blanks, strict=True)
    rows: Rows = []
    try:
        for row in reader:
            if len(row) == 0 or (len(row) == 1 and not row[0].strip()):
                continue
            if rows and row == rows[0]:
                continue
            rows.append(row)
            if len(row) != len(rows[0]):
                raise InputError(
                    f"queries {path} cannot be read: line {reader.line_num} has {len(row)} fields "
                    f"and the first line {len(rows[0])}; expected as many in every line. "
                    "Fields with commas in them must be in double quotes."
                )
    except csv.Error as error:
        raise InputError(
            f"queries {path} cannot be read: line {reader.line_num}: {error}."
        ) from None
    return rows[1:]


def _table(names: list[str], rows: Rows, path: str) -> pa.Table:
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        raise InputError(
            f"queries {path} have the column {twice[0]!r} {names.count(twice[0])} times; "
            "expected it once."
        )
    columns = zip(*rows, strict=True) if rows else [[] for _ in names]
    return pa.table(
        {
            name: without_formulas(pa.array([field or None for field in column], pa.string()))
            for name, column in zip(names, columns, strict=True)
            if name  # pandas writes its index without a name, spreadsheets a last delimiter
        }
    )
