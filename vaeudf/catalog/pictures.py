"""The pictures of a table's items in its catalog, found without Spark.

Only what the catalog lists is ever opened: items are asked for by their rows of the table, and of a
folder's items only paths below the folder are taken.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from vaeudf.catalog.catalog_source import CatalogSource
from vaeudf.catalog.csv_files import read_csv, read_csv_header
from vaeudf.catalog.delta import delta_snapshot
from vaeudf.catalog.kinds import FileKind, of_kind
from vaeudf.catalog.named_files import look_up_all
from vaeudf.catalog.names import find_column, named_by
from vaeudf.catalog.path_template import path_template
from vaeudf.catalog.patterns import is_glob, is_hidden, root_of
from vaeudf.catalog.reader import ImageReader, unavailable
from vaeudf.errors import InputError, root_cause
from vaeudf.images.decode import ImageFailure
from vaeudf.images.item_pictures import ItemPictures, Picture
from vaeudf.schema import ITEM_ID
from vaeudf.storage.locations import absolute, exists, filesystem, is_file
from vaeudf.storage.refusals import STORE_ERRORS
from vaeudf.table.ids import ids_as_text
from vaeudf.table.snapshot import Snapshot

_GONE = ImageFailure("missing", "the catalog does not have it any more.")


def catalog_pictures(source: CatalogSource, ids: pa.Array) -> ItemPictures:
    """Return the pictures of a table's items in its catalog.

    Args:
        source: The catalog.
        ids: The items, by row of the table.

    Raises:
        InputError: It is not there, lacks a column, or is of a kind that only Spark lists.
        StoreError: Its store does not answer.
    """
    pattern = is_glob(source.path)
    if not pattern and not exists(source.path):
        raise InputError(f"catalog {source.path} does not exist.")
    snapshot = None if source.format == "images" else delta_snapshot(source.path)
    if snapshot is None and _is_folder_of_images(source, pattern):
        return FolderPictures(root_of(source.path), ids)
    if snapshot is None and pattern:
        raise InputError(
            f"catalog {source.path} is a pattern of files with rows, which only Spark lists; name "
            "the folder with --catalog."
        )
    if source.path_column is not None:
        return NamedPictures(_named_paths(source, snapshot), ids)
    return ParquetPictures(source, snapshot, ids)


def _is_folder_of_images(source: CatalogSource, pattern: bool) -> bool:
    if source.format != "auto":
        return source.format == "images"
    # A posterior table says which it was; a catalog named by hand is asked what is in it.
    return source.path_column is None and (pattern or not _files_of(source.path, "parquet"))


class FolderPictures(ItemPictures):
    """Files in a folder; an item_id is the path below it."""

    def __init__(self, root: str, ids: pa.Array) -> None:
        """Take the folder and the items, by row of the table."""
        self._root, self._ids = root, ids
        self._reader = ImageReader(ITEM_ID)  # of files, which have no columns

    def picture(self, row: int) -> Picture:
        """Return the bytes of an item's file."""
        item_id = self._ids[row].as_py()
        # Ids come from the table, which anybody may have written.
        if item_id.startswith("/") or {"", ".", ".."} & set(item_id.split("/")):
            return ImageFailure("missing", "its id is no path below the catalog's folder.")
        uri = posixpath.join(self._root, item_id)
        info = _file_info(uri)
        if isinstance(info, ImageFailure):
            return info
        if info.type != fs.FileType.File:
            return _GONE
        return self._reader.read(uri, None, info.size, 0.0) or _GONE


class ParquetPictures(ItemPictures):
    """Rows of Parquet files, or of a Delta table, with the images' bytes."""

    def __init__(self, source: CatalogSource, snapshot: Snapshot | None, ids: pa.Array) -> None:
        """Find the rows: reads the column with the ids of all files.

        Args:
            source: The catalog.
            snapshot: If it is a Delta table, its version.
            ids: The items, by row of the table.

        Raises:
            InputError: A file cannot be read, or has no such column.
        """
        self._rows = _CatalogRows.of(source, snapshot, [source.id_column])
        column = source.image_column
        # Taken out: of millions of items, their ids are most of what would be held.
        self._place = _matched(ids, self._rows.columns.pop(source.id_column))
        self._infos: dict[str, fs.FileInfo] = {}
        self._column = _stored_path(column, snapshot)
        self._reader = ImageReader(self._column)
        self._lock = Lock()

    def picture(self, row: int) -> Picture:
        """Return the bytes of an item's image."""
        # One after the other: the reader goes through a row group, and keeps its place there.
        with self._lock:
            return self._read(self._reader, row)

    def sample(self, rows: Sequence[int]) -> Iterator[tuple[int, Picture]]:
        """Yield the images of some items, each after its row, as they lie in the files.

        No row group is begun twice, and nobody waits who asks for others meanwhile.
        """
        reader = ImageReader(self._column)
        for row in sorted(rows, key=lambda row: int(self._place[row])):
            yield row, self._read(reader, row)

    def _read(self, reader: ImageReader, row: int) -> Picture:
        place = int(self._place[row])
        if place < 0:
            return _GONE
        uri, number = self._rows.place(place)
        info = self._infos.get(uri) or _file_info(uri)
        if isinstance(info, ImageFailure):
            return info
        self._infos[uri] = info
        try:
            found = reader.read(uri, number, info.size, (info.mtime_ns or 0) / 1e9)
        except InputError:
            return ImageFailure("unavailable", "its file has changed since it was listed.")
        return found or _GONE


