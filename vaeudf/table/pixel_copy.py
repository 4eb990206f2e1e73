"""Pixels copied to a new version's pixel file, from wherever each row's are so far."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vaeudf.errors import TableError
from vaeudf.schema import ITEM_ID, PIXEL_FILE, PIXEL_ROW
from vaeudf.table.pixel_files import PictureShape, PixelFile, PixelWriter

# Held by a task: large, because of files far away each block opens those that it needs.
_BYTES_PER_BLOCK = 64 * 2**20
# Kept open from one block to the next; a process may have a thousand open.
_OPEN_FILES = 256
_THREADS = 16


def copy_pixels(places: pa.Table, target: str, shape: PictureShape) -> int:
    """Write a pixel file with the pixels of some rows, in their order; return its bytes.

    What is held at a time does not depend on how many rows there are.

    Args:
        places: ``item_id`` and :data:`vaeudf.schema.PIXEL_PLACE` of each row.
        target: The new file.
        shape: Of the pictures.

    Raises:
        TableError: A row's pixels are not there, or their file is damaged.
    """
    files, rows = (places[name].combine_chunks() for name in (PIXEL_FILE, PIXEL_ROW))
    if files.null_count or rows.null_count:
        missing = pc.index(pc.is_null(files), True).as_py()
        raise TableError(
            f"no pixels were kept of item {places[ITEM_ID][max(missing, 0)].as_py()!r}; run "
            "again with --full."
        )
    numbers = rows.to_numpy()
    ids = places[ITEM_ID]
    block = max(1, _BYTES_PER_BLOCK // shape.num_bytes)
    with PixelWriter(target, shape) as writer, _OpenFiles(shape) as sources:
        for start in range(0, len(ids), block):
            part = slice(start, start + block)
            pixels = sources.read(files[part], numbers[part])
            writer.write(ids[part].to_pylist(), pixels)
        return writer.close()


class _OpenFiles:
    """Pixel files that stay open from one block to the next."""

    def __init__(self, shape: PictureShape) -> None:
        self._shape = shape
        self._open: dict[str, PixelFile] = {}

    def __enter__(self) -> _OpenFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_all_but(())

    def read(self, files: pa.Array, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return pictures, uint8 of shape (R, H, W, C).

        Args:
            files: The URI of each one's file, (R,).
            rows: Its row there, (R,).
        """
        found = np.empty((len(rows), *self._shape), np.uint8)
        encoded = files.dictionary_encode()
        which, uris = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
        order = np.argsort(which, kind="stable")
        places = np.split(order, np.cumsum(np.bincount(which, minlength=len(uris)))[:-1])

        def copy(number: int) -> None:
            own = places[number]
            found[own] = self._open[uris[number]].rows(rows[own])

        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(uris), _OPEN_FILES):
                numbers = range(start, min(start + _OPEN_FILES, len(uris)))
                wanted = [uris[number] for number in numbers]
                absent = [uri for uri in wanted if uri not in self._open]
                if len(self._open) + len(absent) > _OPEN_FILES:
                    self._close_all_but(wanted)
                opened = pool.map(lambda uri: PixelFile(uri, self._shape), absent)
                self._open |= zip(absent, opened, strict=True)
                list(pool.map(copy, numbers))
        return found

    def _close_all_but(self, wanted: Sequence[str]) -> None:
        for uri in self._open.keys() - set(wanted):
            self._open.pop(uri).close()
