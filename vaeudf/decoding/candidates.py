"""Compare pictures of items with what z's decode to, in the tasks that read the pictures.

A picture is read once, however many z's it is compared with. Nothing here needs torch, which a
worker would have to load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vaeudf.catalog.reader import Place
from vaeudf.decoding.picture_densities import compare_pixels
from vaeudf.decoding.picture_sources import MISSING, Pictures
from vaeudf.errors import InputError
from vaeudf.images.decode import ImageFailure
from vaeudf.images.spec import ImageSpec
from vaeudf.model.likelihood import Likelihood
from vaeudf.schema import IMAGE_FILE, ITEM_ID, LOG_P_X_GIVEN_Z, PICTURE_ERROR, PLACE
from vaeudf.spark.counters import PictureCounts
from vaeudf.spark.shared import SharedArray

POSITION = "__vaeudf_position"
"""Column: the place of a hit's z among all, null if there is no such z."""

# Pictures that are held at a time, with all that they are compared with.
_BYTES_HELD = 32 * 2**20


@dataclass(frozen=True)
class Means:
    """What Q z's decode to, for tasks.

    Attributes:
        arrays: Levels in units of 255, of shape (rows_per_array, D) float32 each; the last one may
            have fewer rows.
        rows_per_array: How many z's each is of.
    """

    arrays: Sequence[SharedArray]
    rows_per_array: int


@dataclass(frozen=True)
class Comparison:
    """What a task does: reads the pictures of items, and compares each with the z's that want it.

    Attributes:
        read: Reads them.
        spec: Their shape.
        means: What the z's decode to.
        likelihood: How the decoder's output is read.
        counts: Of the pictures that were read.
    """

    read: Pictures
    spec: ImageSpec
    means: Means
    likelihood: Likelihood
    counts: PictureCounts

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield hits with log densities and squared errors; without, where a picture is missing.

        Args:
            batches: Hits, those of one item together, with their places and positions.
        """
        size = self.spec.height * self.spec.width * self.spec.channels
        at_once = max(1, _BYTES_HELD // size)
        held = _Held(np.zeros(size, np.uint8), MISSING)
        item = None
        for batch in batches:
            names = batch.column(ITEM_ID)
            is_first = np.ones(batch.num_rows, np.bool_)
            is_first[1:] = pc.not_equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)
            is_first[:1] = names[0].as_py() != item if batch.num_rows else is_first[:1]
            ends = [*np.flatnonzero(is_first)[at_once::at_once].tolist(), batch.num_rows]
            start = 0
            for end in ends:
                part, own = batch.slice(start, end - start), is_first[start:end]
                compared, held = self._compared(part, own, held)
                yield compared
                start = end
            if batch.num_rows:
                item = names[-1].as_py()

    def _compared(
        self, hits: pa.RecordBatch, is_first: NDArray[np.bool_], held: _Held
    ) -> tuple[pa.RecordBatch, _Held]:
        """Return hits with what was found, and the picture of the last one."""
        pixels, reasons = self._read(hits.filter(pa.array(is_first)), held)
        missing = sum(reason is not None for reason in reasons[1:])
        self.counts.add(pictures=len(reasons) - 1, unreadable=missing)
        which = np.cumsum(is_first, dtype=np.int64)  # 0 is the picture that is held
        position = hits.column(POSITION)
        if position.null_count:
            raise InputError(
                "the hits are of queries that have no z; expected a z for each query_id."
            )
        by = position.to_numpy()
        readable = np.array([reason is None for reason in reasons])[which]
        log_densities, errors = np.full((2, hits.num_rows), np.nan)
        array = by // self.means.rows_per_array
        for number in np.unique(array[readable]).tolist():
            rows = np.flatnonzero(readable & (array == number))
            log_densities[rows], errors[rows] = compare_pixels(
                pixels,
                self.means.arrays[number].open(),
                which[rows],
                by[rows] - number * self.means.rows_per_array,
                self.likelihood,
            )
        found = {name: hits.column(name) for name in hits.schema.names}
        for name in (POSITION, *PLACE):
            del found[name]
        found |= {
            LOG_P_X_GIVEN_Z: pa.array(log_densities, mask=~readable),
            PICTURE_ERROR: pa.array(errors, mask=~readable),
        }
        return pa.RecordBatch.from_pydict(found), _Held(pixels[-1].copy(), reasons[-1])

    def _read(
        self, items: pa.RecordBatch, held: _Held
    ) -> tuple[NDArray[np.uint8], list[str | None]]:
        """Return pictures, (1 + P, D), the one that is held first, and why some are not there."""
        pixels = np.zeros((1 + items.num_rows, len(held.pixels)), np.uint8)
        pixels[0] = held.pixels
        reasons: list[str | None] = [held.reason, *[MISSING] * items.num_rows]
        listed = np.flatnonzero(items.column(IMAGE_FILE).is_valid().to_numpy(False))
        columns = (items.column(name).take(pa.array(listed)).to_pylist() for name in PLACE)
        places: Iterator[Place] = zip(*columns, strict=True)
        for row, picture in zip((1 + listed).tolist(), self.read(places), strict=True):
            if isinstance(picture, ImageFailure):
                reasons[row] = picture.reason
                continue
            pixels[row], reasons[row] = picture.reshape(-1), None
        return pixels, reasons


@dataclass(frozen=True)
class _Held:
    """The picture of the last hit, as its item may have more in the next batch.

    Attributes:
        pixels: Shape (D,).
        reason: Why they are missing; None if they are not.
    """

    pixels: NDArray[np.uint8]
    reason: str | None
