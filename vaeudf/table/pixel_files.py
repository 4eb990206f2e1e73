"""Kept pixels: for each row of a data file, the picture that the model's encoder got, as bytes.

The data file ``<run_id>/part-<uuid>.parquet`` of a table has them in
``_pixels/<run_id>/part-<uuid>.arrow``, with its rows in its order. That is an uncompressed Arrow
IPC file with the columns ``item_id`` and ``pixels`` (uint8, row-major H, W, C), in small record
batches, so that one row is read without the others.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
from numpy.typing import ArrayLike, NDArray
from pyarrow import fs

from vaeudf.errors import TableError, root_cause
from vaeudf.images.spec import ImageSpec
from vaeudf.schema import ITEM_ID, PIXELS_KEY
from vaeudf.storage.locations import filesystem, make_folder
from vaeudf.table.runs import PIXELS, is_run_id

PIXELS_COLUMN = "pixels"

# What one row costs to read from a store: its requests take some 50 ms, in which a megabyte comes.
_BYTES_PER_BATCH = 2**18
# Record batches read at a time from a store.
_THREADS = 16
_ROWS_PER_BATCH_KEY = b"vaeudf.rows_per_batch"


class PictureShape(NamedTuple):
    """The shape of every picture of a pixel file, in NumPy's order.

    Attributes:
        height: Pixels.
        width: Pixels.
        channels: 3 or 1.
    """

    height: int
    width: int
    channels: int

    @classmethod
    def of(cls, spec: ImageSpec) -> PictureShape:
        """Return the shape of a model's pictures."""
        return cls(spec.height, spec.width, spec.channels)

    @property
    def num_bytes(self) -> int:
        """Bytes of one picture."""
        return self.height * self.width * self.channels

    def to_json(self) -> str:
        """Return what :meth:`from_json` reads."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str | bytes) -> PictureShape:
        """Read a shape.

        Raises:
            ValueError: The text is none.
        """
        found = json.loads(text)
        if not isinstance(found, dict) or not all(
            type(found.get(name)) is int and found[name] > 0 for name in cls._fields
        ):
            raise ValueError(f"{found!r} is no shape of pictures")
        return cls(*(found[name] for name in cls._fields))

    def __str__(self) -> str:
        """Say it as people do."""
        return f"{self.height} × {self.width} × {self.channels}"


def kept_shape(provenance: Mapping[str, str]) -> PictureShape | None:
    """Return the shape of the pictures that a version keeps; None if it keeps none.

    Args:
        provenance: Of the version, :attr:`vaeudf.table.open.PosteriorTable.provenance`.

    Raises:
        TableError: It does not say it as :meth:`PictureShape.to_json` does.
    """
    text = provenance.get(PIXELS_KEY)
    try:
        return None if text is None else PictureShape.from_json(text)
    except ValueError as error:
        raise TableError(
            f"the table's column mu has the metadata {PIXELS_KEY} {text!r} ({error}); expected "
            "height, width and channels as JSON. Roll back to a version before it."
        ) from None


def pixel_path(path: str) -> str:
    """Return where the pixels of a data file are; both paths are relative to the table."""
    return posixpath.join(PIXELS, f"{posixpath.splitext(path)[0]}.arrow")


@dataclass(frozen=True)
class KeptFile:
    """A pixel file that is there.

    Attributes:
        uri: Where.
        size: Bytes.
        modified: When it was written, in seconds since 1970; 0 where the store does not say.
    """

    uri: str
    size: int
    modified: float


def find_pixel_files(location: str, files: Sequence[str]) -> dict[str, KeptFile]:
    """Return the pixel files that are there, by the URIs of their data files.

    Args:
        location: The table, absolute.
        files: URIs of its data files. Those of other engines have none.
    """
    paths = {uri: uri.removeprefix(f"{location.rstrip('/')}/") for uri in files}
    runs = sorted({posixpath.dirname(path) for path in paths.values()})
    system, inner = filesystem(location)
    there: dict[str, fs.FileInfo] = {}
    for run in filter(is_run_id, runs):
        selector = fs.FileSelector(posixpath.join(inner, PIXELS, run), allow_not_found=True)
        there |= {entry.path: entry for entry in system.get_file_info(selector) if entry.is_file}
    found = {}
    for uri, path in paths.items():
        info = there.get(posixpath.join(inner, pixel_path(path)))
        if info is not None:
            written = 0.0 if info.mtime_ns is None else info.mtime_ns / 1e9
            found[uri] = KeptFile(
                posixpath.join(location, pixel_path(path)), int(info.size), written
            )
    return found


class PixelFile:
    """Pictures by their row's number.

    On local disks the file is mapped into memory; elsewhere, record batches are read as they are
    needed, and several at a time.

    Attributes:
        uri: The file.
        shape: Of each picture.
        is_mapped: Whether it is mapped. What was read of a mapped file counts as this process's
            memory until it is closed, though the system can take it back at any time.
    """

    def __init__(self, uri: str, shape: PictureShape | None = None) -> None:
        """Open a file.

        Args:
            uri: The file.
            shape: What its pictures must have; None takes the file's own.

        Raises:
            TableError: The file is not there, or damaged, or its pictures have another shape.
        """
        self.uri = uri
        system, inner = filesystem(uri)
        self.is_mapped = isinstance(system, fs.LocalFileSystem)
        try:
            self._stream = pa.memory_map(inner) if self.is_mapped else system.open_input_file(inner)
            self._reader = ipc.open_file(self._stream)
            schema = self._reader.schema
            facts = schema.metadata or {}
            if missing := {PIXELS_KEY.encode(), _ROWS_PER_BATCH_KEY} - facts.keys():
                raise ValueError(f"its schema says no {min(missing).decode()}")
            self.shape = PictureShape.from_json(facts[PIXELS_KEY.encode()])
            self._rows_per_batch = int(facts[_ROWS_PER_BATCH_KEY])
            kind = schema.field(PIXELS_COLUMN).type
        except FileNotFoundError:
            raise TableError(
                f"pixel file {uri} does not exist any more. If the table was vacuumed since it was "
                "opened, open it again; else the next run of encode_catalog --keep-pixels makes "
                "one anew."
            ) from None
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise self._damaged(root_cause(error)) from None
        if shape is not None and self.shape != shape:
            raise TableError(
                f"pixel file {uri} has pictures of {self.shape}; expected {shape}, as the model "
                "takes them."
            )
        if kind != pa.binary(self.shape.num_bytes) or self._rows_per_batch < 1:
            raise self._damaged(f"its column {PIXELS_COLUMN} is {kind}, for pictures {self.shape}")

    def __enter__(self) -> PixelFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; pictures that were read stay."""
        self._stream.close()

    @property
    def num_rows(self) -> int:
        """How many pictures it has.

        Raises:
            TableError: The file is damaged.
        """
        last = self._reader.num_record_batches - 1
        if last < 0:
            return 0
        return int(last * self._rows_per_batch + self._batch(last).num_rows)

    def rows(self, numbers: ArrayLike) -> NDArray[np.uint8]:
        """Return pictures, uint8 of shape (R, H, W, C), in the order they are asked for.

        Args:
            numbers: Which rows, (R,); any order, and one may come again. Neighbours are in one
                record batch, which is read once.

        Raises:
            TableError: There is no such row, or the file is damaged.
        """
        wanted = np.asarray(numbers, dtype=np.int64)
        found = np.empty((len(wanted), self.shape.num_bytes), np.uint8)
        order = np.argsort(wanted, kind="stable")
        batches = wanted[order] // self._rows_per_batch
        parts = np.split(order, np.flatnonzero(np.diff(batches)) + 1) if len(order) else []

        def copy(places: NDArray[np.int64]) -> None:
            number = int(wanted[places[0]]) // self._rows_per_batch
            pixels = self._pixels(number) if number in range(self._num_batches) else ()
            inside = wanted[places] - number * self._rows_per_batch
            if not len(pixels) > inside.max():
                raise TableError(
                    f"pixel file {self.uri} has no row {wanted[places].max()}; it has "
                    f"{self.num_rows} rows, numbered from 0."
                )
            found[places] = pixels[inside]

        if self.is_mapped:
            for places in parts:
                copy(places)
        else:
            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(copy, parts))
        return found.reshape(-1, *self.shape)

    def item_ids(self) -> list[str]:
        """Return the item of each row; reads the whole file.

        Raises:
            TableError: The file is damaged.
        """
        batches = map(self._batch, range(self._num_batches))
        return [name for batch in batches for name in batch.column(ITEM_ID).to_pylist()]

    @property
    def _num_batches(self) -> int:
        return int(self._reader.num_record_batches)

    def _pixels(self, number: int) -> NDArray[np.uint8]:
        """Return a record batch's pictures, (B, bytes of a picture), without a copy."""
        column = self._batch(number).column(PIXELS_COLUMN)
        width = self.shape.num_bytes
        data = np.frombuffer(column.buffers()[1], np.uint8)
        end = (column.offset + len(column)) * width
        if len(data) < end:
            raise self._damaged(f"record batch {number} has {len(data)} bytes of {end}")
        return data[column.offset * width : end].reshape(-1, width)

    def _batch(self, number: int) -> pa.RecordBatch:
        try:
            batch = self._reader.get_batch(number)
            batch.validate()
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(root_cause(error)) from None
        is_last = number == self._num_batches - 1
        if batch.num_rows > self._rows_per_batch or (
            batch.num_rows < self._rows_per_batch and not is_last
        ):
            raise self._damaged(f"record batch {number} has {batch.num_rows} rows")
        return batch

    def _damaged(self, cause: str) -> TableError:
        return TableError(
            f"pixel file {self.uri} cannot be read ({cause.rstrip('.')}); it is damaged, or was "
            "cut off. Remove it: the next run of encode_catalog --keep-pixels makes one anew."
        )


