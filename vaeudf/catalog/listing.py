"""The files at a path, listed by the driver, and by Spark's tasks where there are many.

Not with ``binaryFile``, Spark's own reader of images, which passes over empty files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pyarrow as pa
from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.catalog.globs import Folder, folders_at
from vaeudf.catalog.local_folders import LocalFolder, first_on_its_way, list_folder
from vaeudf.catalog.patterns import is_hidden
from vaeudf.errors import InputError, root_cause
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.frames import frame_of
from vaeudf.spark.tasks import numbered_tasks
from vaeudf.storage.locations import filesystem

PATH, LENGTH, MODIFIED = "path", "length", "modified"
_SCHEMA = pa.schema([(PATH, pa.string()), (LENGTH, pa.int64()), (MODIFIED, pa.int64())])
# Folders listed at a time; a store answers each after some 50 ms.
_THREADS = 16
# The driver has listed a few files before a task would have started. With more files, or more
# folders still to list, tasks pay.
_MANY_FILES, _MANY_FOLDERS = 100_000, 1_000
_ROWS_PER_BATCH = 10_000
_TASKS_PER_CORE = 2


class Looked(NamedTuple):
    """What the driver has found at a path.

    Attributes:
        files: As of :func:`list_files`.
        folders: Those that it has not listed, because there are many.
        hidden: How many files and folders were passed over for their names.
    """

    files: pa.Table
    folders: list[Folder]
    hidden: int


def look(spark: SparkSession, path: str) -> Looked:
    """List what is at a path, folder by folder, until there is enough for tasks.

    Raises:
        InputError: As of :func:`list_files`.
    """
    return _look(folders_at(spark, path))


def look_further(folders: Sequence[Folder]) -> Looked:
    """List folders that :func:`look` has left, without those in them.

    Raises:
        InputError: As of :func:`list_files`.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        levels = list(pool.map(_list, (folder._replace(recursive=False) for folder in folders)))
    return _joined(levels, [folder for one in levels for folder in one.folders])


def list_files(spark: SparkSession, path: str) -> DataFrame:
    """Return all files at or under a path, but for those that Spark would pass over, too.

    Names that begin with a dot or an underscore are passed over, of files and folders alike, unless
    the path itself names them.

    Args:
        spark: The session.
        path: A folder, a file, or a glob as Hadoop knows them.

    Returns:
        ``path``, under :func:`root_of` the path; ``length``, bytes; ``modified``, when it was
        written last, in milliseconds since 1970.

    Raises:
        InputError: The path does not exist, or a folder cannot be listed.
    """
    return as_frame(spark, look(spark, path))


def listed_files(spark: SparkSession, path: str) -> pa.Table:
    """Return what :func:`list_files` does, on the driver."""
    looked = look(spark, path)
    if not looked.folders:
        return looked.files
    return pa.concat_tables([looked.files, _listed_by_tasks(spark, looked.folders).toArrow()])


def as_frame(spark: SparkSession, looked: Looked) -> DataFrame:
    """Return all files, with those of folders that tasks list."""
    here = frame_of(spark, looked.files)
    return here.unionByName(_listed_by_tasks(spark, looked.folders)) if looked.folders else here


def _listed_by_tasks(spark: SparkSession, folders: list[Folder]) -> DataFrame:
    # Not a task for each folder: a Python task takes long to start, however little it does.
    cluster = Cluster.of(spark)
    num_tasks = min(len(folders), _TASKS_PER_CORE * cluster.num_cores)
    shares = cluster.share(
        [[(folder.path, folder.way) for folder in folders[i::num_tasks]] for i in range(num_tasks)]
    )

    def list_all(task: int) -> Iterator[pa.RecordBatch]:
        for path, way in shares.value[task]:
            listed = _list(Folder(path, recursive=True, way=way))
            yield from listed.files.to_batches(_ROWS_PER_BATCH)

    return numbered_tasks(spark, num_tasks, list_all, from_arrow_schema(_SCHEMA))


