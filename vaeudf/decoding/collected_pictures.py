"""Bring the pictures of a sample of items to the driver; tasks read and decode them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from vaeudf.catalog.reader import Place
from vaeudf.catalog.source import in_file_order
from vaeudf.decoding.picture_sources import Catalog, Pictures, picture_source
from vaeudf.decoding.sampled_pictures import SampledPictures
from vaeudf.errors import InputError
from vaeudf.images.decode import ImageFailure
from vaeudf.images.spec import ImageSpec
from vaeudf.schema import ITEM_ID, PLACE
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.worker import spare_modules

# Half of what spark/conf/local.conf gives the driver: the pixels pass through it once.
_MAX_BYTES = 2 * 2**30
_TASKS_PER_CORE = 4
_FEWEST_PER_TASK = 64
# Pictures that a task holds at a time.
_BYTES_HELD = 32 * 2**20
_PIXELS = "pixels"


def check_fits(count: int, spec: ImageSpec) -> None:
    """Raise InputError if so many pictures do not fit the driver."""
    one = spec.height * spec.width * spec.channels
    if count * one > _MAX_BYTES:
        raise InputError(
            f"{count:,} pictures of {one:,} bytes are {count * one / 2**30:.1f} GiB; the driver "
            f"takes at most {_MAX_BYTES // 2**30} GiB. Take at most {_MAX_BYTES // one:,}: "
            "--pictures."
        )


def collect_pictures(
    spark: SparkSession, catalog: Catalog, spec: ImageSpec, item_ids: Sequence[str]
) -> tuple[SampledPictures, NDArray[np.bool_]]:
    """Bring the pictures of some items to the driver; tasks read and decode them.

    Args:
        spark: The session.
        catalog: Has the pictures: a catalog, or a table that keeps all pixels.
        spec: The pictures that the model takes.
        item_ids: The items, N of them.

    Returns:
        The pictures that can be read, in the order of the items, and which of these have one,
        shape (N,).

    Raises:
        InputError: The pictures do not fit the driver, or the catalog cannot be read.
    """
    check_fits(len(item_ids), spec)
    source = picture_source(spark, catalog, spec)
    cores = Cluster.of(spark).num_cores
    tasks = max(1, min(_TASKS_PER_CORE * cores, len(item_ids) // _FEWEST_PER_TASK))
    # A catalog may have come to have an item twice since.
    places = source.places(item_ids).dropDuplicates([ITEM_ID])
    read = _Reading(source.read, max(1, _BYTES_HELD // (spec.height * spec.width * spec.channels)))
    rows = (
        in_file_order(places, tasks).mapInArrow(read, f"{ITEM_ID} string, {_PIXELS} binary")
    ).toArrow()
    found = dict(zip(rows[ITEM_ID].to_pylist(), rows[_PIXELS], strict=True))
    there = np.array([name in found and found[name].is_valid for name in item_ids], np.bool_)
    shape = (int(there.sum()), spec.height, spec.width, spec.channels)
    pixels = np.empty((shape[0], spec.height * spec.width * spec.channels), np.uint8)
    kept = [name for name, has in zip(item_ids, there.tolist(), strict=True) if has]
    for row, name in enumerate(kept):
        pixels[row] = np.frombuffer(found[name].as_buffer(), np.uint8)
    return SampledPictures(pixels.reshape(shape)), there


@dataclass(frozen=True)
class _Reading:
    """What a task does: reads pictures, and yields null for one that cannot be read."""

    read: Pictures
    at_once: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        spare_modules()
        for batch in (part for whole in batches for part in self._parts(whole)):
            places: Iterator[Place] = zip(
                *(batch.column(name).to_pylist() for name in PLACE), strict=True
            )
            pixels = [
                None if isinstance(picture, ImageFailure) else picture.tobytes()
                for picture in self.read(places)
            ]
            yield pa.RecordBatch.from_arrays(
                [batch.column(ITEM_ID), pa.array(pixels, pa.binary())], names=[ITEM_ID, _PIXELS]
            )

    def _parts(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        for start in range(0, batch.num_rows, self.at_once):
            yield batch.slice(start, self.at_once)
