"""What a file is, by its name, and by its first bytes where the name does not say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from vaeudf.catalog.prefetch import call_all
from vaeudf.errors import InputError
from vaeudf.images.formats import FORMAT_NAMES, IMAGE_SUFFIXES, kind_of
from vaeudf.storage.locations import absolute, filesystem

FileKind = Literal["image", "parquet", "csv", "archive", "unnamed", "unreadable", "other"]

PARQUET_SUFFIXES = ("parquet", "parq", "pq", "parquet.gzip", "parquet.snappy")
CSV_SUFFIXES = tuple(
    f"{name}{packed}" for name in ("csv", "tsv") for packed in ("", ".gz", ".bz2", ".zst")
)
ARCHIVE_SUFFIXES = ("tar", "tar.gz", "tgz", "zip")

_BY_SUFFIX: dict[FileKind, Sequence[str]] = {
    "image": IMAGE_SUFFIXES,
    "parquet": PARQUET_SUFFIXES,
    "csv": CSV_SUFFIXES,
    "archive": ARCHIVE_SUFFIXES,
}
# Not a suffix are digits, such as a date's, and what has more in it than letters and digits.
_SUFFIX = r"[.][A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*~?\z"
_HEAD_BYTES = 32
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def kinds_by_name(paths: pa.Array) -> list[FileKind]:
    """Return what files are by their suffixes; ``unnamed`` for those that have none."""
    kinds: list[FileKind] = ["other"] * len(paths)
    for kind, mask in [
        ("unnamed", _is_unnamed(paths)),
        *((kind, _has_suffix(paths, suffixes)) for kind, suffixes in _BY_SUFFIX.items()),
    ]:
        for row in pc.indices_nonzero(mask).to_pylist():
            kinds[row] = kind
    return kinds


def count_unnamed(paths: pa.Array) -> int:
    """Return how many files have no suffix."""
    return pc.sum(_is_unnamed(paths)).as_py() or 0


def _is_unnamed(paths: pa.Array) -> pa.Array:
    return pc.invert(pc.match_substring_regex(paths, f"(?s){_SUFFIX}"))


def _has_suffix(paths: pa.Array, suffixes: Sequence[str]) -> pa.Array:
    pattern = "|".join(map(re.escape, suffixes))
    return pc.match_substring_regex(paths, rf"(?i)[.]({pattern})\z")


def kinds_by_content(paths: Sequence[str]) -> list[FileKind]:
    """Return what files are by their first bytes: ``image``, ``parquet`` or ``other``.

    A file that is not there is ``other``, and one that cannot be read ``unreadable``.
    """
    waits = [not path.startswith("/") for path in paths]
    return call_all(_kind_by_content, [(path,) for path in paths], waits)


def of_kind(paths: pa.Array, kind: FileKind) -> pa.Array:
    """Return which files are of a kind: by their suffix, or without one by their first bytes.

    One without a suffix that cannot be read may be of this kind, and counts as such: what is wrong
    may be gone tomorrow, and an item must not be lost until then without a word.
    """
    is_one = _has_suffix(paths, _BY_SUFFIX[kind]).to_numpy(zero_copy_only=False)
    unnamed = pc.indices_nonzero(_is_unnamed(paths))
    for row, found in zip(
        unnamed.to_pylist(), kinds_by_content(paths.take(unnamed).to_pylist()), strict=True
    ):
        is_one[row] = found in (kind, "unreadable")
    return pa.array(is_one)


def _kind_by_content(path: str) -> FileKind:
    try:
        if path.startswith("/"):
            with open(path, "rb") as file:
                head = file.read(_HEAD_BYTES)
        else:
            files, inner = filesystem(absolute(path))
            with files.open_input_file(inner) as stream:
                head = stream.read_at(_HEAD_BYTES, 0)
    except FileNotFoundError:
        return "other"
    except (OSError, pa.ArrowException, InputError):
        return "unreadable"
    if head.startswith(b"PAR1"):
        return "parquet"
    kind = kind_of(head) if head else ""
    if kind == "BMP" and int.from_bytes(head[14:18], "little") not in _BMP_HEADERS:
        return "other"  # two letters are a beginning of many texts
    return "image" if kind in FORMAT_NAMES else "other"
