"""What to encode, of whatever kind the catalog is: its items, and their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.catalog.catalog_source import CatalogSource, Format, KnownFormat
from vaeudf.catalog.delta import is_delta
from vaeudf.catalog.folder import FolderCatalog
from vaeudf.catalog.kind import Catalog
from vaeudf.catalog.kinds import FileKind
from vaeudf.catalog.parquet import ParquetCatalog
from vaeudf.catalog.paths import PathsCatalog, ask_for_path_column
from vaeudf.catalog.patterns import root_of
from vaeudf.catalog.reader import hashed_version
from vaeudf.catalog.some_items import read_places, shrink_places
from vaeudf.catalog.survey import (
    Survey,
    about_archives,
    check_not_empty,
    may_hold_images,
    survey,
)
from vaeudf.errors import InputError
from vaeudf.schema import IMAGE_FILE, IMAGE_ROW, ITEM_ID, SOURCE_VERSION
from vaeudf.spark.cluster import Cluster

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
    "read_thumbnails",
    "resolve_format",
    "stored_image_column",
]

_EXPECTED = "image files, Parquet files, or CSV with the paths of image files"


def open_catalog(spark: SparkSession, source: CatalogSource) -> Catalog:
    """Return the catalog of the kind that a source is, looking at what is there for ``auto``.

    Raises:
        InputError: There is nothing that can be a catalog.
    """
    Cluster.of(spark).check_seen(root_of(source.path))
    form, found = _look(spark, source)
    if form == "images":
        return FolderCatalog(source, found)
    if source.path_column is not None or form == "csv":
        return PathsCatalog(replace(source, format=form))
    return ParquetCatalog(source)


def resolve_format(spark: SparkSession, source: CatalogSource) -> KnownFormat:
    """Return the format, looking at what is there for ``auto``.

    Raises:
        InputError: There is nothing that can be a catalog.
    """
    return _look(spark, source)[0]


def _look(spark: SparkSession, source: CatalogSource) -> tuple[KnownFormat, Survey | None]:
    """Return the format, and what is there, if that was looked at."""
    if source.format != "auto":
        return source.format, None
    if is_delta(source.path):
        return "parquet", None
    wanted: tuple[FileKind, ...] = ("image", "parquet")
    if source.path_column is not None:
        wanted = ("csv", "parquet")
    found = survey(spark, source.path, wanted)
    return _format_of(found, source), found


def _format_of(found: Survey, source: CatalogSource) -> KnownFormat:
    if source.path_column is not None:
        return _format_of_paths(found, source.path_column)
    parquet, images = found.files("parquet"), found.files("image")
    if parquet and (not images or may_hold_images(parquet[0], source.image_column)):
        if found.files("archive") and not may_hold_images(parquet[0], source.image_column):
            raise InputError(about_archives(found, _EXPECTED))
        return "parquet"
    if images or not found.is_complete:
        return "images"
    if tables := found.files("csv"):
        raise InputError(ask_for_path_column(source.path, tables))
    check_not_empty(found, _EXPECTED)
    return "images"


def _format_of_paths(found: Survey, column: str) -> KnownFormat:
    tables, parquet = found.files("csv"), found.files("parquet")
    if tables and parquet:
        raise InputError(
            f"catalog {found.path} has {len(tables):,} CSV files and {len(parquet):,} Parquet "
            f"files; say which have the column {column!r}: --format csv or --format parquet."
        )
    if not (tables or parquet):
        raise InputError(
            f"catalog {found.path} has {found.passed_over()}; expected CSV or Parquet with the "
            f"column {column!r} (--path-column). For a file of another name, say --format csv or "
            "--format parquet."
        )
    return "csv" if tables else "parquet"


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


def has_hashed_versions(spark: SparkSession, source: CatalogSource) -> bool:
    """Whether an item's source_version is a hash of its image."""
    return open_catalog(spark, source).has_hashed_versions


def stored_image_column(spark: SparkSession, source: CatalogSource) -> str:
    """Return what the catalog's files call the column with the images."""
    return open_catalog(spark, source).stored_image_column(spark)


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
    catalog = open_catalog(spark, source)
    places = catalog.find_items(spark, item_ids)
    return read_places(places, catalog.stored_image_column(spark)) if places else {}


def read_thumbnails(
    spark: SparkSession, source: CatalogSource, item_ids: Sequence[str], max_side: int
) -> dict[str, bytes | None]:
    """Return small copies of some items' images, made in tasks where the images are read.

    Args:
        spark: The session.
        source: The catalog.
        item_ids: Which items.
        max_side: The longest side, in pixels.

    Returns:
        The bytes of JPEG files by item_id; None for an image that cannot be read or decoded. Items
        that are not in the catalog any more are left out.

    Raises:
        InputError: As of :func:`read_images`.
    """
    catalog = open_catalog(spark, source)
    places = catalog.find_items(spark, item_ids)
    column = catalog.stored_image_column(spark)
    return shrink_places(spark, places, column, max_side) if places else {}


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
