"""A catalog that is a folder of image files."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.catalog.kind import CatalogSource, KnownFormat
from vaeudf.catalog.listing import LENGTH, MODIFIED, PATH, list_files, root_of
from vaeudf.catalog.reader import ImageReader
from vaeudf.images.decode import ImageFailure
from vaeudf.images.formats import IMAGE_SUFFIXES
from vaeudf.schema import (
    IMAGE,
    IMAGE_FILE,
    IMAGE_LENGTH,
    IMAGE_MODIFIED,
    IMAGE_ROW,
    ITEM_ID,
    SOURCE_VERSION,
)
from vaeudf.storage.locations import filesystem

_SUFFIXES = rf"(?i)[.]({'|'.join(IMAGE_SUFFIXES)})\z"


class FolderCatalog:
    """The image files at a path; an item_id is the path below the folder."""

    format: KnownFormat = "images"
    has_hashed_versions = False

    def __init__(self, source: CatalogSource) -> None:
        """Take what the options say; nothing is read yet."""
        self._source = source

    def stored_image_column(self) -> str:
        """Return any name: every image is a file."""
        return self._source.image_column

    def list_items(self, spark: SparkSession, *, versions: bool) -> DataFrame:
        """Return the files, with their times and lengths as versions, whether wanted or not."""
        files = list_files(spark, self._source.path).where(F.col(PATH).rlike(_SUFFIXES))
        version = F.concat_ws("-", F.col(MODIFIED) * 1000, F.col(LENGTH))
        below = len(root_of(self._source.path).rstrip("/")) + 2
        return files.select(
            F.expr(f"substring({PATH}, {below})").alias(ITEM_ID),
            version.alias(SOURCE_VERSION),
            F.col(PATH).alias(IMAGE_FILE),
            F.lit(None).cast("long").alias(IMAGE_ROW),
            F.col(LENGTH).alias(IMAGE_LENGTH),
            (F.col(MODIFIED) / 1000.0).alias(IMAGE_MODIFIED),
        )

    def read_images(self, spark: SparkSession, item_ids: Sequence[str]) -> dict[str, bytes | None]:
        """Return some files' bytes, read by the driver."""
        root = root_of(self._source.path)
        files, inner = filesystem(root)
        infos = files.get_file_info([posixpath.join(inner, item_id) for item_id in item_ids])
        sizes = {
            item_id: info.size
            for item_id, info in zip(item_ids, infos, strict=True)
            if info.type == fs.FileType.File
        }
        places = ((posixpath.join(root, name), None, size, 0.0) for name, size in sizes.items())
        images = ImageReader(IMAGE).read_all(places)
        return {
            name: None if isinstance(image, ImageFailure) else image
            for name, image in zip(sizes, images, strict=True)
        }

    def count_ignored(self, spark: SparkSession) -> int:
        """Return how many files are not named as images."""
        files = list_files(spark, self._source.path)
        return files.where(~F.col(PATH).rlike(_SUFFIXES)).count()