@dataclass(frozen=True)
class _Paths:
    """The files that a catalog's rows name.

    Attributes:
        ids: Of each row.
        paths: As they are written.
        folders: What paths are relative to.
        folder: Of each row, which of these.
    """

    ids: pa.Array
    paths: pa.Array
    folders: Sequence[str]
    folder: NDArray[np.int32]


class NamedPictures(ItemPictures):
    """Files that rows of CSV, Parquet or a Delta table name."""

    def __init__(self, named: _Paths, ids: pa.Array) -> None:
        """Find the rows of the items, by row of the table."""
        self._place = _matched(ids, named.ids)
        self._paths, self._folders, self._folder = named.paths, named.folders, named.folder
        self._reader = ImageReader(ITEM_ID)  # of files, which have no columns

    def picture(self, row: int) -> Picture:
        """Return the bytes of the file that an item's row names."""
        place = int(self._place[row])
        if place < 0:
            return _GONE
        path = self._paths[place].as_py()
        [file] = look_up_all([(path, self._folders[self._folder[place]])])
        return self._reader.read(file.uri, None, file.length, file.modified) or _GONE


def _named_paths(source: CatalogSource, snapshot: Snapshot | None) -> _Paths:
    assert source.path_column is not None
    tables = [] if snapshot is not None else _files_of(source.path, "csv")
    if source.format == "csv" or (source.format == "auto" and tables):
        return _csv_paths(source, source.path_column, tables)
    template = path_template(source.path_column)
    rows = None
    if template is not None:
        names = (source.id_column, *template.columns)
        rows = _CatalogRows.of(source, snapshot, names, optional=source.path_column)
    if rows is None or source.path_column in rows.columns:
        rows = _CatalogRows.of(source, snapshot, [source.id_column, source.path_column])
        paths = rows.columns[source.path_column]
    else:
        assert template is not None
        values = {n: pa.chunked_array([rows.columns[n]]) for n in template.columns}
        paths = pa.concat_arrays(template.filled(values).chunks)
    folder = np.zeros(len(paths), np.int32)
    return _Paths(rows.columns[source.id_column], paths, [root_of(source.path)], folder)


def _csv_paths(source: CatalogSource, path_column: str, tables: Sequence[str]) -> _Paths:
    ids, paths, folders = [], [], []
    for number, uri in enumerate(tables):
        template = path_template(path_column)
        if template is not None and path_column in read_csv_header(uri):
            template = None
        wanted = [path_column] if template is None else list(template.columns)
        table = read_csv(uri, [source.id_column, *wanted])
        named = (
            table[path_column]
            if template is None
            else template.filled({name: table[name] for name in wanted})
        )
        ids.append(table[source.id_column])
        paths.append(named)
        folders.append(np.full(table.num_rows, number, np.int32))
    return _Paths(
        _one_array(ids),
        _one_array(paths),
        [posixpath.dirname(uri) for uri in tables],
        np.concatenate(folders),
    )


