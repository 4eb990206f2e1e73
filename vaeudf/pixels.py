"""Decode a catalog's images in parallel and bring them to the driver, for training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from vaeudf.errors import InputError
from vaeudf.image_spec import ImageSpec
from vaeudf.images import ImageFailure, decode_image
from vaeudf.schema import IMAGE, ITEM_ID

# Half of what conf/local.conf gives the driver: the pixels pass through it once.
_MAX_BYTES = 2 * 2**30


def collect_pixels(
    catalog: DataFrame, spec: ImageSpec, max_images: int, seed: int
) -> tuple[NDArray[np.uint8], int]:
    """Return decoded pictures, in an order that depends on the item_ids alone.

    Args:
        catalog: With the columns item_id and image.
        spec: What to decode to.
        max_images: If there are more, this many are drawn, by a hash of item_id and seed.
        seed: Chooses which.

    Returns:
        Pictures, shape (N, H, W, C), and how many could not be decoded.

    Raises:
        InputError: The pictures would not fit the driver, or none could be decoded.
    """
    one = spec.height * spec.width * spec.channels
    total = catalog.count()
    wanted = min(total, max_images)
    if wanted * one > _MAX_BYTES:
        raise InputError(
            f"{wanted} images of {one} bytes are {wanted * one / 2**30:.1f} GiB; training holds "
            f"at most {_MAX_BYTES // 2**30} GiB. Lower --max-images to {_MAX_BYTES // one}."
        )
    images = catalog.select(ITEM_ID, IMAGE)
    if total > max_images:
        # Chosen by id first, so that the sort does not move the images.
        shuffled = F.xxhash64(F.col(ITEM_ID), F.lit(seed))
        chosen = catalog.select(ITEM_ID).orderBy(shuffled, ITEM_ID).limit(max_images)
        images = images.join(F.broadcast(chosen), ITEM_ID, "left_semi")

    def decode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from _decode_batches(batches, spec)

    rows = images.mapInArrow(decode, f"{ITEM_ID} string, pixels binary").toArrow()
    good = rows.filter(pa.compute.is_valid(rows["pixels"])).sort_by(ITEM_ID)
    if good.num_rows == 0:
        raise InputError(f"none of the {rows.num_rows} images of the catalog could be decoded.")
    flat = np.frombuffer(b"".join(good["pixels"].to_pylist()), np.uint8)
    pixels = flat.reshape(-1, spec.height, spec.width, spec.channels)
    return pixels, rows.num_rows - good.num_rows


def _decode_batches(batches: Iterator[pa.RecordBatch], spec: ImageSpec) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        decoded = (decode_image(data, spec) for data in batch.column(IMAGE).to_pylist())
        pixels = [None if isinstance(d, ImageFailure) else d.tobytes() for d in decoded]
        yield pa.RecordBatch.from_arrays(
            [batch.column(ITEM_ID), pa.array(pixels, pa.binary())], names=[ITEM_ID, "pixels"]
        )
