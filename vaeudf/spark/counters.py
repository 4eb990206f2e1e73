"""Counts of what the tasks of a run did, brought back to the driver.

Spark in this process brings them back by accumulators, which Spark Connect does not have. There
each task ends with a row of counts, which Spark sums up as observed metrics
(:mod:`vaeudf.spark.tasks`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Protocol


class Count(Protocol):
    """A number that tasks add to."""

    @property
    def value(self) -> int:
        """What the tasks have added, on the driver, once their rows were asked for."""

    def add(self, term: int) -> None:
        """Add, within a task."""


class RowCount:
    """A count that comes back in a row of each task.

    Attributes:
        here: What has been added in this process.
    """

    def __init__(self) -> None:
        """Begin at 0."""
        self.here = 0
        self._told: list[Callable[[], int]] = []

    @property
    def value(self) -> int:
        """What the tasks have added, on the driver."""
        return sum(tell() for tell in self._told)

    def add(self, term: int) -> None:
        """Add, within a task."""
        self.here += term

    def hear(self, tell: Callable[[], int]) -> None:
        """Take what tells the sum of a DataFrame's rows of counts."""
        self._told.append(tell)

    def __getstate__(self) -> dict[str, Any]:
        return {"here": 0, "_told": []}  # a task begins at 0, and is told nothing


@dataclass(frozen=True)
class TaskCounts:
    """Several counts of the same tasks."""

    def in_rows(self) -> dict[str, RowCount]:
        """Return those that come back in rows, by name: all of them or none."""
        counts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: count for name, count in counts.items() if isinstance(count, RowCount)}


@dataclass(frozen=True)
class PictureCounts(TaskCounts):
    """What tasks have read of the items' pictures; a task that was run twice may count twice.

    Attributes:
        pictures: Items whose pictures were wanted.
        unreadable: Those of them whose pictures could not be read.
    """

    pictures: Count
    unreadable: Count

    def add(self, *, pictures: int, unreadable: int) -> None:
        """Count, within a task."""
        self.pictures.add(pictures)
        self.unreadable.add(unreadable)


@dataclass(frozen=True)
class Counts(TaskCounts):
    """What the tasks of a bulk query have done; a task that was run twice may count twice.

    Attributes:
        scored: Pairs of query and item that were scored.
        row_groups: Row groups read.
        num_bytes: Bytes of them, compressed.
        rows_out: Rows that left the tasks.
        num_items: Items that came to the tasks.
    """

    scored: Count
    row_groups: Count
    num_bytes: Count
    rows_out: Count
    num_items: Count

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
