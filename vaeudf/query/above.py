"""All pairs of query and item whose value reaches a floor, some at a time: no k, no ranking.

The floors do not rise, so no pair has to wait for others: what is found is handed on at once, and
memory is that of one chunk of items and some queries, whatever the floors let through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from vaeudf.numerics.kd_tree import kd_order
from vaeudf.query.frame_search import gathered, searched_columns
from vaeudf.query.request import Request
from vaeudf.query.source import Source
from vaeudf.query.task import QUERIES_WORTH_ORDER, row_labels
from vaeudf.query.two_rounds import deal
from vaeudf.search import engine, kernels
from vaeudf.search.prepared import Prepared, Work, prepare, take_queries
from vaeudf.search.records import Nodes
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.counters import Counts
from vaeudf.spark.tasks import numbered_tasks, tasks_on
from vaeudf.table.splits import SplitReader

# Rows that are searched together. A file of another's may have row groups of any size.
_ROWS_PER_CHUNK = 65_536
# Pairs that there may be of a chunk and the queries that are asked at a time: some 60 bytes each if
# all of them reach their floors, in the heaps and in the arrays that are made of these.
_PAIRS = 2**22
# Where there are more queries, each is asked for so many items first, in fewer and larger groups:
# with a high floor most have no more of one chunk.
_FEW = 64

_NONE = np.empty(0, np.int64)
Items = Callable[[NDArray[np.int64]], pa.Table]


class Taker(Protocol):
    """What becomes of the pairs, in a task."""

    def begin(self, mu: NDArray[np.floating], log_var: NDArray[np.floating], items: Items) -> None:
        """Hear of a chunk of at most 65,536 items, of which pairs may follow.

        Args:
            mu: Means, shape (B, n).
            log_var: log sigma², shape (B, n).
            items: Gives the ``item_id`` and payload of some rows of the chunk.
        """

    def take(
        self, queries: NDArray[np.int64], values: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> Iterator[pa.RecordBatch]:
        """Take pairs of a chunk, and yield what leaves the task at once.

        Args:
            queries: Which query each is of, shape (m,).
            values: Their values, shape (m,).
            rows: The items' rows in the chunk, shape (m,).
        """

    def end(self) -> Iterator[pa.RecordBatch]:
        """Yield what is left."""


class Above:
    """The pairs of a request's queries and items, as a task reads these, that reach the floors."""

    def __init__(self, request: Request) -> None:
        """Make the queries ready."""
        self.request = request
        self.work = Work()
        self._queries = request.prepared_queries()

    def reaching(self, nodes: Nodes, node: int) -> NDArray[np.int64]:
        """Return the queries that some item in a box could be a pair with."""
        return kernels.reaching(nodes, node, self._queries, self.request.floors)  # type: ignore[no-any-return]

    def batches(
        self,
        taker: Taker,
        mu: NDArray[np.floating],
        log_var: NDArray[np.floating],
        items: Items,
        *,
        reaching: NDArray[np.int64] | None = None,
        in_order: bool = True,
        deleted: NDArray[np.int64] = _NONE,
    ) -> Iterator[pa.RecordBatch]:
        """Hand the pairs of a batch of items to a taker, and yield what it makes of them.

        Args:
            taker: Takes the pairs.
            mu: Means, shape (B, n).
            log_var: log sigma², shape (B, n).
            items: Gives the ``item_id`` and payload of some rows of the batch.
            reaching: The queries to ask; all of them unless given.
            in_order: Whether consecutive rows are near each other.
            deleted: The rows of the batch that are no items.
        """
        asked = np.arange(len(self._queries.mu)) if reaching is None else reaching
        labels = row_labels(len(mu), deleted)
        for start in range(0, len(mu), _ROWS_PER_CHUNK):
            rows = np.arange(start, min(start + _ROWS_PER_CHUNK, len(mu)))
            if not in_order and len(asked) >= QUERIES_WORTH_ORDER:
                rows = rows[kd_order(mu[rows])]
            # By its number in the chunk, so that pairs need no look-up.
            own = np.where(labels[rows] < 0, -1, np.arange(len(rows)))
            yield from self._chunk(taker, mu[rows], log_var[rows], _Some(items, rows), own, asked)

    def _chunk(
        self,
        taker: Taker,
        mu: NDArray[np.floating],
        log_var: NDArray[np.floating],
        items: Items,
        labels: NDArray[np.int64],
        asked: NDArray[np.int64],
    ) -> Iterator[pa.RecordBatch]:
        prepared = self._prepare(mu, log_var, labels, len(asked))
        taker.begin(mu, log_var, items)
        most = len(mu)
        if len(asked) > _PAIRS // most and most > _FEW:
            left = []
            for some in _groups(asked, _FEW):
                # How much was scored in vain is not known by query.
                tried = replace(prepared, work=Work())
                places, values, rows = self._candidates(tried, some, _FEW)
                # A heap that is full may have dropped items.
                complete = np.bincount(places, minlength=len(some)) < _FEW
                self.work.scored += round(tried.work.scored * complete.mean())
                kept = complete[places]
                if kept.any():
                    yield from taker.take(some[places[kept]], values[kept], rows[kept])
                left.append(some[~complete])
            asked = np.concatenate(left)
        for some in _groups(asked, most):
            # No heap drops an item if there is room for all, and no floor rises above one.
            places, values, rows = self._candidates(prepared, some, most)
            if len(rows):
                yield from taker.take(some[places], values, rows)

    def _candidates(
        self, prepared: Prepared, some: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        queries, floors = take_queries(self._queries, some), self.request.floors[some]
        return engine.candidates(prepared, queries, k, floors)[:3]

    def _prepare(
        self,
        mu: NDArray[np.floating],
        log_var: NDArray[np.floating],
        labels: NDArray[np.int64],
        num_queries: int,
    ) -> Prepared:
        return prepare(
            self.request.score,
            mu,
            log_var,
            labels,
            self.request.tolerance,
            masked=self._queries.closed.shape[1] > 0,
            num_queries=num_queries,
            work=self.work,
        )


def _groups(asked: NDArray[np.int64], k: int) -> list[NDArray[np.int64]]:
    """Return queries in groups that have room for k items each."""
    size = max(1, _PAIRS // k)
    return np.split(asked, np.arange(size, len(asked), size)) if len(asked) else []


class _Some:
    """Some rows of a batch, in another order."""

    def __init__(self, items: Items, rows: NDArray[np.int64]) -> None:
        self._items = items
        self._rows = rows

    def __call__(self, rows: NDArray[np.int64]) -> pa.Table:
        return self._items(self._rows[rows])


def all_pairs(
    source: Source, request: Request, new_taker: Callable[[Request], Taker], row_type: StructType
) -> DataFrame:
    """Return the rows that takers make of all pairs that reach the request's floors.

    Args:
        source: What is searched.
        request: What is asked for; ``k`` is passed over.
        new_taker: Makes a task's taker; it travels to the tasks.
        row_type: The type of the rows.
    """
    counts = source.counts
    if source.frame is not None:
        shared = Cluster.of(source.spark).share(request)

        def of_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            above = Above(shared.value)
            taker = new_taker(above.request)
            for mu, log_var, items in gathered(batches, above.request, counts):
                yield from above.batches(taker, mu, log_var, items, in_order=False)
            yield from _ended(above, taker, counts)

        return tasks_on(searched_columns(source.frame, request), of_rows, row_type, counts)

    tasks = deal(source.spark, [group for group in source.groups if group.num_rows], request)
    dealt = Cluster.of(source.spark).share((request, tasks))

    def of_splits(number: int) -> Iterator[pa.RecordBatch]:
        asked, splits = dealt.value
        above = Above(asked)
        taker = new_taker(asked)
        reader = SplitReader(asked.queries.latent_dim, asked.columns, in_place=True)
        for split in splits[number]:
            reaching = None
            if split.box is not None:
                reaching = above.reaching(asked.nodes(split.box), 0)
                if len(reaching) == 0:
                    continue
            mu, log_var = reader.posteriors(split)
            yield from above.batches(
                taker,
                mu,
                log_var,
                reader.items,
                reaching=reaching,
                in_order=split.box is not None,
                deleted=reader.deleted,
            )
        yield from _ended(above, taker, counts)
        counts.add(row_groups=reader.num_read, num_bytes=reader.num_bytes)

    return numbered_tasks(source.spark, len(tasks), of_splits, row_type, counts)


def _ended(above: Above, taker: Taker, counts: Counts) -> Iterator[pa.RecordBatch]:
    yield from taker.end()
    counts.add(scored=above.work.scored)
