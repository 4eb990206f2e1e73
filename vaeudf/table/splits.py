"""Splits of a posterior table: consecutive row groups, which a task reads together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vaeudf.errors import InputError, TableError, root_cause
from vaeudf.numerics.boxes import Boxes
from vaeudf.schema import ITEM_ID, LOG_VAR, MU
from vaeudf.storage.locations import filesystem
from vaeudf.table.footers import RowGroup
from vaeudf.table.ids import ids_as_text
from vaeudf.table.snapshot import FileColumns
from vaeudf.table.vectors import to_matrix

Item = TypeVar("Item")

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class Split:
    """Consecutive row groups of one file.

    Attributes:
        file: The file's URI.
        indices: Their places in the file.
        num_rows: Their rows, without those that deletion vectors delete.
        box: The box around all their posteriors, one of length 1; None if one has none.
        deleted: The places of deleted rows among all that are stored in them, ascending.
        columns: What the file calls the table's columns; None if just so.
    """

    file: str
    indices: tuple[int, ...]
    num_rows: int
    box: Boxes | None
    deleted: NDArray[np.int64]
    columns: FileColumns | None


def join(groups: Sequence[RowGroup], num_rows: int) -> list[Split]:
    """Return row groups as splits; consecutive ones are joined up to this many rows."""
    splits: list[Split] = []
    waiting: list[RowGroup] = []
    for group in groups:
        last = waiting[-1] if waiting else None
        neighbours = last is not None and (
            (last.file, last.index + 1) == (group.file, group.index)
            and (last.box is None) == (group.box is None)
        )
        if waiting and (
            not neighbours or sum(g.num_rows for g in waiting) + group.num_rows > num_rows
        ):
            splits.append(_joined(waiting))
            waiting = []
        waiting.append(group)
    if waiting:
        splits.append(_joined(waiting))
    return splits


def _joined(groups: list[RowGroup]) -> Split:
    boxes = [group.box for group in groups if group.box is not None]
    firsts = np.cumsum([0, *(group.num_rows + len(group.deleted) for group in groups[:-1])])
    return Split(
        groups[0].file,
        tuple(group.index for group in groups),
        sum(group.num_rows for group in groups),
        Boxes.concatenate(boxes).coarsen(len(boxes)) if boxes else None,
        np.concatenate(
            [group.deleted + first for group, first in zip(groups, firsts, strict=True)]
        ),
        groups[0].columns,
    )


def spread(splits: list[Item], costs: NDArray[np.float64], num_tasks: int) -> list[list[Item]]:
    """Assign splits to tasks so that all tasks cost about the same.

    The most expensive split comes first, and each goes to the task with the least to do so far
    (longest processing time first).

    Args:
        splits: What to assign.
        costs: Of each split, (S,); in any unit.
        num_tasks: How many tasks there are.

    Returns:
        Each task's splits, in their order.
    """
    tasks: list[list[int]] = [[] for _ in range(num_tasks)]
    loads = np.zeros(num_tasks)
    for place in np.argsort(-costs, kind="stable"):
        least_loaded = int(loads.argmin())
        tasks[least_loaded].append(int(place))
        loads[least_loaded] += costs[place]
    return [[splits[place] for place in sorted(task)] for task in tasks]


class SplitReader:
    """Reads splits one after the other: first their posteriors, then what else is wanted.

    Attributes:
        num_read: How many row groups' posteriors were read.
        num_bytes: What was read of them, in the compressed bytes of the file.
        deleted: The places of deleted rows among those that were read last, ascending.
    """

    def __init__(
        self,
        latent_dim: int,
        columns: tuple[str, ...],
        expected: str = "the queries have",
        *,
        in_place: bool = False,
    ) -> None:
        """Start with nothing read.

        Args:
            latent_dim: Of the posteriors.
            columns: The payload columns that :meth:`items` reads.
            expected: What has this latent_dim, for messages.
            in_place: Whether deleted rows are read, too, and :attr:`deleted` says which they are.
                Without them, rows would not lie in aligned blocks, and bounds would exclude less.
        """
        self.deleted = _NONE
        self._in_place = in_place
        self._expected = expected
        self.num_read = 0
        self.num_bytes = 0
        self._latent_dim = latent_dim
        self._columns = [ITEM_ID, *columns]
        self._file: pq.ParquetFile | None = None
        self._uri = ""
        self._split: Split | None = None
        self._items: pa.Table | None = None

    def posteriors(self, split: Split) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return (mu, log_var) of a split, each (B, n).

        Raises:
            InputError: They are not of this latent_dim, or not finite.
            TableError: The file is not there any more, or is damaged.
        """
        self.deleted = split.deleted if self._in_place else _NONE
        file, table = self._read(split, [MU, LOG_VAR])
        self._split, self._items = split, None
        self.num_read += len(split.indices)
        self._count(file, split, [MU, LOG_VAR])
        with suppress(InputError):
            return self._matrices(table)
        if len(self.deleted):
            # Perhaps it is for their posteriors that rows were deleted.
            self.deleted = _NONE
            _, table = self._read(split, [MU, LOG_VAR])
            with suppress(InputError):
                return self._matrices(table)
        # Checked again with the ids, which were not read so far: the message names the item.
        names = self.items(np.arange(table.num_rows)).column(ITEM_ID)
        return self._matrices(table.append_column(ITEM_ID, names))

    def _matrices(self, table: pa.Table) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        return (
            to_matrix(table, MU, self._latent_dim, self._expected),
            to_matrix(table, LOG_VAR, self._latent_dim, self._expected),
        )

    def items(self, rows: NDArray[np.int64]) -> pa.Table:
        """Return ``item_id`` and payload of some rows of the split read last."""
        assert self._split is not None
        if self._items is None:
            # Only now: a split without a hit costs no more than its posteriors.
            file, table = self._read(self._split, self._columns)
            names = table.column(ITEM_ID)
            if names.null_count:
                raise InputError("the posteriors have an item_id that is null.")
            place = table.schema.get_field_index(ITEM_ID)
            texts = ids_as_text(names, "the posteriors have item_id")
            self._items = table.set_column(place, ITEM_ID, texts)
            # A folder's files may differ; what one of them lacks is null, as Spark reads it.
            there = [name for name in self._columns if name in table.column_names]
            self._items = self._items.select(there)
            self._count(file, self._split, self._columns)
        return self._items.take(pa.array(rows))

    def _read(self, split: Split, columns: list[str]) -> tuple[pq.ParquetFile, pa.Table]:
        try:
            file = self._open(split.file)
            names = columns if split.columns is None else split.columns.stored(columns)
            rows = file.read_row_groups(split.indices, columns=names)
        except (OSError, pa.ArrowException) as error:
            raise TableError(
                f"data file {split.file} cannot be read as Parquet ({root_cause(error)}). If the "
                "table was vacuumed since the query began, run it again; else the file is damaged: "
                "roll back to a version without it, or encode again with --full."
            ) from None
        if len(split.deleted) > len(self.deleted):
            live = np.ones(rows.num_rows, bool)
            live[split.deleted] = False
            rows = rows.filter(pa.array(live))
        return file, rows if split.columns is None else split.columns.declared(rows)

    def _open(self, uri: str) -> pq.ParquetFile:
        if self._file is None or self._uri != uri:
            system, inner = filesystem(uri)
            # Spark writes timestamps of any year as INT96, which nanoseconds do not hold.
            file = pq.ParquetFile(inner, filesystem=system, coerce_int96_timestamp_unit="us")
            self._file, self._uri = file, uri
        return self._file

    def _count(self, file: pq.ParquetFile, split: Split, names: list[str]) -> None:
        if split.columns is not None:
            names = split.columns.stored(names)
        for index in split.indices:
            group = file.metadata.row_group(index)
            for column in map(group.column, range(group.num_columns)):
                if column.path_in_schema.split(".")[0] in names:
                    self.num_bytes += column.total_compressed_size
