"""Walks from one item's posterior to another's, as a strip of pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vaeudf.catalog.source import read_images
from vaeudf.decoding.paths import fisher_rao_distance, fisher_rao_path, linear_path
from vaeudf.errors import InputError
from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.model.bundle import Bundle
from vaeudf.pages.decode_page import Picture, Tiles
from vaeudf.pages.page import number
from vaeudf.pages.sheets import Pixels, contact_sheet, small
from vaeudf.query.latents import Latents
from vaeudf.schema import CATALOG_KEY
from vaeudf.workflows.drawings.drawing import MOST_STEPS, STEPS, Context, Drawn, check_sheet
from vaeudf.workflows.pictures import find_pictures

log = logging.getLogger(__name__)

Way = Literal["linear", "fisher_rao"]

_NAMES = {"linear": "straight line", "fisher_rao": "Fisher–Rao geodesic"}
_TEXTS = {
    "linear": "Every step is the same difference of mu.",
    "fisher_rao": "Every step has the same Fisher–Rao length. On the way to a far mean the "
    "geodesic widens sigma first, where a difference of mu counts for less: so mu moves "
    "most in the middle. σ is the geometric mean over the dimensions.",
}


@dataclass(frozen=True)
class Walk:
    """A path from one item's posterior to another's.

    Attributes:
        ends: The two items' ids.
        way: A straight line, or a geodesic.
        steps: Pictures along the path, including both ends.
    """

    ends: Sequence[str]
    way: Way = "linear"
    steps: int = STEPS

    def __post_init__(self) -> None:
        check_sheet(self.steps, MOST_STEPS)
        if len(set(self.ends)) != 2 or len(self.ends) != 2:
            found = " and ".join(map(repr, self.ends))
            raise InputError(f"walk is {found}; expected two different items: --walk A --walk B.")

    def check(self, bundle: Bundle) -> None:
        """Do nothing: the posteriors of a table fit its model."""

    def draw(self, context: Context, folder: str | None) -> Drawn:
        """Decode the points along the path; show the items' own pictures at its ends.

        Raises:
            InputError: An item is not in the table.
        """
        ends = context.posteriors_of(self.ends)
        (mu_a, mu_b), (log_var_a, log_var_b) = ends.mu, ends.log_var
        notes = [""] * self.steps
        if self.way == "linear":
            points = linear_path(mu_a, mu_b, self.steps)
        else:
            points, log_vars = fisher_rao_path(mu_a, log_var_a, mu_b, log_var_b, self.steps)
            sigmas = np.exp(0.5 * np.mean(log_vars, axis=1))
            notes = [f"σ {sigma:.2g}" for sigma in sigmas]
        if folder is not None:
            latents = Latents(tuple(f"step-{i:03d}" for i in range(self.steps)), points)
            context.write_pictures(context.frame_of(latents), self.steps, folder)
        length = fisher_rao_distance(mu_a, log_var_a, mu_b, log_var_b)
        straight = float(np.linalg.norm(mu_b - mu_a))
        first, last = self.ends
        lead = (
            f"{self.steps} pictures along the {_NAMES[self.way]} from mu of {first} to mu of "
            f"{last}. The Fisher–Rao length of the way between the two posteriors is "
            f"{number(length)}; the straight line between their means is {number(straight)} long."
        )
        strip, sheet = self._show(context, points, notes)
        return Drawn(
            count=self.steps,
            title="A walk between two items",
            lead=lead,
            sections=[strip],
            sheet=sheet,
            facts={
                "path": self.way,
                "fisher_rao_length": round(length, 6),
                "euclidean_length": round(straight, 6),
            },
        )

    def _show(
        self, context: Context, points: NDArray[np.float64], notes: Sequence[str]
    ) -> tuple[Tiles, bytes]:
        """Return the page's strip and the sheet, both with the items' own pictures at the ends."""
        pixels = context.decode_here(points)
        shares = [f"{100 * i / (self.steps - 1):.3g} %" for i in range(self.steps)]
        pictures = [
            Picture(share, picture, note=note, z=z)
            for share, picture, note, z in zip(shares, pixels, notes, points, strict=True)
        ]
        first, last = self.ends
        photos = self._photos(context)
        row: list[Pixels | None] = list(pixels)
        captions = list(shares)
        for place, name in ((0, first), (len(pictures) + 1, last)):
            if name in photos:
                own = decode_image(photos[name], context.bundle.manifest.image)
                row.insert(place, None if isinstance(own, ImageFailure) else small(own))
                captions.insert(place, "original")
                pictures.insert(place, Picture(name, photo=photos[name], note="original"))
        title = f"{first}  -  {last}, {_NAMES[self.way]}"
        sheet = contact_sheet([row], title=title, captions=[captions])
        return Tiles(title="", text=_TEXTS[self.way], pictures=pictures, is_strip=True), sheet

    def _photos(self, context: Context) -> dict[str, bytes | None]:
        """Return the two items' own pictures; empty if the table's catalog does not exist."""
        if context.catalog is None and CATALOG_KEY not in context.table.provenance:
            return {}
        try:
            catalog = find_pictures(context.spark, context.table, context.catalog)
        except InputError as error:
            if context.catalog is not None:
                raise
            log.warning("The walk is shown without the two items' own pictures: %s", error)
            return {}
        return read_images(context.spark, catalog, self.ends)
