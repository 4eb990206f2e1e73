"""Where a catalog is and how to read it, as options say it and tables keep it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from vaeudf.schema import IMAGE, ITEM_ID
from vaeudf.storage.locations import absolute

KnownFormat = Literal["images", "parquet", "csv"]
Format = Literal["auto", "images", "parquet", "csv"]


@dataclass(frozen=True)
class CatalogSource:
    """Where a catalog is and how to read it.

    Attributes:
        path: A folder or glob of images, or a file or folder of Parquet or CSV.
        format: ``images``, ``parquet``, ``csv``, or ``auto``: what is found there.
        id_column: Parquet: the column with each item's unique id.
        image_column: Parquet: the column with the image's bytes; ``a.b`` is a field of a struct.
        version_column: Parquet: a column that changes when the image does; by default a hash of
            the bytes.
        payload_columns: Parquet: columns carried into the posterior table; None is all others.
        path_column: The column of Parquet or CSV with the paths or URIs of image files, where these
            are beside the rows; None where the images are in them.
    """

    path: str
    format: Format = "auto"
    id_column: str = ITEM_ID
    image_column: str = IMAGE
    version_column: str | None = None
    payload_columns: Sequence[str] | None = None
    path_column: str | None = None

    def to_json(self) -> str:
        """Return a text that :meth:`from_json` reads."""
        content = {**asdict(self), "path": absolute(self.path)}
        if self.path_column is None:  # as it was before there was one
            del content["path_column"]
        return json.dumps(content)

    def agrees_with(self, other: CatalogSource) -> bool:
        """Whether equal ids and versions mean equal pictures; the paths may differ."""
        ours, theirs = (
            (source.id_column, source.image_column, source.version_column, source.path_column)
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