def _look(folders: list[Folder]) -> Looked:
    """List folders level by level, until there is enough below them for tasks to pay."""
    flat = [folder for folder in folders if not folder.recursive]
    deep = [folder for folder in folders if folder.recursive]
    with ThreadPoolExecutor(_THREADS) as pool:
        levels = list(pool.map(_list, flat))
        while 0 < len(deep) < _MANY_FOLDERS and sum(len(one.files) for one in levels) < _MANY_FILES:
            looked = list(pool.map(_list, (folder._replace(recursive=False) for folder in deep)))
            levels += looked
            deep = [folder for one in looked for folder in one.folders]
    return _joined(levels, deep)


def _joined(levels: Sequence[Looked], deep: list[Folder]) -> Looked:
    # In one chunk: of a table in several, some of them empty, createDataFrame silently drops rows
    # (PySpark 4.3).
    tables = [_SCHEMA.empty_table(), *(one.files for one in levels)]
    files = pa.concat_tables(tables).combine_chunks()
    return Looked(files, deep, sum(one.hidden for one in levels))


def _list(folder: Folder) -> Looked:
    """List a folder: its files, sorted, and the folders in it.

    Raises:
        InputError: It cannot be listed.
    """
    try:
        files, inner = filesystem(folder.path)
        if isinstance(files, fs.LocalFileSystem) and not folder.asks_for_few:
            rows, below, hidden = _list_local(folder, inner)
        else:
            rows, below, hidden = _list_store(folder, files, inner)
    except OSError as error:
        raise InputError(f"folder {folder.path} cannot be listed: {root_cause(error)}.") from None
    start = len(inner.rstrip("/"))
    rows = sorted(rows)
    if folder.names is not None:
        rows = [row for row in rows if row[0][start + 1 :] in folder.names]
    # The store's own path of the folder gives way to the one that says which store it is.
    above = folder.path.rstrip("/")
    columns = [
        [above + path[start:] for path, _, _ in rows],
        [length for _, length, _ in rows],
        [None if time is None else time // 10**6 for _, _, time in rows],
    ]
    folders = sorted(Folder(above + path[start:], recursive=True, way=way) for path, way in below)
    return Looked(pa.table(columns, schema=_SCHEMA), folders, hidden)


_Rows = list[tuple[str, int, int | None]]
_Below = list[tuple[str, tuple[str, ...]]]


def _list_store(folder: Folder, files: fs.FileSystem, inner: str) -> tuple[_Rows, _Below, int]:
    if folder.asks_for_few:
        found = files.get_file_info([f"{inner}/{name}" for name in sorted(folder.names or ())])
    else:
        found = files.get_file_info(fs.FileSelector(inner, recursive=folder.recursive))
    start = len(inner.rstrip("/"))
    # Neither a file nor a folder is a pipe, or a file that has gone since. What is asked for by
    # name is not passed over.
    found = [info for info in found if info.type in (fs.FileType.File, fs.FileType.Directory)]
    seen = [info for info in found if folder.names is not None or not is_hidden(info.path[start:])]
    rows = [(i.path, i.size, i.mtime_ns) for i in seen if i.type == fs.FileType.File]
    below: _Below = [(i.path, ()) for i in seen if i.type == fs.FileType.Directory]
    return rows, below, len(found) - len(seen)


def _list_local(folder: Folder, inner: str) -> tuple[_Rows, _Below, int]:
    rows: _Rows = []
    passed_over = 0

    def passes_over(name: str) -> bool:
        nonlocal passed_over
        hidden = folder.names is None and is_hidden(name)
        passed_over += hidden
        return hidden

    top = inner.rstrip("/") or "/"
    waiting = [LocalFolder(top, folder.way) if folder.way else first_on_its_way(top)]
    while waiting:
        found, below = list_folder(waiting.pop(), passes_over)
        rows += found
        if not folder.recursive:
            return rows, [(path, way) for path, way in below], passed_over
        waiting += below
    return rows, [], passed_over
