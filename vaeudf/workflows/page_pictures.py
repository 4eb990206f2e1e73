"""The items' pictures on pages: the catalog's own, or those that the table keeps."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from vaeudf.catalog.source import CatalogSource, read_thumbnails
from vaeudf.decoding.picture_sources import keeps_all_pixels
from vaeudf.errors import InputError
from vaeudf.images.decode import picture_png
from vaeudf.pages.page import THUMBNAIL_SIDE
from vaeudf.schema import IMAGE_FILE, IMAGE_ROW, ITEM_ID
from vaeudf.spark.kept_pixels import pixel_places
from vaeudf.table.open import PosteriorTable
from vaeudf.table.pixel_files import PixelFile
from vaeudf.workflows.pictures import check_pictures, find_pictures

log = logging.getLogger(__name__)

PagePictures = CatalogSource | PosteriorTable
"""A catalog, or a table that keeps all pixels."""


def check_page_pictures(table: PosteriorTable, catalog: str | None) -> None:
    """Refuse a catalog that does not exist, before Spark starts, unless the table can do without.

    Raises:
        InputError: Nothing is there.
    """
    if catalog is not None or not keeps_all_pixels(table):
        check_pictures(table, catalog)


def find_page_pictures(
    spark: SparkSession, table: PosteriorTable, catalog: str | None
) -> PagePictures:
    """Return where a page's pictures come from, after checking that they can be read.

    The catalog's are larger than those that the table keeps, which the model's encoder got.

    Raises:
        InputError: The catalog cannot be read, and it is named, or the table keeps no pictures.
    """
    try:
        return find_pictures(spark, table, catalog)
    except InputError:
        if catalog is not None or not keeps_all_pixels(table):
            raise
    log.info("The catalog cannot be read: the page shows the pictures that the table keeps.")
    return table


def read_page_pictures(
    spark: SparkSession, pictures: PagePictures, item_ids: Sequence[str]
) -> dict[str, bytes | None]:
    """Return image files' bytes by item_id; None for an image that cannot be shown."""
    if isinstance(pictures, CatalogSource):
        return read_thumbnails(spark, pictures, item_ids, THUMBNAIL_SIDE)
    places = pixel_places(spark, pictures).where(F.col(ITEM_ID).isin(list(item_ids)))
    rows: dict[str, dict[str, int]] = {}
    for row in places.select(ITEM_ID, IMAGE_FILE, IMAGE_ROW).collect():
        rows.setdefault(row[IMAGE_FILE], {})[row[ITEM_ID]] = row[IMAGE_ROW]
    found: dict[str, bytes | None] = {}
    for uri, own in rows.items():
        with PixelFile(uri) as file:
            pixels = file.rows(list(own.values()))
        found |= dict(zip(own, map(picture_png, pixels), strict=True))
    return found
