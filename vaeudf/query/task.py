"""What one task of a bulk query does: fold batches of items into the best of each query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from vaeudf.numerics.kd_tree import kd_order
from vaeudf.numerics.log_sums import LogSums
from vaeudf.query.explanation import BlendTerms, explain
from vaeudf.query.merge import TopK
from vaeudf.query.request import Request
from vaeudf.schema import ITEM_ID
from vaeudf.search import engine, kernels
from vaeudf.search.prepared import Prepared, Work, prepare, take_queries
from vaeudf.search.records import Nodes, PerValue

# Each item left out of a sum over N items is below e^-30 / N of the k-th largest: all of them
# together change no digit that is shown.
SUM_MARGIN = 30.0
_NONE = np.empty(0, np.int64)
# Sorting the rows of a batch takes about as long as scanning them for this many queries.
_QUERIES_WORTH_ORDER = 500


class Fold:
    """The best items so far of a group of queries, over the batches that a task has read."""

    def __init__(self, request: Request, group: NDArray[np.int64]) -> None:
        """Start with nothing.

        Args:
            request: The bulk query.
            group: Which of its queries, ascending.
        """
        self.request = request
        self.group = group
        self._queries = request.prepared_queries(group)
        self._blended = request.blended(group)
        self._masked = self._queries.closed.shape[1] > 0
        self._best = TopK(request.k, request.floors[group], request.per)
        self.work = Work()
        self._cuts = None if request.cuts is None else request.cuts[group]
        self.sums = None if request.cuts is None else LogSums(len(group))
        self.num_items = 0

    def log_skipped(self) -> NDArray[np.float64]:
        """Return the log of what the items left out of the sums may add, over the whole table."""
        assert self._cuts is not None
        skipped = self._cuts + self.request.log_num_items
        return np.asarray(np.where(np.isneginf(self._cuts), -np.inf, skipped))

    def reaching(self, nodes: Nodes, node: int) -> NDArray[np.int64]:
        """Return the places in the group of the queries that a box can still matter to."""
        return kernels.reaching(nodes, node, self._queries, self._limits())  # type: ignore[no-any-return]

    def count_reaching(self, nodes: Nodes) -> NDArray[np.int64]:
        """Return to how many queries each of many boxes can still matter."""
        return kernels.count_reaching(  # type: ignore[no-any-return]
            nodes, np.arange(len(nodes.low)), self._queries, self._limits()
        )

    def _limits(self) -> NDArray[np.float64]:
        if self._cuts is None:
            return self._best.floors
        return np.minimum(self._best.floors, self._cuts)

    def add(
        self,
        mu: NDArray[np.floating],
        log_var: NDArray[np.floating],
        items: Callable[[NDArray[np.int64]], pa.Table],
        *,
        reaching: NDArray[np.int64] | None = None,
        in_order: bool = True,
        deleted: NDArray[np.int64] = _NONE,
    ) -> None:
        """Take in a batch of items.

        Args:
            mu: Means, shape (B, n).
            log_var: log sigma², shape (B, n).
            items: Gives the ``item_id`` and payload of some rows of the batch.
            reaching: Places in the group of the queries to ask; all of them unless given.
            in_order: Whether consecutive rows are near each other.
            deleted: The rows of the batch that are no items.
        """
        self.num_items += len(mu) - len(deleted)
        labels = _labels(len(mu), deleted)
        if reaching is None:
            reaching = np.arange(len(self.group))
        if len(mu) == 0 or len(reaching) == 0:
            return
        if not in_order and len(reaching) >= _QUERIES_WORTH_ORDER:
            order = kd_order(mu)
            mu, log_var, unordered = mu[order], log_var[order], items
            labels = np.where(labels[order] < 0, -1, np.arange(len(mu)))

            def items(rows: NDArray[np.int64]) -> pa.Table:
                return unordered(order[rows])

        places, values, rows = self._search(mu, log_var, labels, items, reaching)
        if len(rows) == 0:
            return
        wanted, at = np.unique(rows, return_inverse=True)
        found = items(wanted).take(pa.array(at))
        if self.request.explain:
            blurred = self.request.blurred(log_var[rows], self.group[places])
            found = self._explain(found, places, mu[rows], blurred)
        self._best.add(places, values, found)

    def result(self) -> tuple[NDArray[np.int64], NDArray[np.float64], pa.Table | None]:
        """Return (queries, scores, items) of the best: at most k rows per query."""
        places, values, items = self._best.result()
        if self._blended is not None:
            return self.group[places], self._blended.scores(values, places), items
        return self.group[places], self.request.score.from_values(values), items

    def _explain(
        self,
        found: pa.Table,
        places: NDArray[np.int64],
        mu: NDArray[np.floating],
        log_var: NDArray[np.float64],
    ) -> pa.Table:
        blended = self._blended
        if blended is None:
            return explain(found, self._queries.mu[places], mu, log_var)
        n, scale = mu.shape[1], blended.scale[places, None]
        mus, terms = blended.mu[places], scale * blended.terms[places]
        beside = BlendTerms(terms[:, :n], scale * mus[:, n:], terms[:, n:])
        return explain(found, mus[:, :n], mu, log_var, beside)

    def _search(
        self,
        mu: NDArray[np.floating],
        log_var: NDArray[np.floating],
        labels: NDArray[np.int64],
        items: Callable[[NDArray[np.int64]], pa.Table],
        reaching: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        k = self.request.k
        everyone = len(reaching) == len(self.group)
        queries = self._queries if everyone else take_queries(self._queries, reaching)
        floors = self._best.floors[reaching]
        prepared = self._prepare(mu, log_var, labels, len(reaching))
        sums = None if self.sums is None else LogSums(len(reaching))
        cuts = None if self._cuts is None else self._cuts[reaching]
        per = self._per_value(items, len(mu))
        places, values, rows, tied = engine.candidates(
            prepared, queries, k, floors, sums=sums, cuts=cuts, per=per
        )
        if self.sums is not None and sums is not None:
            self.sums.add_scaled(sums.largest, sums.scaled, reaching)
        if tied:
            # Of items with equal values, those with the lowest ids are kept.
            by_name, ranks = _by_name(items(np.arange(len(mu))))
            ranks[labels < 0] = -1
            # The same pairs are scored again, but counted once.
            ranked = replace(prepared, items=prepared.items._replace(labels=ranks), work=Work())
            if per is not None:
                per = per._replace(codes=per.codes[by_name])
            places, values, found, _ = engine.candidates(ranked, queries, k, floors, per=per)
            rows = by_name[found]
        return reaching[places], values, rows

    def _prepare(
        self,
        mu: NDArray[np.floating],
        log_var: NDArray[np.floating],
        labels: NDArray[np.int64],
        num_queries: int,
    ) -> Prepared:
        score, tau = self.request.score, self.request.tolerance
        return prepare(
            score,
            mu,
            log_var,
            labels,
            tau,
            masked=self._masked,
            num_queries=num_queries,
            work=self.work,
        )

    def _per_value(
        self, items: Callable[[NDArray[np.int64]], pa.Table] | None, num_rows: int
    ) -> PerValue | None:
        """Return which value each row of a batch has, if some of a value are enough."""
        per = self.request.per
        if per is None:
            return None
        assert items is not None
        return PerValue(per.codes(items(np.arange(num_rows))), per.at_most)

    def best_values(
        self,
        mu: NDArray[np.floating],
        log_var: NDArray[np.floating],
        deleted: NDArray[np.int64] = _NONE,
        items: Callable[[NDArray[np.int64]], pa.Table] | None = None,
    ) -> NDArray[np.float64]:
        """Return the best values of a batch for every query, best first, (Q, min(k, B)).

        There are fewer if the batch has fewer items than may be kept of its values.

        Args:
            mu: Means, shape (B, n).
            log_var: log sigma², shape (B, n).
            deleted: The rows of the batch that are no items; -inf is in the place of missing ones.
            items: Gives the payload of some rows of the batch, which a limit per value needs.
        """
        prepared = self._prepare(mu, log_var, _labels(len(mu), deleted), len(self.group))
        per = self._per_value(items, len(mu))
        return engine.search(prepared, self._queries, self.request.k, per=per)[0]


def _labels(num_rows: int, deleted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows' numbers, negative where a row is no item."""
    labels = np.arange(num_rows)
    labels[deleted] = -1
    return labels


def _by_name(items: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows in the order of their item_id, and each row's place in it."""
    names = items.column(ITEM_ID).combine_chunks()
    by_name = pa.compute.sort_indices(names).to_numpy().astype(np.int64)
    ranks = np.empty(len(by_name), np.int64)
    ranks[by_name] = np.arange(len(by_name))
    return by_name, ranks
