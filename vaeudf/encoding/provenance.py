"""What posteriors depend on: the model, how the catalog is read, and the encoder's precision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from vaeudf.catalog.source import CatalogSource
from vaeudf.schema import (
    CATALOG_KEY,
    MODEL_ID_KEY,
    MODEL_PATH_KEY,
    PIXELS_KEY,
    PRECISION_KEY,
    RUN_ID_KEY,
)
from vaeudf.table.pixel_files import PictureShape, kept_shape


@dataclass(frozen=True)
class Provenance:
    """Where the posteriors of a run come from; kept with the version that it publishes.

    Attributes:
        model_id: sha256 of the bundle.
        model_path: Where the bundle was.
        source: The catalog, and how it is read.
        precision: What the encoder computed with.
        run_id: The run.
        pictures: The shape of the pixels that are kept with them; None if none are.
    """

    model_id: str
    model_path: str
    source: CatalogSource
    precision: str
    run_id: str
    pictures: PictureShape | None = None

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Provenance:
        """Read back what :meth:`to_metadata` returns, also that of older versions of vaeudf."""
        return cls(
            model_id=metadata[MODEL_ID_KEY],
            model_path=metadata.get(MODEL_PATH_KEY, ""),
            source=CatalogSource.from_json(metadata[CATALOG_KEY]),
            precision=metadata.get(PRECISION_KEY, "float32"),
            run_id=metadata.get(RUN_ID_KEY, ""),
            pictures=kept_shape(metadata),
        )

    def to_metadata(self) -> dict[str, str]:
        """Return what is kept beside the table's schema."""
        kept = {} if self.pictures is None else {PIXELS_KEY: self.pictures.to_json()}
        return kept | {
            MODEL_ID_KEY: self.model_id,
            MODEL_PATH_KEY: self.model_path,
            CATALOG_KEY: self.source.to_json(),
            RUN_ID_KEY: self.run_id,
            PRECISION_KEY: self.precision,
        }

    def agrees_with(self, other: Provenance) -> bool:
        """Whether items with equal ids and source_versions have the same posteriors in both."""
        return (
            self.model_id == other.model_id
            and self.precision == other.precision
            and self.source.agrees_with(other.source)
        )

    def staging_key(self, *, full: bool) -> str:
        """Return the key that staged chunks are known by: runs of one key share them."""
        parts = [self.model_id, self.source.to_json(), full, self.precision]
        if self.pictures is not None:
            parts.append(PIXELS_KEY)  # chunks without pixels are of no use then
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
