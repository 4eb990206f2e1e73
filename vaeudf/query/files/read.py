"""Read queries from a file, or from a folder of part files as distributed jobs write them."""

from __future__ import annotations

import logging
import posixpath

import pyarrow as pa
from pyarrow import fs

from vaeudf.errors import InputError, root_cause
from vaeudf.query.files.columns import (
    blends_of,
    is_grouped,
    queries_of,
    tell_of_blends,
    with_own_names,
)
from vaeudf.query.files.formats import FORMATS, compression, format_of
from vaeudf.query.latents import Latents
from vaeudf.storage.locations import absolute, exists, filesystem
from vaeudf.table.delta import has_commits
from vaeudf.table.other_formats import about_other_table

log = logging.getLogger(__name__)

# More than any magic bytes.
_START_BYTES = 1024


def read_latents(path: str) -> Latents:
    """Read queries from a file, or from all files of a folder, in the order of their names.

    Tables have a column ``z`` of lists, or one column per dimension named z0, z1, … (or z_0, …;
    counting may start at 1), and optionally ``query_id``, which is text and comes back as it is
    written. For Gaussian queries there are ``mu`` and ``log_var`` = log sigma² instead of ``z``, in
    either form. ``.npy`` holds points, (Q, n). What else is taken is in ``docs/queries.md``.

    Raises:
        InputError: There is no such file, or it has an unknown format or other columns.
    """
    return queries_of(_table(path), path)


def read_queries(path: str, *, blend: bool = False) -> Latents:
    """Read queries as :func:`read_latents` does, or blends of them.

    With columns ``group`` (text) and ``weight`` (a number), or with ``blend`` and one of them or
    none, all queries of a group are one, which the group names; without groups, all of the file.

    Raises:
        InputError: As of :func:`read_latents`, or a group is null, a weight is no finite number,
            all weights of a group are 0, or its members leave different dimensions open.
    """
    table = _table(path)
    if not blend and not is_grouped(table):
        tell_of_blends(table, path)
        return queries_of(table, path)
    blends = blends_of(table, path)
    rows = f"{table.num_rows} rows are" if table.num_rows != 1 else "1 row is"
    asked = f"{len(blends)} blends" if len(blends) != 1 else "1 blend"
    log.info("queries %s: %s asked as %s.", path, rows, asked)
    return blends


def _table(path: str) -> pa.Table:
    if not exists(path):
        raise InputError(f"queries {path} do not exist; expected a file: {FORMATS}.")
    system, inner = filesystem(path)
    if system.get_file_info(inner).type == fs.FileType.File:
        return _read(system, inner, path)
    return _read_folder(system, inner, path)


def _read_folder(system: fs.FileSystem, inner: str, path: str) -> pa.Table:
    """Return the rows of all files in a folder."""
    if has_commits(absolute(path)):
        raise InputError(
            f"queries {path} are a Delta table, whose files may hold deleted rows; write its rows "
            "as Parquet, such as with spark.read.format('delta').load(…).write.parquet(…), and "
            "name that."
        )
    other = about_other_table(path, f"queries {path} are")
    if other is not None:
        raise InputError(other)
    infos = system.get_file_info(fs.FileSelector(inner, recursive=True))
    start = len(inner.rstrip("/")) + 1
    # Spark writes nothing into a part file of CSV or JSON that has no rows.
    names = sorted(info.path[start:] for info in infos if info.is_file and info.size)
    names = [name for name in names if not any(part[0] in "._" for part in name.split("/"))]
    if not names:
        raise InputError(f"queries {path} are a folder without files; expected {FORMATS}.")
    tables = [
        _read(system, posixpath.join(inner, name), posixpath.join(path, name)) for name in names
    ]
    for name, table in zip(names, tables, strict=True):
        missing = set(tables[0].column_names) ^ set(table.column_names)
        if missing:
            raise InputError(
                f"queries {path}: {names[0]} and {name} have different columns; only one of them "
                f"has {min(missing)!r}. Name one of the files, or give all the same columns."
            )
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"queries {path} have files that differ: {root_cause(error).rstrip('.')}. Write all of "
            "them alike, or name one."
        ) from None


def _read(system: fs.FileSystem, inner: str, path: str) -> pa.Table:
    name = posixpath.basename(inner)
    try:
        with _open(system, inner) as file:
            start = file.read(_START_BYTES)
            file.seek(0)
            return with_own_names(format_of(name, start, path).read(file, path))
    except (pa.ArrowException, ValueError, OSError, KeyError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"queries {path} cannot be read: {root_cause(error)}.") from None


def _open(system: fs.FileSystem, inner: str) -> pa.NativeFile:
    """Open a file for reading what is in it, decompressed."""
    file = system.open_input_file(inner)
    packed = compression(file.read(_START_BYTES))
    file.seek(0)
    if packed is None:
        return file
    with pa.CompressedInputStream(file, packed) as stream:
        return pa.BufferReader(stream.read())
