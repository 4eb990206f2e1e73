"""CSV files as shops export them, read as text: no id becomes a number and loses its zeros."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from vaeudf.errors import InputError, root_cause
from vaeudf.storage.locations import filesystem
from vaeudf.table.ids import without_formulas

_DELIMITERS = (",", ";", "\t", "|")
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_HEAD_CHARACTERS = 2**20
# A field may be an embedding, or a picture in base64; the csv module's own limit is 128 KiB.
_LONGEST_FIELD = 2**31 - 1
_QUOTES = (
    "A field with quotes in it must stand in quotes, and each of its own be written twice, without "
    "a backslash."
)
# What Excel takes for the delimiter, in a line before the header.
_DECLARED = re.compile('\ufeff?"?sep=(.)"?[\r\n]')
_ROWS_PER_CHUNK = 50_000
# Only what is written as a number is written: 007 and +1 are texts.
_WHOLE = r"\A-?(0|[1-9][0-9]{0,17})\z"
# More digits before the point than a double holds are rather a code's.
_DECIMAL = r"\A-?(0|[1-9][0-9]{0,14})([.][0-9]+)?([eE][+-]?[0-9]{1,2})?\z"


class _Dialect(NamedTuple):
    """How a file is written.

    Attributes:
        delimiter: Between fields.
        names: The columns, blanks around them taken off.
        has_blanks: Whether there are blanks around the names, and so around the fields.
    """

    delimiter: str
    names: list[str]
    has_blanks: bool


def read_csv_header(uri: str) -> list[str]:
    """Return the names of a CSV file's columns.

    Raises:
        InputError: The file cannot be read as text.
    """
    with _opened(uri) as (text, declared):
        return _dialect(text.read(_HEAD_CHARACTERS), (), declared).names


def read_csv(uri: str, wanted: Sequence[str]) -> pa.Table:
    """Return a CSV file's columns as text; an empty field is null. Columns without a name are not.

    The delimiter is what a line ``sep=;`` before the header says; else a comma, a semicolon, a tab
    or a bar: the one with which the header has the columns that are wanted.

    Args:
        uri: The file: UTF-8 or UTF-16; compressed if its name says so, as ``.csv.gz``.
        wanted: Columns that it must have.

    Raises:
        InputError: It cannot be read, lacks a column, or a line has too many or too few fields.
    """
    with _opened(uri) as (text, declared):
        dialect = _dialect(text.read(_HEAD_CHARACTERS), wanted, declared)
    names = dialect.names
    if not any(names):
        raise InputError(f"{uri} is empty; expected a first line with the names of its columns.")
    for name in wanted:
        if names.count(name) != 1:
            found = "no column" if name not in names else f"{names.count(name)} columns called"
            raise InputError(
                f"{uri} has {found} {name!r}; its columns are {', '.join(map(repr, names))}. Name "
                "them with --id-column, --path-column and --payload-columns."
            )
    kept = [i for i, name in enumerate(names) if name and name not in names[:i]]
    schema = pa.schema([(names[i], pa.string()) for i in kept])
    chunks = []
    with _opened(uri) as (text, _):
        rows = _rows(uri, text, dialect)
        while some := list(islice(rows, _ROWS_PER_CHUNK)):
            columns = list(zip(*some, strict=True))
            arrays = [pa.array([x or None for x in columns[i]], pa.string()) for i in kept]
            chunks.append(pa.table(list(map(without_formulas, arrays)), schema=schema))
    return pa.concat_tables(chunks) if chunks else schema.empty_table()


def with_numbers(table: pa.Table) -> pa.Table:
    """Return a table of texts with the columns that hold nothing but numbers as numbers.

    bigint, where all are whole numbers of up to 18 digits; else double, where none has more than 15
    digits before the point. A number with leading zeros or a plus is a text, and so is its whole
    column.
    """
    columns = []
    for column in table.columns:
        kind = column.type
        if column.null_count < len(column):
            for pattern, number in ((_WHOLE, pa.int64()), (_DECIMAL, pa.float64())):
                if pc.all(pc.match_substring_regex(column, pattern)).as_py():
                    kind = number
                    break
        columns.append(column.cast(kind))
    return pa.table(columns, names=table.column_names)


@contextmanager
def _opened(uri: str) -> Iterator[tuple[io.TextIOWrapper, str | None]]:
    """Open a file at its header; gives the delimiter as well, if a line before that says it."""
    try:
        files, inner = filesystem(uri)
        with files.open_input_stream(inner) as stream:
            head = stream.read(64)
        encoding = _encoding(head)
        declared = _DECLARED.match(head.decode(encoding, "ignore"))
        with files.open_input_stream(inner) as stream:
            text = io.TextIOWrapper(stream, encoding=encoding, newline="")
            if declared:
                text.readline()
            yield text, declared[1] if declared else None
    except UnicodeDecodeError as error:
        found = error.object[error.start : error.start + 1].hex()
        raise InputError(
            f"{uri} is not {error.encoding.upper()}: it has the byte 0x{found} where no character "
            "has it. Save it as UTF-8 (in Excel: CSV UTF-8)."
        ) from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{uri} cannot be read: {root_cause(error)}.") from None


def _encoding(head: bytes) -> str:
    for mark, name in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return name
    # Without a mark: names of columns begin with ASCII, of which UTF-16 makes one byte of two 0.
    if head[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if head[:1] == b"\0" else "utf-8"


def _dialect(head: str, wanted: Sequence[str], declared: str | None) -> _Dialect:
    csv.field_size_limit(_LONGEST_FIELD)

    def read(delimiter: str) -> _Dialect:
        try:
            header = next(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), [])
        except csv.Error:
            header = []
        names = [_bare(name) for name in header]
        return _Dialect(delimiter, names, names != header)

    dialects = [read(delimiter) for delimiter in ([declared] if declared else _DELIMITERS)]
    return max(dialects, key=lambda one: (set(wanted) <= set(one.names), len(one.names)))


def _rows(uri: str, text: io.TextIOWrapper, dialect: _Dialect) -> Iterator[list[str]]:
    reader = csv.reader(
        _lines(uri, text, dialect),
        delimiter=dialect.delimiter,
        skipinitialspace=dialect.has_blanks,
        strict=not dialect.has_blanks,  # else a blank after a quote is an error
    )
    width = len(dialect.names)
    try:
        header = next(reader, None)
        for row in reader:
            if row == header:
                continue
            if not row or (len(row) == 1 < width and not row[0].strip()):
                continue  # an empty line
            if len(row) != width:
                raise InputError(
                    f"{uri} has {len(row)} fields in line {reader.line_num}, but {width} in its "
                    f"header; expected as many, separated by {dialect.delimiter!r}. A field with "
                    "a separator in it must stand in quotes."
                )
            yield [field.strip() for field in row] if dialect.has_blanks else row
    except csv.Error as error:
        raise InputError(f"{uri} is no CSV in line {reader.line_num}: {error}. {_QUOTES}") from None


def _lines(uri: str, text: io.TextIOWrapper, dialect: _Dialect) -> Iterator[str]:
    # Only where quotes are not strict; else the csv module finds it.
    inner = re.compile(rf'\\"(?!\s*({re.escape(dialect.delimiter)}|\Z)|")')
    for number, line in enumerate(text, 1):
        if dialect.has_blanks and inner.search(line):
            raise InputError(
                f"{uri} is no CSV in line {number}: a quote has a backslash before it. {_QUOTES}"
            )
        # Of files that were put behind each other, each begins with a mark, and with the names.
        yield line.removeprefix("\ufeff")


def _bare(name: str) -> str:
    found = re.fullmatch(r'\s*"(.*)"\s*', name, re.DOTALL)  # quoted, after a blank
    return found[1].replace('""', '"') if found else name.strip()
