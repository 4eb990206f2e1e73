"""Counts of what the tasks of a run did, brought back to the driver."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark import Accumulator


@dataclass(frozen=True)
class PictureCounts:
    """What tasks have read of the items' pictures; a task that was run twice counts twice.

    Attributes:
        pictures: Items whose pictures were wanted.
        unreadable: Those of them whose pictures could not be read.
    """

    pictures: Accumulator[int]
    unreadable: Accumulator[int]

    def add(self, *, pictures: int, unreadable: int) -> None:
        """Count, within a task."""
        self.pictures.add(pictures)
        self.unreadable.add(unreadable)


@dataclass(frozen=True)
class Counts:
    """What the tasks of a bulk query have done; a task that was run twice counts twice.

    Attributes:
        scored: Pairs of query and item that were scored.
        row_groups: Row groups read.
        num_bytes: Bytes of them, compressed.
        rows_out: Rows that left the tasks.
        num_items: Items that came to the tasks.
    """

    scored: Accumulator[int]
    row_groups: Accumulator[int]
    num_bytes: Accumulator[int]
    rows_out: Accumulator[int]
    num_items: Accumulator[int]

    def add(
        self,
        *,
        scored: int = 0,
        row_groups: int = 0,
        num_bytes: int = 0,
        rows_out: int = 0,
        num_items: int = 0,
    ) -> None:
        """Count, within a task."""
        self.scored.add(scored)
        self.row_groups.add(row_groups)
        self.num_bytes.add(num_bytes)
        self.rows_out.add(rows_out)
        self.num_items.add(num_items)
