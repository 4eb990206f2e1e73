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
from vaeudf.schema import IMAGE_FILE, ITEM_ID, LOG_P_X_GIVEN_Z, PICTURE_ERROR, PLACE, REASON
from vaeudf.spark.shared import SharedArray
from vaeudf.spark.worker import spare_modules

WANTED = "__vaeudf_wanted"
"""Column: the hits that an item is, a list of structs."""
POSITION = "position"
"""Field of these: the place of the hit's z among all, null if there is no such z."""

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
    """

    read: Pictures
    spec: ImageSpec
    means: Means
    likelihood: Likelihood

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield items with a log density and a squared error for each z; nulls, and why."""
        spare_modules()
        rows = max(1, _BYTES_HELD // (self.spec.height * self.spec.width * self.spec.channels))
        for batch in batches:
            for first in range(0, batch.num_rows, rows):
                yield self._compared(batch.slice(first, rows))

    def _compared(self, items: pa.RecordBatch) -> pa.RecordBatch:
        pixels, there, reasons = self._read(items)
        wanted = items.column(WANTED)
        which = np.repeat(np.arange(items.num_rows), wanted.value_lengths().to_numpy())
        position = pc.struct_field(wanted.flatten(), POSITION)
        if position.null_count:
            raise InputError(
                "the hits are of queries that have no z; expected a z for each query_id."
            )
        by = position.to_numpy()
        log_densities, errors = np.full((2, len(which)), np.nan)
        readable = there[which]
        array = by // self.means.rows_per_array
        for number in np.unique(array[readable]).tolist():
            own = np.flatnonzero(readable & (array == number))
            found = compare_pixels(
                pixels,
                self.means.arrays[number].open(),
                which[own],
                by[own] - number * self.means.rows_per_array,
                self.likelihood,
            )
            log_densities[own], errors[own] = found
        offsets = pa.array(np.concatenate([[0], np.cumsum(wanted.value_lengths().to_numpy())]))
        lists = [
            pa.ListArray.from_arrays(offsets.cast(pa.int32()), pa.array(values, mask=~readable))
            for values in (log_densities, errors)
        ]
        return pa.RecordBatch.from_arrays(
            [items.column(ITEM_ID), wanted, *lists, pa.array(reasons, pa.string())],
            names=[ITEM_ID, WANTED, LOG_P_X_GIVEN_Z, PICTURE_ERROR, REASON],
        )

    def _read(
        self, items: pa.RecordBatch
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], list[str | None]]:
        """Return pictures, (P, D), which of them are there, and why the others are not."""
        spec = self.spec
        pixels = np.zeros((items.num_rows, spec.height * spec.width * spec.channels), np.uint8)
        there = np.zeros(items.num_rows, np.bool_)
        reasons: list[str | None] = [MISSING] * items.num_rows
        listed = np.flatnonzero(items.column(IMAGE_FILE).is_valid().to_numpy(False))
        columns = (items.column(name).take(pa.array(listed)).to_pylist() for name in PLACE)
        places: Iterator[Place] = zip(*columns, strict=True)
        for row, picture in zip(listed.tolist(), self.read(places), strict=True):
            if isinstance(picture, ImageFailure):
                reasons[row] = picture.reason
                continue
            pixels[row], there[row], reasons[row] = picture.reshape(-1), True, None
        return pixels, there, reasons
