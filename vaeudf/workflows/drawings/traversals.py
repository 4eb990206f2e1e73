"""Traversals: points that differ in one or two latent dimensions, as a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.decoding.paths import check_dimension, grid
from vaeudf.errors import InputError
from vaeudf.model.bundle import Bundle
from vaeudf.pages.decode_page import Picture, Sheet
from vaeudf.pages.page import number
from vaeudf.pages.sheets import contact_sheet
from vaeudf.query.latents import Latents
from vaeudf.workflows.drawings.drawing import MOST_STEPS, NOTES, STEPS, Context, Drawn, check_sheet

ALL = "all"
_DEFAULT_RANGE = 3.0
_MOST_STEPS_OF_TWO = 25
# The page contains its pictures, so it shows only so many.
_MOST_IN_SHEET = 625


@dataclass(frozen=True)
class Traversal:
    """Points around a center that differ from it in one dimension or two.

    Attributes:
        dims: The dimension of the columns, and perhaps that of the rows; empty for one row for
            every dimension.
        steps: Pictures along each.
        bound: a of the range [-a, a]; by default the range of the model's training items.
        center: The center, as text; by default the origin.
        like: The item whose mu is the center.
    """

    dims: tuple[int, ...]
    steps: int = STEPS
    bound: float | None = None
    center: str | None = None
    like: str | None = None

    def __post_init__(self) -> None:
        check_sheet(self.steps, _MOST_STEPS_OF_TWO if len(self.dims) == 2 else MOST_STEPS)
        if self.bound is not None and not 0 < self.bound < np.inf:
            raise InputError(f"range is {self.bound}; expected a finite number above 0.")
        if self.center is not None and self.like is not None:
            raise InputError("expected --center or --like, not both: either is the middle.")

    def check(self, bundle: Bundle) -> None:
        """Check the dimensions and the center.

        Raises:
            InputError: The model has no such dimension, or the center has another length.
        """
        for dim in self.dims:
            check_dimension(dim, bundle.latent_dim)
        if self.center is not None:
            _parse_center(self.center, bundle.latent_dim)

    def draw(self, context: Context, folder: str | None) -> Drawn:
        """Decode the points; show them as a sheet.

        Raises:
            InputError: There is no such item.
        """
        center, around = self._find_center(context)
        points = self._points(center, self._ranges(context.bundle))
        num_rows, num_columns, n = points.shape
        if folder is not None:
            ids = [
                f"row-{i:03d}-column-{j:03d}" for i in range(num_rows) for j in range(num_columns)
            ]
            latents = Latents(tuple(ids), points.reshape(-1, n))
            context.write_pictures(context.frame_of(latents), len(ids), folder)
        num_shown = max(1, min(num_rows, _MOST_IN_SHEET // num_columns))
        names = " and ".join(f"z{dim}" for dim in self.dims) or "every dimension"
        title = f"Traversal of {names}, around {around}"
        section, sheet = self._show(context, points[:num_shown], title)
        hidden = num_rows - num_shown
        return Drawn(
            count=num_rows * num_columns,
            title=title,
            lead=self._lead(),
            sections=[section],
            notes=NOTES + (f" {hidden:,} further dimensions are not shown." if hidden else ""),
            sheet=sheet,
            facts={"rows": num_rows, "columns": num_columns},
        )

    def _find_center(self, context: Context) -> tuple[NDArray[np.float64], str]:
        """Return the center, shape (n,), and what it is in words."""
        if self.like is not None:
            return context.posteriors_of([self.like]).mu[0], f"mu of {self.like}"
        if self.center is not None:
            return _parse_center(self.center, context.bundle.latent_dim), "the given z"
        return np.zeros(context.bundle.latent_dim), "the origin"

    def _ranges(self, bundle: Bundle) -> list[tuple[float, float]]:
        """Return every dimension's first and last value."""
        stated = bundle.manifest.z_range
        if self.bound is None and stated is not None:
            return [(float(low), float(high)) for low, high in zip(*stated, strict=True)]
        bound = _DEFAULT_RANGE if self.bound is None else self.bound
        return [(-bound, bound)] * bundle.latent_dim

    def _points(
        self, center: NDArray[np.float64], ranges: Sequence[tuple[float, float]]
    ) -> NDArray[np.float64]:
        """Return the points of the sheet, shape (rows, columns, n)."""
        if self.dims:
            return grid(center, self.dims, [ranges[dim] for dim in self.dims], self.steps)
        rows = [grid(center, (dim,), (ranges[dim],), self.steps) for dim in range(len(center))]
        return np.concatenate(rows)

    def _show(
        self, context: Context, points: NDArray[np.float64], title: str
    ) -> tuple[Sheet, bytes]:
        """Return the page's sheet of points (rows, columns, n), and the same as a PNG file."""
        num_rows, num_columns, n = points.shape
        pixels = context.decode_here(points.reshape(-1, n))
        rows = [pixels[i * num_columns : (i + 1) * num_columns] for i in range(num_rows)]
        changing = [self.dims or (i,) for i in range(num_rows)]
        captions = [
            [number(point[changing[i][0]]) for point in row] for i, row in enumerate(points)
        ]
        pictures = [
            [
                Picture(
                    ", ".join(f"z{dim} = {number(point[dim])}" for dim in changing[i]),
                    picture,
                    note="" if self.dims else caption,
                )
                for point, picture, caption in zip(points[i], row, captions[i], strict=True)
            ]
            for i, row in enumerate(rows)
        ]
        row_labels, column_labels, corner = self._labels(points)
        sheet = contact_sheet(rows, title=title, row_labels=row_labels, captions=captions)
        section = Sheet(
            title="",
            text="",
            rows=pictures,
            row_labels=row_labels,
            column_labels=column_labels,
            corner=corner,
        )
        return section, sheet

    def _labels(self, points: NDArray[np.float64]) -> tuple[list[str], list[str], str]:
        if not self.dims:
            return [f"z{dim}" for dim in range(len(points))], [], ""
        columns = [number(value) for value in points[0, :, self.dims[0]]]
        if len(self.dims) == 1:
            return [f"z{self.dims[0]}"], columns, ""
        corner = f"z{self.dims[1]} ↓  z{self.dims[0]} →"
        return [number(value) for value in points[:, 0, self.dims[1]]], columns, corner

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
    """Return the dimensions to traverse; an empty tuple for ``all``.

    Raises:
        InputError: The text is not ``I``, ``I,J`` or ``all``.
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