@dataclass(frozen=True)
class _CatalogRows:
    """Some columns of all rows of a catalog's Parquet files, as text, and where each row is.

    Attributes:
        columns: By name.
        files: URIs.
        ends: Of each file, how many rows there are up to its end.
        rows: Of each row, its number in its file; None where no rows are deleted.
    """

    columns: dict[str, pa.Array]
    files: Sequence[str]
    ends: NDArray[np.int64]
    rows: NDArray[np.int64] | None

    @classmethod
    def of(
        cls,
        source: CatalogSource,
        snapshot: Snapshot | None,
        names: Sequence[str],
        optional: str | None = None,
    ) -> _CatalogRows:
        files = list(snapshot.files) if snapshot else _files_of(source.path, "parquet")
        if not files:
            raise InputError(f"catalog {source.path} has no Parquet files in it.")
        columns: dict[str, list[pa.ChunkedArray]] = {}
        rows, counts = [], []
        for uri in files:
            found, numbers = _read_columns(uri, names, optional, snapshot)
            for name, column in found.items():
                columns.setdefault(name, []).append(column)
            counts.append(len(numbers))
            rows.append(numbers)
        deleted = snapshot is not None and bool(snapshot.deleted)
        return cls(
            {name: _one_array(parts) for name, parts in columns.items()},
            files,
            np.cumsum(counts, dtype=np.int64),
            np.concatenate(rows) if deleted else None,
        )

    def place(self, row: int) -> tuple[str, int]:
        """Return the file of a row, and its number there."""
        number = int(np.searchsorted(self.ends, row, side="right"))
        first = int(self.ends[number - 1]) if number else 0
        return self.files[number], row - first if self.rows is None else int(self.rows[row])


def _read_columns(
    uri: str, names: Sequence[str], optional: str | None, snapshot: Snapshot | None
) -> tuple[dict[str, pa.ChunkedArray], NDArray[np.int64]]:
    """Return columns of a file as text, and the numbers of its rows that are not deleted."""
    system, inner = filesystem(uri)
    try:
        with pq.ParquetFile(inner, filesystem=system) as file:
            kinds = {field.name: field.type for field in file.schema_arrow}
            wanted = dict.fromkeys(names)
            if optional is not None and named_by(optional, kinds):
                wanted[optional] = None
            paths = {name: find_column(kinds, _stored_path(name, snapshot)) for name in wanted}
            missing = [name for name, path in paths.items() if path is None]
            if missing:
                raise InputError(
                    f"file {uri} of the catalog has no column {missing[0]!r}; it has "
                    f"{', '.join(kinds)}."
                )
            read = file.read(columns=[".".join(path) for path in paths.values() if path])
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"file {uri} of the catalog cannot be read: {root_cause(error).rstrip('.')}."
        ) from None
    numbers = np.arange(read.num_rows)
    deleted = None if snapshot is None else snapshot.deleted.get(uri)
    if deleted is not None:
        numbers = np.delete(numbers, deleted)
        read = read.take(pa.array(numbers))
    found = {}
    for name, path in paths.items():
        assert path is not None
        column = read[path[0]]
        for inner_name in path[1:]:
            column = pc.struct_field(column, inner_name)
        column = pa.chunked_array(column.chunks, column.type)
        found[name] = ids_as_text(column, f"the catalog has column {name}")
    return found, numbers


def _stored_path(name: str, snapshot: Snapshot | None) -> str:
    """Return what the files call a column: a Delta table may map its names."""
    columns = None if snapshot is None else snapshot.columns
    if columns is None:
        return name
    path = find_column({field.name: field.type for field in columns.schema}, name)
    return name if path is None else ".".join([columns.names.get(path[0], path[0]), *path[1:]])


def _matched(ids: pa.Array, named: pa.Array) -> NDArray[np.int32]:
    """Return the row of the catalog that has each item, -1 where none has it."""
    found = pc.fill_null(pc.index_in(ids, value_set=named), -1)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.int32)


def _files_of(path: str, kind: FileKind) -> list[str]:
    """Return the files of a kind at a path, in order, but for those whose names Spark passes over.

    If none is, all files are: who reads them says what is wrong.
    """
    location = absolute(path).rstrip("/")
    if is_file(path):
        return [location]
    system, inner = filesystem(location)
    try:
        infos = system.get_file_info(fs.FileSelector(inner, recursive=True))
    except OSError as error:
        raise InputError(f"catalog {path} cannot be read: {root_cause(error)}.") from None
    start = len(inner.rstrip("/"))
    below = [info.path[start:].lstrip("/") for info in infos if info.is_file]
    names = sorted(f"{location}/{rest}" for rest in below if not is_hidden(rest))
    if not names:
        return []
    are = of_kind(pa.array(names, pa.string()), kind).to_pylist()
    return [name for name, is_one in zip(names, are, strict=True) if is_one]


def _file_info(uri: str) -> fs.FileInfo | ImageFailure:
    """Return what a file's store says of it, or why it says nothing."""
    system, inner = filesystem(uri)
    try:
        return system.get_file_info(inner)
    except STORE_ERRORS as error:
        return unavailable(uri, error)


def _one_array(parts: Sequence[pa.ChunkedArray]) -> pa.Array:
    chunks = [chunk.cast(pa.string()) for part in parts for chunk in part.chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())
