"""Traversals: points that differ in a latent dimension or two, as a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from vaeudf.decoding.paths import (
    check_dimension,
    grid,
)
from vaeudf.errors import InputError
from vaeudf.model.bundle import Bundle
from vaeudf.pages.decode_page import Picture, Sheet
from vaeudf.pages.page import number
from vaeudf.pages.sheets import contact_sheet
from vaeudf.query.bulk import posteriors_of
from vaeudf.query.latents import Latents
from vaeudf.spark.read import read_table
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.drawn import NOTES, Drawn, decoded, frame_of

ALL = "all"
_DEFAULT_RANGE = 3.0
# Pictures that a page shows, at some 8 KB each.
_MOST_IN_SHEET = 625


@dataclass(frozen=True)
class Traversal:
    """Points around a center that differ from it in a dimension or two.

    Attributes:
        dims: Of the columns, and perhaps of the rows; empty for one row for every dimension.
        ranges: Of every dimension of the model, first and last value.
        steps: Pictures along each.
        center: Shape (n,).
        around: What the center is, in words.
    """

    dims: tuple[int, ...]
    ranges: Sequence[tuple[float, float]]
    steps: int
    center: NDArray[np.float64]
    around: str

    @classmethod
    def plan(
        cls,
        bundle: Bundle,
        dims: tuple[int, ...],
        bound: float | None,
        steps: int,
        center: str | None,
    ) -> Traversal:
        """Check what was asked for against the model.

        Raises:
            InputError: A dimension that the model does not have, or a center of another length.
        """
        for dim in dims:
            check_dimension(dim, bundle.latent_dim)
        stated = bundle.manifest.z_range
        if bound is None and stated is not None:
            ranges = [(float(low), float(high)) for low, high in zip(*stated, strict=True)]
        else:
            bound = _DEFAULT_RANGE if bound is None else bound
            ranges = [(-bound, bound)] * bundle.latent_dim
        middle, around = np.zeros(bundle.latent_dim), "the origin"
        if center is not None:
            middle, around = _parse_center(center, bundle.latent_dim), "the given z"
        return cls(dims, ranges, steps, middle, around)

    def around_item(self, spark: SparkSession, table: PosteriorTable, item_id: str) -> Traversal:
        """Return the same traversal around an item's mu.

        Raises:
            InputError: There is no such item.
        """
        found = posteriors_of(read_table(spark, table), [item_id])
        return replace(self, center=found.z[0], around=f"mu of {item_id}")

    def points(self) -> NDArray[np.float64]:
        """Return the points of the sheet, shape (rows, columns, n)."""
        if self.dims:
            ranges = [self.ranges[dim] for dim in self.dims]
            return grid(self.center, self.dims, ranges, self.steps)
        rows = [
            grid(self.center, (dim,), (self.ranges[dim],), self.steps)
            for dim in range(len(self.center))
        ]
        return np.concatenate(rows)

    def draw(self, spark: SparkSession, bundle: Bundle) -> Drawn:
        """Return the points, and the sheet."""
        points = self.points()
        num_rows, num_columns, n = points.shape
        ids = [f"row-{i:03d}-column-{j:03d}" for i in range(num_rows) for j in range(num_columns)]
        latents = Latents(tuple(ids), points.reshape(-1, n))
        num_shown = max(1, min(num_rows, _MOST_IN_SHEET // num_columns))
        pixels = decoded(bundle, points[:num_shown].reshape(-1, n))
        rows = [pixels[i * num_columns : (i + 1) * num_columns] for i in range(num_shown)]
        changing = [self.dims or (i,) for i in range(num_rows)]
        pictures = [
            [
                Picture(
                    ", ".join(f"z{dim} = {number(point[dim])}" for dim in changing[i]),
                    picture,
                    note="" if self.dims else number(point[changing[i][0]]),
                )
                for point, picture in zip(points[i], row, strict=True)
            ]
            for i, row in enumerate(rows)
        ]
        row_labels, column_labels, corner = self._labels(points[:num_shown])
        hidden = num_rows - num_shown
        notes = f" {hidden:,} further dimensions are not shown." if hidden else ""
        captions = [[number(p[changing[i][0]]) for p in points[i]] for i in range(num_shown)]
        sheet = contact_sheet(
            rows,
            title=self._title(),
            row_labels=row_labels,
            captions=captions,
        )
        return Drawn(
            frame_of(spark, latents),
            len(latents),
            self._title(),
            self._lead(),
            [Sheet("", "", pictures, row_labels, column_labels, corner)],
            notes=NOTES + notes,
            sheet=sheet,
            facts={"rows": num_rows, "columns": num_columns},
        )

    def _labels(self, points: NDArray[np.float64]) -> tuple[list[str], list[str], str]:
        if not self.dims:
            return [f"z{dim}" for dim in range(len(points))], [], ""
        columns = [number(value) for value in points[0, :, self.dims[0]]]
        if len(self.dims) == 1:
            return [f"z{self.dims[0]}"], columns, ""
        corner = f"z{self.dims[1]} ↓  z{self.dims[0]} →"
        return [number(value) for value in points[:, 0, self.dims[1]]], columns, corner

    def _title(self) -> str:
        names = " and ".join(f"z{dim}" for dim in self.dims) or "every dimension"
        return f"Traversal of {names}, around {self.around}"

    def _lead(self) -> str:
        if not self.dims:
            return (
                "One row for each latent dimension. Along a row that dimension alone changes, to "
                "the values below the pictures; all others stay as they are. A row of equal "
                "pictures is a dimension that the decoder does not use."
            )
        if len(self.dims) == 1:
            return f"Only z{self.dims[0]} changes, to the values above; all others stay."
        column, row = self.dims
        return (
            f"From left to right z{column} changes, from top to bottom z{row}; all other "
            "dimensions stay as they are."
        )


def parse_traverse(text: str) -> tuple[int, ...]:
    """Return the dimensions to traverse; none for ``all``.

    Raises:
        InputError: The text is none of ``I``, ``I,J`` and ``all``.
    """
    if text.strip() == ALL:
        return ()
    try:
        dims = tuple(int(part) for part in text.split(","))
    except ValueError:
        dims = ()
    if not 1 <= len(dims) <= 2 or len(set(dims)) != len(dims):
        raise InputError(
            f"traverse is {text!r}; expected a dimension, such as 3, two different ones, such as "
            "3,5, or all."
        )
    return dims


def _parse_center(text: str, latent_dim: int) -> NDArray[np.float64]:
    try:
        center = np.array([float(part) for part in text.strip("[]() ").split(",")])
    except ValueError:
        center = np.empty(0)
    if len(center) != latent_dim or not np.isfinite(center).all():
        raise InputError(
            f"center is {text!r}; expected {latent_dim} numbers with commas between, one for each "
            "dimension of the model."
        )
    return center