class PixelWriter:
    """Writes a pixel file as pictures come; what it holds is one record batch.

    Used as a context manager, it leaves no file after an error.
    """

    def __init__(self, uri: str, shape: PictureShape) -> None:
        """Begin a file.

        Args:
            uri: The file; its folder is made.
            shape: Of each picture.
        """
        self._shape = shape
        self._rows_per_batch = max(1, _BYTES_PER_BATCH // shape.num_bytes)
        schema = pa.schema(
            [
                pa.field(ITEM_ID, pa.string(), nullable=False),
                pa.field(PIXELS_COLUMN, pa.binary(shape.num_bytes), nullable=False),
            ],
            metadata={
                PIXELS_KEY.encode(): shape.to_json().encode(),
                _ROWS_PER_BATCH_KEY: str(self._rows_per_batch).encode(),
            },
        )
        self._system, self._inner = filesystem(uri)
        make_folder(self._system, posixpath.dirname(self._inner))
        self._stream = self._system.open_output_stream(self._inner)
        self._writer = ipc.new_file(self._stream, schema)
        self._schema = schema
        self._ids: list[str] = []
        self._pixels: list[NDArray[np.uint8]] = []

    def __enter__(self) -> PixelWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        self._stream.close()
        if self._system.get_file_info(self._inner).type == fs.FileType.File:
            self._system.delete_file(self._inner)

    def write(self, ids: Sequence[str], pixels: NDArray[np.uint8]) -> None:
        """Add rows.

        Args:
            ids: Their items, B of them.
            pixels: Their pictures, uint8 of shape (B, H, W, C).

        Raises:
            ValueError: The numbers of the two differ, or the pictures have another shape.
        """
        if pixels.dtype != np.uint8 or pixels.shape != (len(ids), *self._shape):
            raise ValueError(
                f"pixels are {pixels.dtype} of shape {pixels.shape}; expected uint8 of shape "
                f"{(len(ids), *self._shape)}."
            )
        self._ids += ids
        self._pixels.append(pixels.reshape(len(ids), self._shape.num_bytes))
        self._flush(len(self._ids) // self._rows_per_batch * self._rows_per_batch)

    def close(self) -> int:
        """Write what is left and the footer; return the file's bytes."""
        if not self._stream.closed:
            self._flush(len(self._ids))
            self._writer.close()
            self._stream.close()
        return int(self._system.get_file_info(self._inner).size)

    def _flush(self, count: int) -> None:
        """Write the first rows of those that wait, a record batch at a time."""
        if not count:
            return
        waiting = np.ascontiguousarray(np.concatenate(self._pixels))
        width = self._shape.num_bytes
        for start in range(0, count, self._rows_per_batch):
            data = waiting[start : min(start + self._rows_per_batch, count)]
            pixels = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(width), len(data), [None, pa.py_buffer(data)]
            )
            ids = pa.array(self._ids[start : start + len(data)], pa.string())
            self._writer.write_batch(pa.RecordBatch.from_arrays([ids, pixels], schema=self._schema))
        self._ids, self._pixels = self._ids[count:], [waiting[count:].copy()]
