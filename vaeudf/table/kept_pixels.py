"""The pictures that a table keeps of its items, by row."""

from __future__ import annotations

from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vaeudf.images.decode import ImageFailure
from vaeudf.images.item_pictures import ItemPictures, Picture
from vaeudf.schema import ITEM_ID
from vaeudf.table.footers import RowGroup, read_row_groups
from vaeudf.table.open import PosteriorTable
from vaeudf.table.pixel_files import PixelFile, find_pixel_files, kept_shape
from vaeudf.table.splits import SplitReader, join

# Rows that are read together.
_ROWS_PER_SPLIT = 2**18


class KeptPixels(ItemPictures):
    """The pictures that a table keeps beside its data files, as the model's encoder got them."""

    def __init__(self, table: PosteriorTable, ids: pa.Array) -> None:
        """Find the pixel files.

        Args:
            table: The version.
            ids: Its items, by the rows that are asked for.

        Raises:
            TableError: The table does not say of what shape its pictures are, or a file cannot be
                read.
        """
        self._shape = None if table.version is None else kept_shape(table.provenance)
        kept = {} if self._shape is None else find_pixel_files(table.uri, table.files)
        self.num_files = len(kept)
        self.is_complete = bool(kept) and len(kept) == len(table.files)
        """Whether all items have pictures."""
        self._kept = {uri: file.uri for uri, file in kept.items()}
        self._groups = _placed(read_row_groups(table.snapshot)) if kept else []
        self._places: NDArray[np.int64] | None = None
        if any(group.num_rows and group.box is None for group, _ in self._groups):
            # Rows that others have added are in any order, and are asked for in another.
            found = pc.index_in(ids, value_set=_names(table, [group for group, _ in self._groups]))
            self._places = pc.fill_null(found, -1).to_numpy().astype(np.int64)
        self._ends = np.cumsum([group.num_rows for group, _ in self._groups], dtype=np.int64)
        self._files: dict[str, PixelFile] = {}
        self._lock = Lock()

    def picture(self, row: int) -> Picture:
        """Return the picture of the item in a row.

        Raises:
            TableError: A pixel file is gone or damaged.
        """
        row = row if self._places is None else int(self._places[row])
        number = int(np.searchsorted(self._ends, row, side="right"))
        uri = self._kept.get(self._groups[number][0].file) if number < len(self._groups) else None
        if uri is None:
            return ImageFailure("missing", "the table keeps no pixels of it.")
        group, first = self._groups[number]
        place = row - (int(self._ends[number]) - group.num_rows)
        stored = first + int(group.stored_places(np.array([place]))[0])
        with self._lock:
            if uri not in self._files:
                self._files[uri] = PixelFile(uri, self._shape)
            found: NDArray[np.uint8] = self._files[uri].rows([stored])[0]
        return found


def _names(table: PosteriorTable, groups: list[RowGroup]) -> pa.Array:
    """Return the item_ids of a version in the order of its files."""
    reader = SplitReader(table.latent_dim, (), "the table has")
    parts = []
    for split in join([group for group in groups if group.num_rows], _ROWS_PER_SPLIT):
        reader.posteriors(split)
        parts += reader.items(np.arange(split.num_rows)).column(ITEM_ID).chunks
    return pa.concat_arrays(parts)


def _placed(groups: list[RowGroup]) -> list[tuple[RowGroup, int]]:
    """Return row groups, and the number of the first row of each in its file, deleted ones too."""
    found, file, first = [], "", 0
    for group in groups:
        first = first if group.file == file else 0
        found.append((group, first))
        file, first = group.file, first + group.num_rows + len(group.deleted)
    return found
