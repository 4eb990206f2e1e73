"""Merging partial results: the best items of each query, value descending, then id ascending."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from vaeudf.gaussian.checks import check_k
from vaeudf.query.per_value import Per
from vaeudf.schema import ITEM_ID

# Candidates that may wait to be merged. Merging sorts all there are: the fewer times the better.
_WAITING = 2**17


class TopK:
    """The running top-k of Q queries over candidates that arrive in batches.

    The result does not depend on how the candidates are cut into batches or in which order these
    arrive; memory is that of Q · k rows and one batch.

    Attributes:
        k: How many items per query.
        floors: Values below which nothing can be among the k best any more, shape (Q,). They rise
            as candidates arrive, in steps.
    """

    def __init__(self, k: int, floors: NDArray[np.float64], per: Per | None = None) -> None:
        """Start with no candidates, and with floors that are known already, or -inf.

        With ``per``, at most so many of the items kept for a query have the same value of a column.
        """
        self.k = check_k(k)
        self._per = per
        self.floors = floors.copy()
        self._queries = np.empty(0, np.int64)
        self._values = np.empty(0)
        self._items: pa.Table | None = None
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.float64], pa.Table]] = []
        self._num_waiting = 0

    def add(self, queries: NDArray[np.int64], values: NDArray[np.float64], items: pa.Table) -> None:
        """Take in candidates.

        Args:
            queries: Which query each is for, shape (m,).
            values: Their values, shape (m,).
            items: m rows: ``item_id``, not seen before for that query, and whatever goes with it.
        """
        self._waiting.append((queries, values, items))
        self._num_waiting += len(queries)
        if self._num_waiting >= max(_WAITING, len(self.floors) * self.k // 2):
            self._merge()

    def result(self) -> tuple[NDArray[np.int64], NDArray[np.float64], pa.Table | None]:
        """Return (queries, values, items) of what was kept, best first within each query.

        items is None if there never was a candidate.
        """
        self._merge()
        return self._queries, self._values, self._items

    def _merge(self) -> None:
        if not self._waiting:
            return
        tables = [items for _, _, items in self._waiting]
        if self._items is not None:
            tables.insert(0, self._items)
        queries = np.concatenate([self._queries, *(part[0] for part in self._waiting)])
        values = np.concatenate([self._values, *(part[1] for part in self._waiting)])
        # The files of a folder need not agree on every type.
        items = pa.concat_tables(tables, promote_options="permissive")
        self._waiting, self._num_waiting = [], 0
        order = _best_first(queries, values, items)
        if self._per is not None:
            order = order[self._per.allows(queries[order], self._per.codes(items)[order])]
        ordered = queries[order]
        # The place of each candidate among those of its own query.
        firsts = np.flatnonzero(np.diff(ordered, prepend=-1))
        ranks = np.arange(len(order)) - np.repeat(firsts, np.diff(firsts, append=len(order)))
        kept = order[ranks < self.k]
        last = order[ranks == self.k - 1]
        self.floors[queries[last]] = np.maximum(self.floors[queries[last]], values[last])
        self._queries, self._values = queries[kept], values[kept]
        self._items = items.take(pa.array(kept))


def _best_first(
    queries: NDArray[np.int64], values: NDArray[np.float64], items: pa.Table
) -> NDArray[np.int64]:
    """Return the order by query, then value descending, then item_id by its UTF-8 bytes."""
    order = np.lexsort((-values, queries))
    same = (np.diff(queries[order]) == 0) & (values[order][1:] == values[order][:-1])
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if len(tied):
        # Strings are compared only where query and value are equal.
        rows = order[tied]
        names = items.column(ITEM_ID).take(pa.array(rows)).combine_chunks()
        by_name = np.empty(len(rows), np.int64)
        by_name[pa.compute.sort_indices(names).to_numpy()] = np.arange(len(rows))
        order[tied] = rows[np.lexsort((by_name, -values[rows], queries[rows]))]
    return order


class BestValues:
    """The running k best values of queries, without the items."""

    def __init__(self, k: int) -> None:
        """Start with none."""
        self._k = k
        self._queries = np.empty(0, np.int64)
        self._values = np.empty(0)
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._num_waiting = 0

    def add(self, queries: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Take in m values of each of these queries, shape (Q, m)."""
        self._waiting.append((np.repeat(queries, values.shape[1]), values.ravel()))
        self._num_waiting += values.size
        if self._num_waiting >= max(_WAITING, len(self._values)):
            self._merge()

    def weighted(
        self, most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int32]]:
        """Return (queries, values, weights): at most ``most`` of each query's k best values.

        Each represents as many values as its weight says, of which it is the lowest.
        """
        self._merge()
        firsts = np.flatnonzero(np.diff(self._queries, prepend=-1))
        counts = np.diff(firsts, append=len(self._queries))
        ranks = np.arange(1, len(self._queries) + 1) - np.repeat(firsts, counts)
        step = -(-self._k // most)
        chosen = (ranks % step == 0) | (ranks == np.repeat(counts, counts))
        weights = (ranks - 1) % step + 1
        return self._queries[chosen], self._values[chosen], weights[chosen].astype(np.int32)

    def _merge(self) -> None:
        queries = np.concatenate([self._queries, *(part[0] for part in self._waiting)])
        values = np.concatenate([self._values, *(part[1] for part in self._waiting)])
        self._waiting, self._num_waiting = [], 0
        order = np.lexsort((-values, queries))
        queries, values = queries[order], values[order]
        firsts = np.flatnonzero(np.diff(queries, prepend=-1))
        ranks = np.arange(len(queries)) - np.repeat(firsts, np.diff(firsts, append=len(queries)))
        self._queries, self._values = queries[ranks < self._k], values[ranks < self._k]
