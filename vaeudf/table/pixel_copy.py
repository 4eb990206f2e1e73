"""Pixels copied to a new version's pixel file, from wherever each row's are so far."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import fs

from vaeudf.errors import TableError
from vaeudf.schema import ITEM_ID, PIXEL_FILE, PIXEL_ROW
from vaeudf.storage.locations import filesystem
from vaeudf.table.pixel_files import PictureShape, PixelFile, PixelWriter

# Held by a task: large, because of files far away each block opens those that it needs.
_BYTES_PER_BLOCK = 64 * 2**20
# Of a store, kept open from one block to the next: to open one takes several requests.
_OPEN_FILES = 1_024
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
    """Pixel files, of which those of a store stay open from one block to the next."""

    def __init__(self, shape: PictureShape) -> None:
        self._shape = shape
        self._open: dict[str, PixelFile] = {}

    def __enter__(self) -> _OpenFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

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
            own, uri = places[number], uris[number]
            file = self._open.pop(uri, None) or PixelFile(uri, self._shape)
            found[own] = file.rows(rows[own])
            if file.is_mapped or len(self._open) >= _OPEN_FILES:
                # YARN, for one, kills a container for what its processes have mapped, too.
                file.close()
            else:
                self._open[uri] = file

        if uris and isinstance(filesystem(uris[0])[0], fs.LocalFileSystem):
            for number in range(len(uris)):
                copy(number)
        else:
            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(copy, range(len(uris))))
        return found
