"""A catalog that is a folder of image files."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, StructField, StructType

from vaeudf.catalog.catalog_source import CatalogSource, KnownFormat
from vaeudf.catalog.kinds import count_unnamed, of_kind
from vaeudf.catalog.listing import LENGTH, MODIFIED, PATH, Looked, as_frame
from vaeudf.catalog.patterns import root_of
from vaeudf.catalog.reader import Place
from vaeudf.catalog.survey import Survey, check_not_empty, survey
from vaeudf.images.formats import IMAGE_SUFFIXES
from vaeudf.schema import (
    IMAGE_FILE,
    IMAGE_LENGTH,
    IMAGE_MODIFIED,
    IMAGE_ROW,
    ITEM_ID,
    SOURCE_VERSION,
)
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.frames import frame_of
from vaeudf.storage.locations import filesystem

_IS_IMAGE = "is_image"
# So many files without a suffix the driver has looked into before a task would have started.
_FEW = 1_000
_TASKS_PER_CORE = 2
_EXPECTED = (
    f"image files, named .{', .'.join(IMAGE_SUFFIXES)} or without a suffix, Parquet files, or CSV "
    "with the paths of image files"
)


class FolderCatalog:
    """The image files at a path; an item_id is the path below the folder."""

    format: KnownFormat = "images"
    has_hashed_versions = False

    def __init__(self, source: CatalogSource, found: Survey | None = None) -> None:
        """Take what the options say, and what is there, if that is known: nothing is read yet."""
        self._source = source
        self._found = found
        self._kept: DataFrame | None = None
        self._ignored: int | None = None

    def stored_image_column(self, spark: SparkSession) -> str:
        """Return any name: every image is a file."""
        return self._source.image_column

    def list_items(self, spark: SparkSession, *, versions: bool) -> DataFrame:
        """Return the files, with their times and lengths as versions, whether wanted or not.

        Raises:
            InputError: There is no image.
        """
        files = self._files(spark).where(F.col(_IS_IMAGE))
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

    def find_items(self, spark: SparkSession, item_ids: Sequence[str]) -> dict[str, Place]:
        """Return the places of those files that are there."""
        root = root_of(self._source.path)
        files, inner = filesystem(root)
        infos = files.get_file_info([posixpath.join(inner, item_id) for item_id in item_ids])
        return {
            item_id: (posixpath.join(root, item_id), None, info.size, 0.0)
            for item_id, info in zip(item_ids, infos, strict=True)
            if info.type == fs.FileType.File
        }

    def count_ignored(self, spark: SparkSession) -> int:
        """Return how many files are no images."""
        files = self._files(spark)
        return files.where(~F.col(_IS_IMAGE)).count() if self._ignored is None else self._ignored

    def _files(self, spark: SparkSession) -> DataFrame:
        """Return all files, with a column that says which are images; looked at once."""
        if self._kept is None:
            self._kept = self._look(spark)
        return self._kept

    def _look(self, spark: SparkSession) -> DataFrame:
        found = self._found or survey(spark, self._source.path)
        names = found.looked.files[PATH].combine_chunks()
        if found.is_complete and count_unnamed(names) <= _FEW:
            is_image = of_kind(names, "image")
            self._ignored = len(names) - (pc.sum(is_image).as_py() or 0)
            if not pc.any(is_image).as_py():
                check_not_empty(found, _EXPECTED)
            return frame_of(spark, found.looked.files.append_column(_IS_IMAGE, is_image))
        return _looked_into(spark, found.looked)


def _looked_into(spark: SparkSession, looked: Looked) -> DataFrame:
    """Return all files, looked into by tasks."""

    def look_into(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch.append_column(_IS_IMAGE, of_kind(batch.column(PATH), "image"))

    files = as_frame(spark, looked).repartition(_TASKS_PER_CORE * Cluster.of(spark).num_cores)
    fields = [*files.schema.fields, StructField(_IS_IMAGE, BooleanType())]
    return files.mapInArrow(look_into, StructType(fields))
