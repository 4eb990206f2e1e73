"""Where a catalog is and how to read it, and what every kind of catalog can be asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, Protocol

from pyspark.sql import DataFrame, SparkSession

from vaeudf.schema import IMAGE, ITEM_ID
from vaeudf.storage.locations import absolute

KnownFormat = Literal["images", "parquet"]
Format = Literal["auto", "images", "parquet"]


@dataclass(frozen=True)
class CatalogSource:
    """Where a catalog is and how to read it.

    Attributes:
        path: A folder or glob of images, or a Parquet file or folder.
        format: ``images``, ``parquet``, or ``auto``: Parquet if the first file found is Parquet.
        id_column: Parquet: the column with each item's unique id.
        image_column: Parquet: the column with the image's bytes; ``a.b`` is a field of a struct.
        version_column: Parquet: a column that changes when the image does; by default a hash of
            the bytes.
        payload_columns: Parquet: columns carried into the posterior table; None is all others.
    """

    path: str
    format: Format = "auto"
    id_column: str = ITEM_ID
    image_column: str = IMAGE
    version_column: str | None = None
    payload_columns: Sequence[str] | None = None

    def to_json(self) -> str:
        """Return a text that :meth:`from_json` reads."""
        return json.dumps({**asdict(self), "path": absolute(self.path)})

    def agrees_with(self, other: CatalogSource) -> bool:
        """Whether equal ids and versions mean equal pictures; the paths may differ."""
        ours, theirs = (
            (source.id_column, source.image_column, source.version_column)
            for source in (self, other)
        )
        return ours == theirs

    def moved_to(self, path: str) -> CatalogSource:
        """Return the same catalog at another place."""
        return replace(self, path=path)

    @classmethod
    def from_json(cls, text: str) -> CatalogSource:
        """Rebuild a source from :meth:`to_json`."""
        return cls(**json.loads(text))


class Catalog(Protocol):
    """A catalog of one kind."""

    @property
    def format(self) -> KnownFormat:
        """What ``--format`` calls this kind."""

    @property
    def has_hashed_versions(self) -> bool:
        """Whether an item's source_version is a hash of its image."""

    def stored_image_column(self) -> str:
        """Return what :class:`vaeudf.catalog.reader.ImageReader` is to call the images' column.

        Of no meaning where every image is a file.
        """

    def list_items(self, spark: SparkSession, *, versions: bool) -> DataFrame:
        """Return what :func:`vaeudf.catalog.source.list_items` does."""

    def read_images(self, spark: SparkSession, item_ids: Sequence[str]) -> dict[str, bytes | None]:
        """Return what :func:`vaeudf.catalog.source.read_images` does."""

    def count_ignored(self, spark: SparkSession) -> int:
        """Return how many files are there that are no part of the catalog."""
