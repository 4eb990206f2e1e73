"""Where the pictures of items are, and how tasks read them as the model sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from os import PathLike

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.catalog.reader import ImageReader, Place
from vaeudf.catalog.source import CatalogSource, in_file_order, open_catalog
from vaeudf.errors import InputError
from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.images.spec import ImageSpec
from vaeudf.schema import IMAGE_FILE, IMAGE_ROW, ITEM_ID, PLACE
from vaeudf.spark.kept_pixels import pixel_places
from vaeudf.table.open import PosteriorTable
from vaeudf.table.pixel_files import PictureShape, PixelFile, find_pixel_files, kept_shape

# Rows of a pixel file that one task reads: neighbours in latent space, which the same z want. Fewer
# of a small table, for each task is to have several such parts.
_ROWS_TOGETHER = 4_096
_FEWEST_TOGETHER = 64
_PARTS_PER_TASK = 4

MISSING = "missing"
"""The reason for an item that is no longer in the catalog."""

Catalog = str | PathLike[str] | CatalogSource | PosteriorTable
"""What has the pictures of items: a catalog, or a table that keeps their pixels."""
Pictures = Callable[[Iterator[Place]], Iterator[NDArray[np.uint8] | ImageFailure]]
"""Reads pictures, (H, W, C) as the model sees them, or says why one cannot be."""


@dataclass(frozen=True)
class PictureSource:
    """Where pictures are, and how they are read.

    Attributes:
        places: Returns a DataFrame of ``item_id`` and :data:`vaeudf.schema.PLACE`, of some items or
            of all.
        read: Reads the pictures at these places, within a task.
        in_order: Returns rows with places in so many partitions, those of one item together, and
            in the order in which pictures are best read. May read the rows twice.
    """

    places: Callable[[Sequence[str] | None], DataFrame]
    read: Pictures
    in_order: Callable[[DataFrame, int], DataFrame]


@dataclass(frozen=True)
class CatalogPictures:
    """Reads the pictures of a catalog.

    Attributes:
        image_column: Of rows of Parquet, the column with the image.
        spec: What to decode to.
    """

    image_column: str
    spec: ImageSpec

    def __call__(self, places: Iterator[Place]) -> Iterator[NDArray[np.uint8] | ImageFailure]:
        """Yield the pictures at some places."""
        for data in ImageReader(self.image_column).read_all(places):
            yield data if isinstance(data, ImageFailure) else decode_image(data, self.spec)


@dataclass(frozen=True)
class KeptPictures:
    """Reads the pictures that a table keeps.

    Attributes:
        shape: Of each of them.
    """

    shape: PictureShape

    def __call__(self, places: Iterator[Place]) -> Iterator[NDArray[np.uint8] | ImageFailure]:
        """Yield the pictures at some places; those of one file are best together."""
        for uri, own in groupby(places, key=itemgetter(0)):
            rows = np.array([row for _, row, _, _ in own], np.int64)
            with PixelFile(uri, self.shape) as file:
                yield from file.rows(rows)


def keeps_all_pixels(table: PosteriorTable) -> bool:
    """Whether a table keeps the pixels of all its items."""
    if table.version is None or kept_shape(table.provenance) is None:
        return False
    return len(find_pixel_files(table.uri, table.files)) == len(table.files)


def picture_source(spark: SparkSession, catalog: Catalog, spec: ImageSpec) -> PictureSource:
    """Return where a catalog's pictures are, and how they are read.

    Args:
        spark: The session.
        catalog: Its path, or how it is read; or a table that keeps all pixels.
        spec: The pictures that the model takes.

    Raises:
        InputError: It is not there, or a column is missing or of the wrong type.
    """
    if isinstance(catalog, PosteriorTable):
        return _kept_pixels(spark, catalog, spec)
    source = catalog if isinstance(catalog, CatalogSource) else CatalogSource(str(catalog))
    opened = open_catalog(spark, replace(source, payload_columns=()))

    def places(item_ids: Sequence[str] | None) -> DataFrame:
        if item_ids is None:
            return opened.list_items(spark, versions=False).select(ITEM_ID, *PLACE)
        found = opened.find_items(spark, item_ids)
        rows = [(item_id, *_typed(place)) for item_id, place in found.items()]
        return spark.createDataFrame(rows, _PLACES)

    def in_order(rows: DataFrame, num_partitions: int) -> DataFrame:
        # Items that share a picture, or that have none, would be mixed up without the last one.
        placed = in_file_order(rows, num_partitions)
        return placed.sortWithinPartitions(IMAGE_FILE, IMAGE_ROW, ITEM_ID)

    return PictureSource(places, CatalogPictures(opened.stored_image_column(spark), spec), in_order)


def _kept_pixels(spark: SparkSession, table: PosteriorTable, spec: ImageSpec) -> PictureSource:
    if not keeps_all_pixels(table):
        raise InputError(
            f"table {table.uri} does not keep the pixels of all its items; name the catalog that "
            "has their pictures, or run encode_catalog --keep-pixels."
        )
    shape = PictureShape(spec.height, spec.width, spec.channels)
    if kept_shape(table.provenance) != shape:
        raise InputError(
            f"table {table.uri} keeps pictures of {kept_shape(table.provenance)}, but the model "
            f"takes {shape}; name the model that the table was encoded with."
        )

    def places(item_ids: Sequence[str] | None) -> DataFrame:
        found = pixel_places(spark, table)
        return found if item_ids is None else found.where(F.col(ITEM_ID).isin(list(item_ids)))

    def in_order(rows: DataFrame, num_partitions: int) -> DataFrame:
        # Not by ranges, for which Spark would evaluate the rows twice: any row is soon found.
        by_tasks = table.num_items // (_PARTS_PER_TASK * num_partitions)
        together = min(max(by_tasks, _FEWEST_TOGETHER), _ROWS_TOGETHER)
        part = F.floor(F.col(IMAGE_ROW) / F.lit(together))
        placed = rows.repartition(num_partitions, IMAGE_FILE, part)
        return placed.sortWithinPartitions(IMAGE_FILE, IMAGE_ROW, ITEM_ID)

    return PictureSource(places, KeptPictures(shape), in_order)


_PLACES = f"{ITEM_ID} string, " + ", ".join(
    f"{name} {kind}" for name, kind in zip(PLACE, ("string", "long", "long", "double"), strict=True)
)


def _typed(place: Place) -> tuple[str, int | None, int, float]:
    uri, row, length, modified = place
    return uri, None if row is None else int(row), int(length), modified
