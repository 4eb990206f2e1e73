"""A whole version in two dimensions: by the principal components of mu, or by UMAP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.explore.columns import CategoryColumn, NumberColumn
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.umap_places import has_umap, umap_places

MOST_POINTS = 300_000
"""A map of more items shows so many of them, evenly spread over the k-d order."""
MOST_COLORS = 20
"""So many values of a category have a color of their own."""
STEPS = 10
"""So many steps, with about as many points each, has a column of numbers."""
NO_COLOR = 255
"""The code of a point whose value is none of the legend's."""
_GREATEST = 65_535

Method = Literal["pca", "umap"]
METHODS: tuple[Method, ...] = get_args(Method)
"""Where nothing is said, the first."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a map is.

    Attributes:
        count: Points.
        items: Items of the version.
        method: How it was made.
        bounds: Least and greatest x, least and greatest y.
        axes: For pca, the two axes, n numbers each: x and y of z are their products with z - mean.
            None for umap.
        mean: For pca, n numbers.
        methods: What maps there can be.
    """

    count: int
    items: int
    method: Method
    bounds: tuple[float, float, float, float]
    axes: tuple[tuple[float, ...], tuple[float, ...]] | None
    mean: tuple[float, ...] | None
    methods: tuple[Method, ...]


class Colors(msgspec.Struct, frozen=True, kw_only=True):
    """What a column says of the points.

    Attributes:
        column: Its name.
        kind: ``category``, or ``number``, whose legend says where its steps begin.
        legend: The values, the most frequent first; or the steps, ascending.
        codes: An octet for each point, in base64: a place in the legend, 255 for none of these.
    """

    column: str
    kind: Literal["category", "number"]
    legend: tuple[str | bool | float, ...]
    codes: bytes


@dataclass(frozen=True)
class Map:
    """A map of a version.

    Attributes:
        description: What it is.
        rows: Which items the points are, shape (P,).
        points: Shape (P, 2) of uint16: 0 is the least of the bounds, 65535 the greatest.
    """

    description: Description
    rows: NDArray[np.int64]
    points: NDArray[np.uint16]

    @property
    def octets(self) -> bytes:
        """The points as x, y pairs, little-endian."""
        return self.points.astype("<u2").tobytes()

    def nearest(self, x: float, y: float) -> int:
        """Return the row of the item nearest to a place on the map.

        Raises:
            InputError: A number is not finite.
        """
        if not np.isfinite([x, y]).all():
            raise InputError(f"the place on the map is {x:g}, {y:g}; expected finite numbers.")
        x0, x1, y0, y1 = self.description.bounds
        scale = np.array([x1 - x0, y1 - y0]) / _GREATEST
        # Not in steps of the points, which are not of the same size in both directions.
        apart = self.points * scale - [x - x0, y - y0]
        return int(self.rows[np.square(apart).sum(axis=1).argmin()])


def methods() -> tuple[Method, ...]:
    """Return how maps can be made here: UMAP is another package's, and need not be there."""
    return ("pca", "umap") if has_umap() else ("pca",)


def make_map(table: LoadedTable, method: Method = "pca") -> Map:
    """Return a map of a version.

    Raises:
        InputError: UMAP is asked for, and is not installed.
        MapFailed: UMAP ended with an error.
    """
    step = -(-table.num_items // MOST_POINTS)
    rows = np.arange(step // 2, table.num_items, step)
    mu = table.posteriors(rows)[0].astype(np.float64)
    components = table.components
    axes, mean = None, None
    if method == "pca":
        pair = [*components.axes[:2]]
        if len(pair) == 1:
            # A model of one dimension has a map that is a line.
            pair.append((0.0,))
        axes, mean = (pair[0], pair[1]), components.mean
        places = (mu - np.array(mean)) @ np.array(axes).T
    else:
        places = umap_places(mu)
    low, high = places.min(axis=0), places.max(axis=0)
    high = np.where(high > low, high, low + 1.0)
    points = np.rint((places - low) / (high - low) * _GREATEST).astype(np.uint16)
    description = Description(
        count=len(rows),
        items=table.num_items,
        method=method,
        bounds=(float(low[0]), float(high[0]), float(low[1]), float(high[1])),
        axes=axes,
        mean=mean,
        methods=methods(),
    )
    return Map(description, rows, points)


def colors(table: LoadedTable, drawn: Map, column: str) -> Colors:
    """Return what a column says of the points of a map.

    Raises:
        InputError: There is no such column, or it is neither of numbers nor of few values.
    """
    kinds = {one.name: one for one in table.columns}
    if column not in kinds:
        raise InputError(
            f"column is {column!r}, which is no payload column of the table; found "
            f"{', '.join(kinds) or 'none'}."
        )
    values = table.payload.column(column).take(pa.array(drawn.rows)).combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    known = kinds[column]
    if isinstance(known, NumberColumn):
        return _of_numbers(column, values)
    if isinstance(known, CategoryColumn):
        return _of_values(column, values, known)
    raise InputError(
        f"column {column!r} has neither numbers nor few enough different values to color by."
    )


def _of_values(column: str, values: pa.Array, known: CategoryColumn) -> Colors:
    legend = tuple(one.value for one in known.values[:MOST_COLORS])
    places = pc.index_in(values, value_set=pa.array(legend, values.type))
    codes = pc.fill_null(places, NO_COLOR).to_numpy(zero_copy_only=False)
    return Colors(
        column=column, kind="category", legend=legend, codes=codes.astype(np.uint8).tobytes()
    )


def _of_numbers(column: str, values: pa.Array) -> Colors:
    if pa.types.is_decimal(values.type):
        # As text, for pyarrow's own conversion may be off by the last digit.
        values = pc.cast(values, pa.string())
    numbers = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    there = np.isfinite(numbers)
    codes = np.full(len(numbers), NO_COLOR, np.uint8)
    steps = np.empty(0)
    if there.any():
        # Values that many items have take up several steps, which then are one.
        steps = np.unique(np.quantile(numbers[there], np.arange(STEPS) / STEPS))
        codes[there] = np.searchsorted(steps, numbers[there], "right") - 1
    return Colors(column=column, kind="number", legend=tuple(steps.tolist()), codes=codes.tobytes())
