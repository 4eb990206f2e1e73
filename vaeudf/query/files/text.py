"""Text files in the encodings that are common for tables."""

from __future__ import annotations

import codecs

from vaeudf.errors import InputError

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def decode(data: bytes, path: str) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 or UTF-32 as its first bytes say.

    Raises:
        InputError: It is in another encoding; any of these would give other ids for the same bytes.
    """
    mark = next(filter(data.startswith, _MARKS), b"")
    encoding = _MARKS[mark] if mark else _encoding_without_mark(data)
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"queries {path} cannot be read: line {line} is not {encoding.upper()}; expected text "
            "in UTF-8. Save it as UTF-8."
        ) from None


def _encoding_without_mark(data: bytes) -> str:
    """Names of columns are ASCII letters, of which UTF-16 makes one byte of two zero."""
    if data[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if data[:1] == b"\0" else "utf-8"
