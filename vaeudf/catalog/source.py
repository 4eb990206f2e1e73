"""What to encode, of whatever kind the catalog is: its items, and their images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.catalog.delta import is_delta
from vaeudf.catalog.folder import FolderCatalog
from vaeudf.catalog.kind import Catalog, CatalogSource, Format, KnownFormat
from vaeudf.catalog.listing import first_file
from vaeudf.catalog.parquet import ParquetCatalog
from vaeudf.errors import InputError
from vaeudf.schema import HASH_DIGITS, IMAGE_FILE, IMAGE_ROW, ITEM_ID, SOURCE_VERSION

__all__ = [
    "CatalogSource",
    "Format",
    "check_items",
    "count_ignored",
    "has_hashed_versions",
    "hashed_version",
    "in_file_order",
    "list_items",
    "open_catalog",
    "read_images",
    "resolve_format",
    "stored_image_column",
]


def open_catalog(spark: SparkSession, source: CatalogSource) -> Catalog:
    """Return the catalog of the kind that a source is, looking at the first file for ``auto``.

    Raises:
        InputError: There is no file.
    """
    form = resolve_format(spark, source)
    return FolderCatalog(source) if form == "images" else ParquetCatalog(source)


def resolve_format(spark: SparkSession, source: CatalogSource) -> KnownFormat:
    """Return the format, looking at the first file for ``auto``.

    Raises:
        InputError: There is no file.
    """
    if source.format != "auto":
        return source.format
    if is_delta(source.path):
        return "parquet"
    first = first_file(spark, source.path)
    if first is None:
        raise InputError(
            f"catalog {source.path} has no files in it; expected images or Parquet files."
        )
    return "parquet" if first.lower().endswith((".parquet", ".parq")) else "images"


def list_items(spark: SparkSession, source: CatalogSource, *, versions: bool = True) -> DataFrame:
    """Return what is known of the items without decoding an image, and where their images are.

    Args:
        spark: The session.
        source: What to read.
        versions: Whether source_version is wanted even where it is a hash of the image, which
            costs reading the images; without, it is null there.

    Returns:
        ``item_id``, ``source_version``, the payload; ``image_file``, the URI of the file that has
        the image; ``image_row``, its row there, null where the file is the image; and
        ``image_length`` and ``image_modified``, the file's bytes and when it was written last, in
        seconds since 1970.

    Raises:
        InputError: Nothing is there, or a column is missing or of the wrong type.
    """
    return open_catalog(spark, source).list_items(spark, versions=versions)


def in_file_order(items: DataFrame, num_partitions: int) -> DataFrame:
    """Return items so that those of one file are together and in order.

    So a task's :class:`vaeudf.catalog.reader.ImageReader` reads a Parquet file once, from its
    beginning to its end.

    Args:
        items: Has the columns :data:`vaeudf.schema.PLACE`.
        num_partitions: How many tasks share them.
    """
    placed = items.repartitionByRange(num_partitions, IMAGE_FILE, IMAGE_ROW)
    return placed.sortWithinPartitions(IMAGE_FILE, IMAGE_ROW)


def hashed_version(image: bytes | None) -> str:
    """Return the source_version of an image where it is a hash, as :func:`list_items` gives it."""
    return hashlib.sha256(image or b"").hexdigest()[:HASH_DIGITS]


def has_hashed_versions(spark: SparkSession, source: CatalogSource) -> bool:
    """Whether an item's source_version is a hash of its image."""
    return open_catalog(spark, source).has_hashed_versions


def stored_image_column(spark: SparkSession, source: CatalogSource) -> str:
    """Return what the catalog's files call the column with the images."""
    return open_catalog(spark, source).stored_image_column()


def read_images(
    spark: SparkSession, source: CatalogSource, item_ids: Sequence[str]
) -> dict[str, bytes | None]:
    """Return some items' images; items that are not in the catalog any more are left out.

    Args:
        spark: The session.
        source: The catalog.
        item_ids: Which items.

    Returns:
        Image bytes by item_id; None for an image that cannot be read.

    Raises:
        InputError: The catalog is not there, or a column is missing or of the wrong type.
    """
    return open_catalog(spark, source).read_images(spark, item_ids)


def count_ignored(spark: SparkSession, source: CatalogSource) -> int:
    """Return how many files are there that are no part of the catalog."""
    return open_catalog(spark, source).count_ignored(spark)


def check_items(catalog: DataFrame, *, has_version_column: bool = False) -> int:
    """Return the number of items; there must be one at least, with unique ids that are not null.

    Reads the id column, and the versions if they are a column of the catalog: versions that are
    hashes of the images would cost reading these.

    Raises:
        InputError: The catalog is empty, an id is null or occurs more than once, or a version is
            null.
    """
    ids = catalog.groupBy(ITEM_ID).agg(F.count("*").alias("n"))
    repeated = ids.where((F.col("n") > 1) | F.col(ITEM_ID).isNull())
    total = catalog.select(ITEM_ID).count()
    if total == 0:
        raise InputError("the catalog is empty; expected at least one item.")
    examples = repeated.orderBy(F.desc("n"), ITEM_ID).limit(5).collect()
    if examples:
        names = ", ".join(f"{row[ITEM_ID]!r} ({row['n']} times)" for row in examples)
        raise InputError(
            f"item_ids must be unique and not null; {repeated.count()} are not: {names}. "
            "Mend the catalog, or name another column with --id-column."
        )
    if has_version_column:
        unknown = catalog.where(F.col(SOURCE_VERSION).isNull()).select(ITEM_ID)
        without = unknown.limit(5).collect()
        if without:
            names = ", ".join(repr(row[ITEM_ID]) for row in without)
            raise InputError(
                f"the version column is null for {unknown.count()} items, such as {names}; "
                "expected a value for each. Mend the catalog, or leave --version-column out."
            )
    return total
