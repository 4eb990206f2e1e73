"""Decode a catalog's images in parallel and bring them to the driver, for training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from vaeudf.catalog.reader import ImageReader
from vaeudf.catalog.source import in_file_order
from vaeudf.errors import InputError
from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.images.spec import ImageSpec
from vaeudf.schema import ITEM_ID, PLACE
from vaeudf.spark.cluster import Cluster

# Half of what spark/conf/local.conf gives the driver: the pixels pass through it once.
_MAX_BYTES = 2 * 2**30
_TASKS_PER_CORE = 4
_FEWEST_PER_TASK = 64


def collect_pixels(
    items: DataFrame, image_column: str, spec: ImageSpec, max_images: int, seed: int
) -> tuple[NDArray[np.uint8], int]:
    """Return decoded pictures, in an order that depends on the item_ids alone.

    As `collect_in_ways` for one spec: pictures, shape (N, H, W, C), and how many could not be
    decoded.
    """
    (pixels,), failed = collect_in_ways(items, image_column, [spec], max_images, seed)
    return pixels, failed


def collect_in_ways(
    items: DataFrame, image_column: str, specs: Sequence[ImageSpec], max_images: int, seed: int
) -> tuple[NDArray[np.uint8], int]:
    """Return the same pictures decoded in several ways, in an order that item_ids alone decide.

    No other image is read, and each is read once.

    Args:
        items: What :func:`vaeudf.catalog.source.list_items` returns.
        image_column: Of rows of Parquet, the column with the image.
        specs: What to decode to, S of them, of one size.
        max_images: If there are more, this many are drawn, by a hash of item_id and seed.
        seed: Chooses which.

    Returns:
        Pictures, shape (S, N, H, W, C), and how many could not be decoded.

    Raises:
        InputError: The pictures would not fit the driver, or none could be decoded.
    """
    height, width, channels = specs[0].height, specs[0].width, specs[0].channels
    one = len(specs) * height * width * channels
    total = items.count()
    if total == 0:
        raise InputError("the catalog is empty; expected at least one item.")
    wanted = min(total, max_images)
    if wanted * one > _MAX_BYTES:
        raise InputError(
            f"{wanted} images of {one} bytes are {wanted * one / 2**30:.1f} GiB; the driver takes "
            f"at most {_MAX_BYTES // 2**30} GiB. Take at most {_MAX_BYTES // one}: --max-images, "
            "or --sample of export_model."
        )
    if total > max_images:
        shuffled = F.xxhash64(F.col(ITEM_ID), F.lit(seed))
        items = items.orderBy(shuffled, ITEM_ID).limit(max_images)
    cores = Cluster.of(items.sparkSession).num_cores
    num_tasks = max(1, min(_TASKS_PER_CORE * cores, wanted // _FEWEST_PER_TASK))
    placed = in_file_order(items.select(ITEM_ID, *PLACE), num_tasks)

    def decode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from _decode_batches(batches, image_column, specs)

    rows = placed.mapInArrow(decode, f"{ITEM_ID} string, pixels binary").toArrow()
    good = rows.filter(pa.compute.is_valid(rows["pixels"])).sort_by(ITEM_ID)
    if good.num_rows == 0:
        raise InputError(f"none of the {rows.num_rows} images of the catalog could be decoded.")
    flat = np.frombuffer(b"".join(good["pixels"].to_pylist()), np.uint8)
    pixels = flat.reshape(-1, len(specs), height, width, channels)
    return pixels.swapaxes(0, 1), rows.num_rows - good.num_rows


def _decode_batches(
    batches: Iterator[pa.RecordBatch], image_column: str, specs: Sequence[ImageSpec]
) -> Iterator[pa.RecordBatch]:
    reader = ImageReader(image_column)

    def decode(data: bytes | ImageFailure | None) -> bytes | None:
        if isinstance(data, ImageFailure):
            return None
        found = []
        for spec in specs:
            pixels = decode_image(data, spec)
            if isinstance(pixels, ImageFailure):
                return None
            found.append(pixels.tobytes())
        return b"".join(found)

    for batch in batches:
        places = zip(*(batch.column(name).to_pylist() for name in PLACE), strict=True)
        pixels = [decode(data) for data in reader.read_all(places)]
        yield pa.RecordBatch.from_arrays(
            [batch.column(ITEM_ID), pa.array(pixels, pa.binary())], names=[ITEM_ID, "pixels"]
        )
