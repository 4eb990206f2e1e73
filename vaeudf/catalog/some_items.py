"""The images of a few items, for pages: what is large stays where it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from vaeudf.catalog.reader import ImageReader, Place
from vaeudf.errors import raised_in_task
from vaeudf.images.decode import ImageFailure, thumbnail
from vaeudf.schema import IMAGE, ITEM_ID
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.tasks import numbered_tasks

_FEWEST_PER_TASK = 4


def read_places(places: Mapping[str, Place], image_column: str) -> dict[str, bytes | None]:
    """Return images by item_id, read by this process; None for one that cannot be read.

    Args:
        places: Where the images are, by item_id.
        image_column: Of rows of Parquet, the column with the image.
    """
    names = _in_file_order(places)
    images = ImageReader(image_column).read_all(places[name] for name in names)
    return {
        name: None if isinstance(image, ImageFailure) else image
        for name, image in zip(names, images, strict=True)
    }


def shrink_places(
    spark: SparkSession, places: Mapping[str, Place], image_column: str, max_side: int
) -> dict[str, bytes | None]:
    """Return thumbnails by item_id, made by tasks; None for an image that cannot be shown.

    Args:
        spark: The session.
        places: Where the images are, by item_id.
        image_column: Of rows of Parquet, the column with the image.
        max_side: The longest side, in pixels.
    """
    names = _in_file_order(places)
    cluster = Cluster.of(spark)
    num_tasks = max(1, min(cluster.num_cores, len(names) // _FEWEST_PER_TASK))
    # Neighbours together: rows of one row group are read in one go.
    ends = [len(names) * task // num_tasks for task in range(num_tasks + 1)]
    shares = cluster.share(
        [{name: places[name] for name in names[start:end]} for start, end in pairwise(ends)]
    )

    def shrink(task: int) -> Iterator[pa.RecordBatch]:
        own = shares.value[task]
        images = ImageReader(image_column).read_all(own.values())
        for name, image in zip(own, images, strict=True):
            data = None if isinstance(image, ImageFailure) else image
            small = thumbnail(data, max_side)
            yield pa.RecordBatch.from_arrays(
                [pa.array([name]), pa.array([small], pa.binary())], names=[ITEM_ID, IMAGE]
            )

    try:
        rows = numbered_tasks(
            spark, num_tasks, shrink, f"{ITEM_ID} string, {IMAGE} binary"
        ).toArrow()
    except PySparkException as error:
        raise raised_in_task(error) or error from None
    return dict(zip(rows[ITEM_ID].to_pylist(), rows[IMAGE].to_pylist(), strict=True))


def _in_file_order(places: Mapping[str, Place]) -> list[str]:
    return sorted(places, key=lambda name: (places[name][0], places[name][1] or 0))
