"""Walks from one item's posterior to another's, as a strip of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pyspark.sql import SparkSession

from vaeudf.catalog.source import CatalogSource, read_images
from vaeudf.decoding.paths import (
    fisher_rao_distance,
    fisher_rao_path,
    linear_path,
)
from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.model.bundle import Bundle
from vaeudf.pages.decode_page import Picture, Tiles
from vaeudf.pages.page import number
from vaeudf.pages.sheets import Pixels, contact_sheet, small
from vaeudf.query.bulk import posteriors_of
from vaeudf.query.latents import Latents
from vaeudf.spark.read import read_table
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.drawn import Drawn, decoded, frame_of

Way = Literal["linear", "fisher_rao"]


@dataclass(frozen=True)
class Walk:
    """A path from one item's posterior to another's.

    Attributes:
        ends: The two items' posteriors.
        way: How it leads from one to the other.
        steps: Pictures along it, the ends among them.
        photos: The items' pictures, as far as they are there.
    """

    ends: Latents
    way: Way
    steps: int
    photos: dict[str, bytes | None]

    @classmethod
    def plan(
        cls,
        spark: SparkSession,
        table: PosteriorTable,
        item_ids: Sequence[str],
        way: Way,
        steps: int,
        catalog: CatalogSource | None,
    ) -> Walk:
        """Look the two items up.

        Raises:
            InputError: One is not in the table.
        """
        ends = posteriors_of(read_table(spark, table), item_ids)
        photos = {} if catalog is None else read_images(spark, catalog, item_ids)
        return cls(ends, way, steps, photos)

    def draw(self, spark: SparkSession, bundle: Bundle) -> Drawn:
        """Return the points, and the strip."""
        log_var = self.ends.log_var
        assert log_var is not None
        (mu_a, mu_b), (log_var_a, log_var_b) = self.ends.z, log_var
        notes = [""] * self.steps
        if self.way == "linear":
            points = linear_path(mu_a, mu_b, self.steps)
        else:
            points, log_vars = fisher_rao_path(mu_a, log_var_a, mu_b, log_var_b, self.steps)
            sigmas = np.exp(0.5 * np.mean(log_vars, axis=1))
            notes = [f"σ {sigma:.2g}" for sigma in sigmas]
        length = fisher_rao_distance(mu_a, log_var_a, mu_b, log_var_b)
        straight = float(np.linalg.norm(mu_b - mu_a))
        pixels = decoded(bundle, points)
        shares = [f"{100 * i / (self.steps - 1):.3g} %" for i in range(self.steps)]
        pictures = [
            Picture(share, picture, note=note, z=z)
            for share, picture, note, z in zip(shares, pixels, notes, points, strict=True)
        ]
        first, last = self.ends.ids
        row: list[Pixels | None] = list(pixels)
        captions = list(shares)
        for place, name in ((0, first), (len(pictures) + 1, last)):
            if name in self.photos:
                own = decode_image(self.photos[name], bundle.manifest.image)
                row.insert(place, None if isinstance(own, ImageFailure) else small(own))
                captions.insert(place, "original")
                pictures.insert(place, Picture(name, photo=self.photos[name], note="original"))
        latents = Latents(tuple(f"step-{i:03d}" for i in range(self.steps)), points)
        way = "straight line" if self.way == "linear" else "Fisher–Rao geodesic"
        lead = (
            f"{self.steps} pictures along the {way} from mu of {first} to mu of {last}. "
            f"The Fisher–Rao length of the way between the two posteriors is {number(length)}; the "
            f"straight line between their means is {number(straight)} long."
        )
        text = {
            "linear": "Every step is the same difference of mu.",
            "fisher_rao": "Every step has the same Fisher–Rao length. On the way to a far mean the "
            "geodesic widens sigma first, where a difference of mu counts for less: so mu moves "
            "most in the middle. σ is the geometric mean over the dimensions.",
        }[self.way]
        return Drawn(
            frame_of(spark, latents),
            self.steps,
            "A walk between two items",
            lead,
            [Tiles("", text, pictures, is_strip=True)],
            sheet=contact_sheet([row], title=f"{first}  -  {last}, {way}", captions=[captions]),
            facts={"path": self.way, "fisher_rao_length": round(length, 6)}
            | {"euclidean_length": round(straight, 6)},
        )
