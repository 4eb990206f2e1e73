"""The pictures of a table's items, by row: what those of a catalog and those of a table share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vaeudf.images.decode import ImageFailure

Picture = bytes | NDArray[np.uint8] | ImageFailure
"""An image file's bytes, pixels of shape (H, W, C), or why there is neither."""


class ItemPictures(Protocol):
    """Reads the pictures of a table's items; several threads may ask at once."""

    def picture(self, row: int) -> Picture:
        """Return the picture of the item in a row, as whoever named the items numbers them."""

    def sample(self, rows: Sequence[int]) -> Iterator[tuple[int, Picture]]:
        """Yield the pictures of some rows, each after its row, in the order that is best to read.

        Who asks for others meanwhile waits for one of these at most.
        """
        for row in rows:
            yield row, self.picture(row)
