"""Images are read where they are needed: a task opens files, or rows of Parquet files, itself.

So only an item's place goes through Spark, and only the images that have changed are read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vaeudf.catalog.names import find_column
from vaeudf.catalog.prefetch import LookAhead
from vaeudf.errors import InputError, StoreError, root_cause
from vaeudf.images.decode import MAX_BYTES, ImageFailure
from vaeudf.schema import HASH_DIGITS
from vaeudf.storage.locations import absolute, filesystem

UNAVAILABLE = "unavailable"
"""Reason of an item whose image could not be opened or read; the next run tries it again."""

# How many images are taken from a Parquet file at a time: each step costs as much as a small image,
# but they must not fill a task's memory.
_BYTES_PER_BATCH = 2 * 2**20
_MOST_ROWS_PER_BATCH = 128
BUFFER_BYTES = 2**20
"""Read at a time of what is streamed."""
# A store takes some 50 ms to answer, however many requests there are.
_THREADS = 32
_BYTES_AHEAD = 64 * 2**20

Place = tuple[str, float | None, float, float]
"""The arguments of :meth:`ImageReader.read`."""


class ImageReader:
    """Reads images by the places that :func:`vaeudf.catalog.source.list_items` gives."""

    def __init__(self, image_column: str) -> None:
        """Take the column that has the images, ``a.b`` for a field; for rows of Parquet only."""
        self._column = image_column
        self._parquet: ParquetImages | None = None

    def read_all(self, places: Iterable[Place]) -> Iterator[bytes | ImageFailure | None]:
        """Yield images, as :meth:`read` returns them; a store's files are fetched ahead of time."""
        with ThreadPoolExecutor(_THREADS) as pool:
            ahead = LookAhead[bytes | ImageFailure](pool, _THREADS, _BYTES_AHEAD)
            for uri, row, length, modified in places:
                if _is_row(row) or _is_local(uri):
                    yield from ahead.drain()
                    yield self.read(uri, row, length, modified)
                else:
                    yield from ahead.submit(length, _read_file, uri, length)
            yield from ahead.drain()

    def read(
        self, uri: str, row: float | None, length: float, modified: float
    ) -> bytes | ImageFailure | None:
        """Return one image's bytes, None if it has none, or why it cannot be read.

        Args:
            uri: The file.
            row: Its row there; None (or NaN) where the file is the image. Of one file, rows are
                best asked for in ascending order.
            length: The file's bytes, as it was listed.
            modified: When it was written, in seconds.

        Raises:
            InputError: A Parquet file is not the one that was listed: its rows may be others.
        """
        if not _is_row(row):
            return _read_file(uri, length)
        try:
            if self._parquet is None or self._parquet.uri != uri:
                check_unchanged(uri, length, modified)
                self._parquet = ParquetImages(uri, self._column)
            assert row is not None
            return self._parquet.image(int(row))
        except (OSError, pa.ArrowException) as error:
            self._parquet = None
            return unavailable(uri, error)


def _is_row(row: float | None) -> bool:
    return row is not None and not math.isnan(row)


def _is_local(uri: str) -> bool:
    # As catalogs are listed; to make one absolute takes as long as to read a small file.
    return uri.startswith("/") or absolute(uri).startswith("/")


def _read_file(uri: str, length: float) -> bytes | ImageFailure:
    if not uri:
        return ImageFailure(UNAVAILABLE, "the catalog names no file for it.")
    if length > MAX_BYTES:
        return ImageFailure(
            "too_large", f"the file has {int(length)} bytes; at most {MAX_BYTES} are read."
        )
    try:
        if _is_local(uri):
            # pyarrow reads in a thread of its own. With all cores busy, waiting for it takes as
            # long as decoding a small picture.
            with open(uri if uri.startswith("/") else absolute(uri), "rb") as file:
                return file.read()
        system, inner = filesystem(uri)
        with system.open_input_stream(inner) as stream:
            return bytes(stream.read())
    except (OSError, ValueError, pa.ArrowException, InputError, StoreError) as error:
        return unavailable(uri, error)


