"""Sums of e^value by query and by what a payload column says, in a task."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vaeudf.query.above import Items

# Sums that may wait to be added to each other, at some 50 bytes each while they are sorted; and
# the different values that a task holds for them. What is more leaves the task, to be added later.
_WAITING = 2**21
_VALUES = 2**18
_ROWS_PER_BATCH = 65_536

_Sums = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


class ValueSums:
    """Takes pairs, and keeps a sum for each query and each value of a column; null is a value.

    A sum is kept as (largest, scaled): the largest of its numbers, and the sum of
    e^(number - largest), so that none overflows and none vanishes. Memory does not depend on how
    many queries and values there are: sums that are too many leave the task unfinished.
    """

    def __init__(
        self,
        ids: tuple[str, ...],
        column: str,
        log_skipped: NDArray[np.float64],
        schema: pa.Schema,
    ) -> None:
        """Start with no sums.

        Args:
            ids: The queries' names.
            column: Which payload column.
            log_skipped: Log of what the items that are no pairs may add to each query's sums, (Q,).
            schema: Of what is yielded: the query's name, a value of the column, largest, scaled and
                log_skipped.
        """
        self._ids = pa.array(ids, pa.string())
        self._column = column
        self._log_skipped = log_skipped
        self._schema = schema
        self._forget()

    def _forget(self) -> None:
        self._values = pa.array([], self._schema.field(1).type)
        self._waiting: list[_Sums] = []
        self._num_waiting = 0

    def begin(self, mu: NDArray[np.floating], log_var: NDArray[np.floating], items: Items) -> None:
        """Hear of a chunk of items."""
        self._items, self._num_rows = items, len(mu)
        self._codes: NDArray[np.int64] | None = None

    def take(
        self, queries: NDArray[np.int64], values: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> Iterator[pa.RecordBatch]:
        """Add a chunk's pairs; yield sums if there are too many of them."""
        if self._codes is None:
            # Only now: a chunk without pairs needs no payload.
            self._codes = self._read_codes()
        counted = np.flatnonzero(values > -np.inf)
        queries, values = queries[counted], values[counted]
        codes = self._codes[rows[counted]]
        if len(values) == 0:
            return
        # Dense where most queries have most values, else by what there is.
        (q, first), (v, low) = _range(queries), _range(codes)
        keys = (queries - first) * v + (codes - low)
        if q * v <= 2 * len(keys):
            own = _summed(keys, values, q * v)
            there = np.flatnonzero(own[0] > -np.inf)
            largest, scaled = own[0][there], own[1][there]
        else:
            there, at = np.unique(keys, return_inverse=True)
            largest, scaled = _summed(at, values, len(there))
        self._waiting.append((_key(there // v + first, there % v + low), largest, scaled))
        self._num_waiting += len(there)
        if self._num_waiting > _WAITING:
            self._merge()
            if self._num_waiting > _WAITING // 2:
                yield from self._leaving()
        if len(self._values) > _VALUES:
            yield from self._leaving()

    def end(self) -> Iterator[pa.RecordBatch]:
        """Yield the sums that are left."""
        yield from self._leaving()

    def _read_codes(self) -> NDArray[np.int64]:
        """Return the place of each row's value among all values so far, with those of the chunk."""
        items = self._items(np.arange(self._num_rows))
        kind = self._values.type
        if self._column in items.column_names:
            own = items.column(self._column).cast(kind).combine_chunks()
        else:
            # What a file of plain Parquet lacks is null.
            own = pa.nulls(self._num_rows, kind)
        encoded = pc.dictionary_encode(own, null_encoding="encode")
        known = pc.index_in(encoded.dictionary, value_set=self._values)
        new = encoded.dictionary.filter(pc.is_null(known))
        places = pc.fill_null(known, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        places[places < 0] = len(self._values) + np.arange(len(new))
        self._values = pa.concat_arrays([self._values, new])
        return np.asarray(places[encoded.indices.to_numpy(zero_copy_only=False)])

    def _merge(self) -> None:
        """Add up sums of the same query and value."""
        keys, largest, scaled = (
            np.concatenate(arrays) for arrays in zip(*self._waiting, strict=True)
        )
        there, at = np.unique(keys, return_inverse=True)
        both = np.full(len(there), -np.inf)
        np.maximum.at(both, at, largest)
        total = _added(at, scaled * np.exp(largest - both[at]), len(there))
        self._waiting, self._num_waiting = [(there, both, total)], len(there)

    def _leaving(self) -> Iterator[pa.RecordBatch]:
        if self._waiting:
            self._merge()
            ((keys, largest, scaled),) = self._waiting
            for start in range(0, len(keys), _ROWS_PER_BATCH):
                some = slice(start, start + _ROWS_PER_BATCH)
                queries = keys[some] >> 32
                columns = [
                    self._ids.take(pa.array(queries)),
                    self._values.take(pa.array(keys[some] & 0xFFFFFFFF)),
                    pa.array(largest[some]),
                    pa.array(scaled[some]),
                    pa.array(self._log_skipped[queries]),
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=self._schema)
        self._forget()
        # The rest of a chunk is of values that are not known any more.
        self._codes = None


def _range(numbers: NDArray[np.int64]) -> tuple[int, int]:
    """Return how many numbers there are from the least to the greatest, and the least."""
    least = int(numbers.min())
    return int(numbers.max()) - least + 1, least


def _key(queries: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(queries << 32 | codes)


def _summed(
    at: NDArray[np.int64], values: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest value at each of some places, and the sum of e^(value - largest)."""
    largest = np.full(count, -np.inf)
    np.maximum.at(largest, at, values)
    return largest, _added(at, np.exp(values - largest[at]), count)


def _added(at: NDArray[np.int64], numbers: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return np.bincount(at, numbers, count).astype(np.float64, copy=False)
