"""The whole table in two dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.explore.loaded_table import LoadedTable


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a map is.

    Attributes:
        count: Points, one for each item.
        method: How it was made.
        bounds: Least and greatest x, least and greatest y.
        axes: For pca, the two axes, of n numbers each: x and y of z are their products with
            z - mean. None for umap.
        mean: For pca.
    """

    count: int
    method: Literal["pca", "umap"]
    bounds: tuple[float, float, float, float]
    axes: tuple[tuple[float, ...], tuple[float, ...]] | None
    mean: tuple[float, ...] | None


class Colors(msgspec.Struct, frozen=True, kw_only=True):
    """What a column says of the points.

    Attributes:
        column: Its name.
        legend: The values; a point's code is a place in it, 255 for none of them.
        codes: Of the points, an octet each, base64.
    """

    column: str
    legend: tuple[str | bool, ...]
    codes: bytes


@dataclass(frozen=True)
class Map:
    """A map of a table.

    Attributes:
        description: What it is.
        points: Shape (N, 2) of uint16, by row: 0 is the least of the bounds, 65535 the greatest.
    """

    description: Description
    points: NDArray[np.uint16]

    @property
    def octets(self) -> bytes:
        """The points as x, y pairs, little-endian."""
        return self.points.astype("<u2").tobytes()

    def nearest(self, x: float, y: float) -> int:
        """Return the row of the item nearest to a place on the map."""
        x0, x1, y0, y1 = self.description.bounds
        at = np.array([(x - x0) / (x1 - x0), (y - y0) / (y1 - y0)]) * 65535
        return int(np.square(self.points - at).sum(axis=1).argmin())


def make_map(table: LoadedTable) -> Map:
    """Return the map of a table by the first two principal components of mu."""
    raise NotImplementedError


def colors(table: LoadedTable, column: str) -> Colors:
    """Return what a column says of the points.

    Raises:
        InputError: There is no such column, or it has too many values.
    """
    values = table.payload.column(column).combine_chunks()
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    raise NotImplementedError(str(encoded.type))
