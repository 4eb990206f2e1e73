"""Posteriors in plain Parquet files, which vaeudf did not write."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from vaeudf.errors import TableError, root_cause
from vaeudf.schema import ITEM_ID, LOG_VAR, MU
from vaeudf.storage.locations import filesystem

# Files opened at a time; an object store answers each after some 50 ms.
_THREADS = 16


def parquet_files(location: str) -> list[str]:
    """Return the Parquet files at or below a path, leaving out those that Spark passes over."""
    system, inner = filesystem(location)
    info = system.get_file_info(inner)
    if info.type == fs.FileType.File:
        return [location] if location.endswith(".parquet") else []
    if info.type != fs.FileType.Directory:
        return []
    found = system.get_file_info(fs.FileSelector(inner, recursive=True))
    relative = [posixpath.relpath(entry.path, inner) for entry in found if entry.is_file]
    shown = [
        path
        for path in sorted(relative)
        if path.endswith(".parquet") and not any(p[0] in "_." for p in path.split("/"))
    ]
    return [posixpath.join(location, path) for path in shown]


def examine(files: Sequence[str]) -> tuple[int, int]:
    """Return how many rows some files have together, and the length of the first mu (or 0).

    Raises:
        TableError: A file cannot be read as Parquet, or lacks a column of posteriors.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(_examine_file, files))
    num_rows = sum(rows for rows, _ in found)
    return num_rows, next((latent_dim for rows, latent_dim in found if rows), 0)


def schemas_of(files: Sequence[str]) -> list[pa.Schema]:
    """Return the columns of each of some files.

    Raises:
        TableError: A file cannot be read as Parquet.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_schema, files))


def _schema(uri: str) -> pa.Schema:
    with _opened(uri) as parquet:
        return parquet.schema_arrow


def _opened(uri: str) -> pq.ParquetFile:
    system, inner = filesystem(uri)
    try:
        return pq.ParquetFile(inner, filesystem=system)
    except (OSError, pa.ArrowInvalid) as error:
        raise TableError(f"{uri} cannot be read as Parquet ({root_cause(error)}).") from None


def _examine_file(uri: str) -> tuple[int, int]:
    with _opened(uri) as parquet:
        names = parquet.schema_arrow.names
        missing = [name for name in (ITEM_ID, MU, LOG_VAR) if name not in names]
        if missing:
            raise TableError(
                f"{uri} has no column {', '.join(missing)}; found {', '.join(names)}, "
                "expected item_id, mu and log_var."
            )
        num_rows = parquet.metadata.num_rows
        if num_rows == 0:
            return 0, 0
        kind = parquet.schema_arrow.field(ITEM_ID).type
        if not _is_id(kind):
            raise TableError(
                f"{uri} has a column item_id of type {kind}, of which the same text does not come "
                "back everywhere; expected text or whole numbers: cast it."
            )
        for name in (MU, LOG_VAR):
            kind = parquet.schema_arrow.field(name).type
            if not _is_list_of_numbers(kind):
                raise TableError(
                    f"{uri} has a column {name} of type {kind}; expected lists of numbers."
                )
        first = next(parquet.iter_batches(1, columns=[MU]))
        return num_rows, len(first.column(MU)[0].as_py() or ())


def _is_id(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer)
    others = (pa.types.is_decimal, pa.types.is_date, pa.types.is_boolean)
    return any(check(kind) for check in checks + others)


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(check(kind) for check in is_list):
        return False
    numbers = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
    return any(check(kind.value_type) for check in numbers)
