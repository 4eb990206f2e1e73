"""Read the posterior table's row groups, each when a task needs it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.fold import to_matrix
from vaeudf.footers import RowGroup
from vaeudf.schema import ITEM_ID, LOG_VAR, MU
from vaeudf.storage import filesystem


class SplitReader:
    """Reads row groups one after the other: first their posteriors, then what else is wanted.

    Attributes:
        num_read: How many row groups' posteriors were read.
        num_bytes: What was read of them, in the compressed bytes of the file.
    """

    def __init__(self, latent_dim: int, columns: tuple[str, ...]) -> None:
        """Take the posteriors' latent_dim and the payload columns that :meth:`items` reads."""
        self.num_read = 0
        self.num_bytes = 0
        self._latent_dim = latent_dim
        self._columns = [ITEM_ID, *columns]
        self._file: pq.ParquetFile | None = None
        self._uri = ""
        self._group: RowGroup | None = None
        self._items: pa.Table | None = None

    def posteriors(self, group: RowGroup) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return (mu, log_var) of a row group, each (B, n).

        Raises:
            InputError: They are not of this latent_dim, or not finite.
        """
        file = self._open(group.file)
        table = file.read_row_group(group.index, columns=[MU, LOG_VAR])
        self._group, self._items = group, None
        self.num_read += 1
        self._count(file, group, [MU, LOG_VAR])
        return (
            to_matrix(table, MU, self._latent_dim),
            to_matrix(table, LOG_VAR, self._latent_dim),
        )

    def items(self, rows: NDArray[np.int64]) -> pa.Table:
        """Return ``item_id`` and payload of some rows of the row group read last."""
        assert self._group is not None
        if self._items is None:
            # Only now: a row group without a hit costs no more than its posteriors.
            file = self._open(self._group.file)
            table = file.read_row_group(self._group.index, columns=self._columns)
            names = table.column(ITEM_ID)
            if names.null_count:
                raise InputError("the posteriors have an item_id that is null.")
            place = table.schema.get_field_index(ITEM_ID)
            self._items = table.set_column(place, ITEM_ID, names.cast(pa.string()))
            self._items = self._items.select(self._columns)
            self._count(file, self._group, self._columns)
        return self._items.take(pa.array(rows))

    def _open(self, uri: str) -> pq.ParquetFile:
        if self._file is None or self._uri != uri:
            system, inner = filesystem(uri)
            self._file, self._uri = pq.ParquetFile(inner, filesystem=system), uri
        return self._file

    def _count(self, file: pq.ParquetFile, group: RowGroup, names: list[str]) -> None:
        metadata = file.metadata.row_group(group.index)
        for place in range(metadata.num_columns):
            column = metadata.column(place)
            if column.path_in_schema.split(".")[0] in names:
                self.num_bytes += column.total_compressed_size
