"""What every kind of catalog can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pyspark.sql import DataFrame, SparkSession

from vaeudf.catalog.catalog_source import KnownFormat
from vaeudf.catalog.reader import Place


class Catalog(Protocol):
    """A catalog of one kind."""

    @property
    def format(self) -> KnownFormat:
        """What ``--format`` calls this kind."""

    @property
    def has_hashed_versions(self) -> bool:
        """Whether an item's source_version is a hash of its image."""

    def stored_image_column(self, spark: SparkSession) -> str:
        """Return what :class:`vaeudf.catalog.reader.ImageReader` is to call the images' column.

        Of no meaning where every image is a file of its own.
        """

    def list_items(self, spark: SparkSession, *, versions: bool) -> DataFrame:
        """Return what :func:`vaeudf.catalog.source.list_items` does."""

    def find_items(self, spark: SparkSession, item_ids: Sequence[str]) -> dict[str, Place]:
        """Return where some items' images are; those that are not there are left out."""

    def count_ignored(self, spark: SparkSession) -> int:
        """Return how many files are there that are no part of the catalog."""
