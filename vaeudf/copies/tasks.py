"""A task of the search for copies: the pairs of its share, and with those of other shares.

What leaves a task is no more than two edges for each item that has a copy: they connect what the
pairs connect. The pairs themselves leave it only where they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.copies.forest import Forest
from vaeudf.copies.join import Coordinates, Items, Pairs
from vaeudf.copies.shares import Shares
from vaeudf.copies.threshold import Threshold
from vaeudf.errors import InputError
from vaeudf.numerics.boxes import Boxes
from vaeudf.table.splits import SplitReader

# A row is an edge, a pair if it has a divergence, or what a task has done if it has ``pairs``.
SCHEMA = pa.schema(
    [
        ("one", pa.int64()),
        ("other", pa.int64()),
        ("divergence", pa.float64()),
        ("pairs", pa.int64()),
        ("compared", pa.int64()),
        ("rows_read", pa.int64()),
    ]
)

_ROWS_PER_BATCH = 65_536
# Numbers of other shares' items that are compared together.
_NUMBERS_WAITING = 2**22


@dataclass(frozen=True)
class Task:
    """What tasks are to find.

    Attributes:
        shares: The table in shares.
        threshold: How near a pair is.
        max_pairs: How many pairs a task may find; of equal items one counts, unless all pairs are
            wanted.
        wants_pairs: Whether the pairs are wanted, and not only what they connect.
    """

    shares: Shares
    threshold: Threshold
    max_pairs: int
    wants_pairs: bool

    def rows(self, number: int) -> Iterator[pa.RecordBatch]:
        """Yield what a share's task finds.

        Raises:
            InputError: There are too many pairs, or posteriors that are none.
        """
        yield from _Search(self, number).rows()


class _Search:
    """The search of one share."""

    def __init__(self, task: Task, number: int) -> None:
        self._task = task
        self._number = number
        self._reader = SplitReader(task.shares.latent_dim, (), "the table's first item has")
        self._pairs = self._compared = self._rows_read = 0
        # Of equal items one stands for all, unless all pairs are wanted.
        self._limited = 0
        self._edges: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def rows(self) -> Iterator[pa.RecordBatch]:
        shares, threshold = self._task.shares, self._task.threshold
        own = shares.own(self._number)
        if len(own) == 0:
            return
        parts = [self._read(place) for place in own]
        mu, log_var = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        del parts
        numbers = shares.starts[own.start] + np.arange(len(mu))
        coordinates = Coordinates.of(threshold, mu, log_var, shares.widest())
        items = Items(coordinates, mu, log_var)
        box = Boxes.of_blocks(mu, log_var, len(mu))
        del mu, log_var
        forest = Forest(len(items))
        forest.connect(items.distinct[items.firsts], np.arange(len(items)))
        yield from self._equal_pairs(items, numbers)
        for pairs in items.near_pairs():
            yield from self._take(pairs, items, numbers, items, numbers)
            forest.connect(items.distinct[pairs.one], items.distinct[pairs.other])
        for others, their_numbers in self._others(coordinates, box):
            yield from self._join(forest, items, numbers, others, their_numbers)
        roots = forest.roots()
        bound = np.flatnonzero(roots != np.arange(len(roots)))
        self._edges.append((numbers[roots[bound]], numbers[bound]))
        for one, other in self._edges:
            yield from _batches(one=one, other=other)
        yield from _batches(
            pairs=np.array([self._pairs]),
            compared=np.array([self._compared]),
            rows_read=np.array([self._rows_read]),
        )

    def _read(self, place: int) -> tuple[NDArray[Any], NDArray[Any]]:
        mu, log_var = self._reader.posteriors(self._task.shares.splits[place])
        self._rows_read += len(mu)
        return mu, log_var

    def _others(
        self, coordinates: Coordinates, box: Boxes
    ) -> Iterator[tuple[Items, NDArray[np.int64]]]:
        """Yield the items of other shares that some own one may be near to, and their numbers."""
        shares = self._task.shares
        waiting: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]] = []

        def joined() -> tuple[Items, NDArray[np.int64]]:
            mu, log_var, numbers = (np.concatenate(part) for part in zip(*waiting, strict=True))
            waiting.clear()
            return Items(coordinates, mu, log_var), numbers

        around = self._task.threshold.around(box)
        for place in shares.others(self._number, self._task.threshold):
            mu, log_var = self._read(place)
            outside = (mu < around.mu_min) | (mu > around.mu_max)
            outside |= (log_var < around.log_var_min) | (log_var > around.log_var_max)
            near = np.flatnonzero(~outside.any(axis=1))
            if len(near):
                waiting.append((mu[near], log_var[near], shares.starts[place] + near))
            if sum(part[0].size for part in waiting) >= _NUMBERS_WAITING:
                yield joined()
        if waiting:
            yield joined()

    def _join(
        self,
        forest: Forest,
        items: Items,
        numbers: NDArray[np.int64],
        others: Items,
        their_numbers: NDArray[np.int64],
    ) -> Iterator[pa.RecordBatch]:
        """Compare the share's items with others, which only lend the forest their places."""
        size = len(items)
        forest.extend(len(others))
        for pairs in items.near_pairs(others):
            yield from self._take(pairs, items, numbers, others, their_numbers)
            forest.connect(items.distinct[pairs.one], size + others.distinct[pairs.other])
        # The roots are own items, for these come first.
        roots = forest.roots()[size:]
        bound = np.flatnonzero(roots < size)
        self._edges.append((numbers[roots[bound]], their_numbers[bound]))
        forest.truncate(size)

    def _equal_pairs(self, items: Items, numbers: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """Count the pairs of equal items, and yield them if they are wanted."""
        found = int((items.counts * (items.counts - 1) // 2).sum())
        self._pairs += found
        if not self._task.wants_pairs:
            return
        self._limit(found)
        order, starts = items.by_distinct
        for place in np.flatnonzero(items.counts > 1):
            rows = np.sort(order[starts[place] : starts[place] + items.counts[place]])
            for at, row in enumerate(rows[:-1]):
                others = numbers[rows[at + 1 :]]
                one = np.full(len(others), numbers[row])
                yield from _batches(one=one, other=others, divergence=np.zeros(len(others)))

    def _take(
        self,
        pairs: Pairs,
        items: Items,
        numbers: NDArray[np.int64],
        others: Items,
        their_numbers: NDArray[np.int64],
    ) -> Iterator[pa.RecordBatch]:
        """Count pairs of distinct items, and yield those of all if they are wanted."""
        self._compared += pairs.compared
        mine, theirs = items.counts[pairs.one], others.counts[pairs.other]
        found = int((mine * theirs).sum())
        self._pairs += found
        self._limit(found if self._task.wants_pairs else len(mine))
        if not self._task.wants_pairs:
            return
        (order, starts), (their_order, their_starts) = items.by_distinct, others.by_distinct
        for begin in range(0, len(mine), _ROWS_PER_BATCH):
            some = slice(begin, begin + _ROWS_PER_BATCH)
            each = np.arange(len(mine))[some]
            times = (mine * theirs)[some]
            pair = np.repeat(each, times)
            turn = np.arange(len(pair)) - np.repeat(np.cumsum(times) - times, times)
            one = order[starts[pairs.one[pair]] + turn // theirs[pair]]
            other = their_order[their_starts[pairs.other[pair]] + turn % theirs[pair]]
            yield from _batches(
                one=numbers[one], other=their_numbers[other], divergence=pairs.values[pair]
            )

    def _limit(self, found: int) -> None:
        self._limited += found
        if self._limited > self._task.max_pairs:
            raise too_many(self._task, self._limited, self._rows_read)


def too_many(task: Task, found: int, rows: int) -> InputError:
    """Return the error that says that there are too many pairs.

    Args:
        task: What was to be found.
        found: How many were found so far.
        rows: Among how many items.
    """
    threshold = task.threshold
    return InputError(
        f"nats is {threshold.nats:g}, within which {found:,} pairs were found so far, among "
        f"{rows:,} of {int(task.shares.starts[-1]):,} items; expected at most "
        f"{task.max_pairs:,}. Items that are no copies are as near as that, or thousands have the "
        "same picture: lower --nats, or allow more with --max-pairs."
    )


def _batches(**columns: NDArray[Any]) -> Iterator[pa.RecordBatch]:
    """Yield rows of some columns; the others are null."""
    length = len(next(iter(columns.values())))
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(length, field.type)
        for field in SCHEMA
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
    for begin in range(0, length, _ROWS_PER_BATCH):
        yield batch.slice(begin, _ROWS_PER_BATCH)
