"""The pixels of a chunk's rows, in a file of their own beside the folder of chunks."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vaeudf.table.pixel_files import PIXELS_COLUMN, PictureShape, PixelWriter, pixel_path


def chunk_pixels(chunk: str) -> str:
    """Return the path of a chunk's pixels, a file of `vaeudf.table.pixel_files`.

    It is not in the chunks' own folder, of which Spark reads all files.
    """
    folder, name = posixpath.split(chunk)
    run, kind = posixpath.split(folder)
    return posixpath.join(run, pixel_path(posixpath.join(kind, name)))


class ChunkPixels:
    """Writes the pixels of a task's rows as these are encoded: a chunk's may be gigabytes.

    Used as a context manager; a task without rows, or that fails, leaves no file.
    """

    def __init__(self, chunk: str, shape: PictureShape | None) -> None:
        """Take the chunk's path, and the pictures' shape, or None to write nothing."""
        self._chunk, self._shape = chunk, shape
        self._stack = contextlib.ExitStack()
        self._writer: PixelWriter | None = None

    def __enter__(self) -> ChunkPixels:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def taken_from(
        self, frames: Iterator[pd.DataFrame], ids: Sequence[str]
    ) -> Iterator[pd.DataFrame]:
        """Yield the frames without their column of pixels, which are written.

        Args:
            frames: From :func:`vaeudf.encoding.udf.encode_images`. A row without pixels, whose
                item could not be encoded, takes up as much room, so that rows keep their numbers.
            ids: The items of all their rows.
        """
        if self._shape is None:
            yield from frames
            return
        if self._writer is None:
            writer = PixelWriter(chunk_pixels(self._chunk), self._shape)
            self._writer = self._stack.enter_context(writer)
        first = 0
        for frame in frames:
            pixels = np.zeros((len(frame), *self._shape), np.uint8)
            for row, found in enumerate(frame.pop(PIXELS_COLUMN)):
                if found is not None:
                    pixels[row] = found
            self._writer.write(ids[first : first + len(frame)], pixels)
            first += len(frame)
            yield frame