def unavailable(uri: str, error: Exception) -> ImageFailure:
    """Return the failure that says why a file could not be read."""
    cause = root_cause(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        cause = error.strerror.lower()  # without the path once more, and Python's number
    return ImageFailure(UNAVAILABLE, f"{uri} could not be read: {cause.rstrip('.')}.")


def check_unchanged(uri: str, length: float, modified: float) -> None:
    """Check that a Parquet file is the one that was listed.

    Raises:
        InputError: It is another one by now, or gone.
    """
    system, inner = filesystem(uri)
    info = system.get_file_info(inner)
    # Stores give times to the second or finer, and libraries differ even for one store.
    written = info.mtime_ns / 1e9 if info.mtime_ns is not None else modified
    if info.size != length or abs(written - modified) >= 1.0:
        raise InputError(
            f"the catalog changed while it was read: {uri} is not as it was when it was listed. "
            "Nothing was published; run again."
        )


def hashed_version(image: bytes | None) -> str:
    """Return the source_version of an image where it is a hash of it."""
    # 64 bits of SHA-256 tell a changed image from an unchanged one, in half a row's bytes.
    return hashlib.sha256(image or b"").hexdigest()[:HASH_DIGITS]


class ParquetImages:
    """The images of a Parquet file, row by row, read as a stream.

    A row group may have gigabytes of them, and what is held is a few rows.
    """

    def __init__(self, uri: str, column: str) -> None:
        """Open the file.

        Args:
            uri: The file.
            column: The column with the images; ``a.b`` is the field of a struct, unless there is a
                column of that name.

        Raises:
            OSError: It cannot be opened.
            pa.ArrowException: It is no Parquet file.
        """
        system, inner = filesystem(uri)
        self.uri = uri
        self._file = pq.ParquetFile(
            inner, filesystem=system, pre_buffer=False, buffer_size=BUFFER_BYTES
        )
        schema = self._file.schema_arrow
        self._path = find_column({field.name: field.type for field in schema}, column)
        footer = self._file.metadata
        sizes = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])
        self._group = -1
        self._batches: Iterator[pa.Array] = iter(())
        self._images: Sequence[pa.Scalar] = ()
        self._first = 0

    def image(self, row: int) -> bytes | None:
        """Return a row's image; rows are best asked for in ascending order.

        Raises:
            OSError: There is no such row, or it cannot be read.
        """
        if self._path is None:
            return None
        if not 0 <= row < self._starts[-1]:
            raise OSError(f"it has no row {row} any more, but {self._starts[-1]} rows")
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if group != self._group or row < self._first:
            self._group, self._first, self._images = group, int(self._starts[group]), ()
            self._batches = _batches_of(self._file, group, self._path)
        while row >= self._first + len(self._images):
            self._first += len(self._images)
            self._images = next(self._batches)
        found: bytes | None = self._images[row - self._first].as_py()
        return found

    def rows(self, groups: Sequence[int]) -> Iterator[bytes | None]:
        """Yield the images of some row groups' rows.

        Raises:
            OSError: They cannot be read.
        """
        for group in groups:
            if self._path is None:
                yield from [None] * int(self._starts[group + 1] - self._starts[group])
                continue
            for images in _batches_of(self._file, group, self._path):
                yield from (image.as_py() for image in images)


# No methods: a generator that knew its ParquetImages, and was known to it, would keep a page of
# images in memory after the last use, until garbage is collected.
def _batches_of(file: pq.ParquetFile, group: int, path: tuple[str, ...]) -> Iterator[pa.Array]:
    for batch in file.iter_batches(
        _rows_per_batch(file, group, path),
        row_groups=[group],
        columns=[".".join(path)],
        use_threads=False,
    ):
        column = batch.column(path[0])
        for name in path[1:]:
            column = pc.struct_field(column, name)
        yield column


def _rows_per_batch(file: pq.ParquetFile, group: int, path: tuple[str, ...]) -> int:
    footer = file.metadata.row_group(group)
    columns = (footer.column(i) for i in range(footer.num_columns))
    name = ".".join(path)
    size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema == name)
    mean = max(1, int(size) // max(1, int(footer.num_rows)))
    return max(1, min(_MOST_ROWS_PER_BATCH, _BYTES_PER_BATCH // mean))
