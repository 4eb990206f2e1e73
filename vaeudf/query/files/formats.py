"""The formats of query files, known by their names or, where these say nothing, by first bytes."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.query.files.columns import is_read
from vaeudf.query.files.delimited import read_delimited
from vaeudf.query.files.json_text import read_json
from vaeudf.query.files.text import decode
from vaeudf.table.ids import check_text

FORMATS = "Parquet (.parquet), CSV (.csv), JSON lines (.jsonl, .ndjson, .json) or NumPy (.npy)"
_COMPRESSED = {
    "gzip": (".gz", b"\x1f\x8b"),
    "bz2": (".bz2", b"BZh"),
    "zstd": (".zst", b"\x28\xb5\x2f\xfd"),
    "lz4": (".lz4", b"\x04\x22\x4d\x18"),
}


@dataclass(frozen=True)
class Format:
    """How one kind of file becomes a table.

    Attributes:
        suffixes: What names of such files end with, after the last dot.
        read: Makes a table of the bytes; the second argument is the path, for messages.
    """

    suffixes: tuple[str, ...]
    read: Callable[[pa.NativeFile, str], pa.Table]


def _parquet(file: pa.NativeFile, path: str) -> pa.Table:
    """Read the columns of queries, which are all that must be readable; the others are null."""
    parquet = pq.ParquetFile(file)
    names = parquet.schema_arrow.names
    used = [name for name in names if is_read(name)]
    table = parquet.read(columns=used)
    for name in table.column_names:
        check_text(table.column(name), f"queries {path} have {name}")
    unused = pa.nulls(parquet.metadata.num_rows)
    return pa.table([table.column(name) if name in used else unused for name in names], names=names)


def _delimited(file: pa.NativeFile, path: str) -> pa.Table:
    return read_delimited(decode(file.read(), path), path)


def _json(file: pa.NativeFile, path: str) -> pa.Table:
    return read_json(decode(file.read(), path), path)


def _npy(file: pa.NativeFile, path: str) -> pa.Table:
    stream = io.BytesIO(file.read())
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if more := len(stream.read()):
        # numpy.save appends to a file that is open; numpy.load reads the first array alone.
        raise InputError(
            f"queries {path} have {more:,} bytes behind their array of shape {array.shape}; "
            "expected one array. Stack the arrays, and save them as one."
        )
    return pa.table({"z": _lists(array, path)})


def _lists(array: NDArray[np.generic], path: str) -> pa.Array:
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(
            f"queries {path} hold an array of shape {array.shape} and type {array.dtype}; "
            "expected numbers of shape (Q, n)."
        )
    numbers = np.ascontiguousarray(array, np.float64)
    return pa.FixedSizeListArray.from_arrays(numbers.ravel(), array.shape[1])


_PARQUET = Format(("parquet", "parq", "pq"), _parquet)
_CSV = Format(("csv", "tsv", "tab"), _delimited)
_JSON = Format(("jsonl", "ndjson", "json"), _json)
_NPY = Format(("npy",), _npy)
_MAGIC = {b"PAR1": _PARQUET, b"\x93NUMPY": _NPY}
_FOREIGN = {
    b"PK\x03\x04": "an archive, such as .npz or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x89HDF": "HDF5",
    b"SQLite": "an SQLite database",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"ARROW1": "an Arrow or Feather file",
    b"\x80": "a pickle",
    b"version https://git-lfs": "a Git LFS pointer, for a file that was not fetched",
    b"<": "HTML or XML",
}


def format_of(name: str, start: bytes, path: str) -> Format:
    """Return a file's format.

    Args:
        name: The file's name; one that ends like a known format is believed.
        start: The file's first bytes, some hundreds, decompressed.
        path: What was asked for, for messages.

    Raises:
        InputError: It is of no format that is read.
    """
    suffix = _suffix(name)
    for known in (_PARQUET, _CSV, _JSON, _NPY):
        if suffix in known.suffixes:
            return known
    for magic, known in _MAGIC.items():
        if start.startswith(magic):
            return known
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise InputError(f"queries {path} are {what}; expected {FORMATS}.")
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"queries {path} have an unknown format; expected {FORMATS}.")
    first = start.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \r\n\t")[:1]
    return _JSON if first in (b"{", b"[") else _CSV


def compression(start: bytes) -> str | None:
    """Return what pyarrow calls a file's compression, whatever its name; None if it has none."""
    return next((name for name, (_, magic) in _COMPRESSED.items() if start.startswith(magic)), None)


def _suffix(name: str) -> str:
    stem, suffix = posixpath.splitext(name.lower())
    packed = {ending for ending, _ in _COMPRESSED.values()}
    return (posixpath.splitext(stem)[1] if suffix in packed else suffix)[1:]
