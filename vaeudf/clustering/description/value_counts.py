"""How many items of each cluster have each value of a column, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_Counts = NDArray[np.int64]

# Values that are counted at a time, the counts of all values and clusters, and the bytes of values.
_MOST_VALUES, _MOST_COUNTS, _MOST_BYTES = 2**16, 2**22, 2**24
# So many values wait before they are counted.
_WAITING = 2**17

MOST_NUMBERS = 20
"""A column of whole numbers with more different ones is one of quantities, and not of kinds."""


@dataclass
class ValueCounts:
    """Counts of the items of k clusters by value; an item with a list counts once for each value.

    Exact while there are no more values than ``limit``, and no more text than 16 MiB. Beyond that
    the rarest values are forgotten, half of them at a time, as lossy counting does (Manku and
    Motwani, 2002; here the memory is fixed, and not the error), and ``missed`` adds up the largest
    number of items that a forgotten value had: no count is too high, and none is too low by more.
    Which values these are depends then on how the items are cut into parts.

    Attributes:
        values: Which values, m of them.
        counts: Items of each cluster that have it, (m, k).
        nulls: Items of each cluster without any value, (k,).
        limit: How many values are counted.
        missed: By how much a count may be too low.
        forgets: Whether the rarest are forgotten where there are too many; if not, all are.
        given_up: Whether there were too many, and all are forgotten.
    """

    values: pa.Array
    counts: _Counts
    nulls: _Counts
    limit: int
    missed: int = 0
    forgets: bool = True
    given_up: bool = False

    def __post_init__(self) -> None:
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        # Not after each batch: to look values up, a table of all there are is made.
        self._waiting: list[tuple[pa.Array, NDArray[np.int32]]] = []
        self._num_waiting = self._bytes_waiting = 0

    @classmethod
    def empty(cls, kind: pa.DataType, k: int) -> ValueCounts:
        """Return the counts of no items.

        Args:
            kind: Of the values; of whole numbers only few are counted, and otherwise none.
            k: How many clusters.
        """
        whole = pa.types.is_integer(kind)
        limit = MOST_NUMBERS if whole else max(MOST_NUMBERS, min(_MOST_VALUES, _MOST_COUNTS // k))
        return cls(
            values=pa.array([], kind),
            counts=np.zeros((0, k), np.int64),
            nulls=np.zeros(k, np.int64),
            limit=limit,
            forgets=not whole,
        )

    @property
    def exact(self) -> bool:
        """Whether no value was forgotten."""
        return self.missed == 0 and not self.given_up

    @property
    def totals(self) -> _Counts:
        """Items of all clusters that have each value, (m,)."""
        return np.asarray(self.counts.sum(axis=1))

    def add(self, clusters: NDArray[np.int32], column: pa.Array) -> None:
        """Take in items.

        Args:
            clusters: Of each item, (B,).
            column: Their values, or lists of values, B of them.
        """
        k = len(self.nulls)
        self.nulls += np.bincount(clusters[_missing(column)], minlength=k)
        if self.given_up:
            return
        rows, values = _rows_and_values(column)
        self._waiting.append((values, clusters[rows]))
        self._num_waiting += len(values)
        self._bytes_waiting += values.nbytes
        if self._num_waiting > _WAITING or self._bytes_waiting > _MOST_BYTES:
            self._count()

    def _count(self) -> None:
        """Count what waits."""
        if not self._waiting:
            return
        k = len(self.nulls)
        encoded = pc.dictionary_encode(pa.concat_arrays([values for values, _ in self._waiting]))
        clusters = np.concatenate([clusters for _, clusters in self._waiting])
        self._begin_waiting()
        places = self._places(encoded.dictionary)[encoded.indices.to_numpy(zero_copy_only=False)]
        keys = places * k + clusters
        flat = self.counts.reshape(-1)
        if len(flat) <= _WAITING:
            flat += np.bincount(keys, minlength=len(flat))
        else:
            keys, added = np.unique(keys, return_counts=True)
            flat[keys] += added
        self._keep_within_limits()

    def merge(self, other: ValueCounts) -> None:
        """Take in the counts of other items."""
        self._count()
        self.nulls = self.nulls + other.nulls
        self.missed += other.missed
        self.given_up |= other.given_up
        if not self.given_up:
            places = self._places(other.values)
            self.counts[places] += other.counts
        self._keep_within_limits()

    def _places(self, values: pa.Array) -> NDArray[np.int64]:
        """Return the places of values that differ, with those that are new at the end."""
        known = pc.index_in(values, value_set=self.values)
        new = values.filter(pc.is_null(known))
        places: _Counts = pc.fill_null(known, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        places[places < 0] = len(self.values) + np.arange(len(new))
        if len(new):
            self.values = pa.concat_arrays([self.values, new])
            more = np.zeros((len(new), self.counts.shape[1]), np.int64)
            self.counts = np.concatenate([self.counts, more])
        return places

    def _keep_within_limits(self) -> None:
        if self.given_up or (not self.forgets and len(self.values) > self.limit):
            self.given_up = True
            self._keep(np.empty(0, np.int64))
            return
        # Up to twice as many, so that values are not sorted after each batch.
        if len(self.values) > 2 * self.limit or self.values.nbytes > 2 * _MOST_BYTES:
            self._forget(self.limit)

    def settle(self) -> None:
        """Count what waits, and forget what is beyond the limits, before the counts are sent."""
        self._count()
        if self.forgets and (len(self.values) > self.limit or self.values.nbytes > _MOST_BYTES):
            self._forget(self.limit)

    def _forget(self, most: int) -> None:
        totals = self.totals
        order = np.argsort(-totals, kind="stable")
        kept = order[:most]
        while len(kept) > 1 and self.values.take(pa.array(kept)).nbytes > _MOST_BYTES:
            kept = kept[: len(kept) // 2]
        if len(kept) < len(order):
            self.missed += int(totals[order[len(kept)]])
            self._keep(np.sort(kept))

    def _keep(self, places: NDArray[np.int64]) -> None:
        self.values = self.values.take(pa.array(places))
        self.counts = self.counts[places]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _missing(column: pa.Array) -> NDArray[np.bool_]:
    """Return which items have no value: null, or a list without any, (B,)."""
    missing = column.is_null().to_numpy(zero_copy_only=False)
    if not _is_list(column.type):
        return np.asarray(missing)
    rows = pc.list_parent_indices(column).filter(column.flatten().is_valid())
    some = np.bincount(rows.to_numpy(zero_copy_only=False), minlength=len(column)) > 0
    return np.asarray(~some)


def _rows_and_values(column: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """Return the row of each value that is not null, and the values; of a list each one once."""
    if not _is_list(column.type):
        rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        return rows, column.drop_null()
    there = column.flatten().is_valid()
    rows = pc.list_parent_indices(column).filter(there).to_numpy(zero_copy_only=False)
    encoded = pc.dictionary_encode(column.flatten().filter(there))
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    rows, codes = np.unique(np.stack([rows, codes]).astype(np.int64), axis=1)
    return rows, encoded.dictionary.take(pa.array(codes))
