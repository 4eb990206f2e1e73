"""Scans of all items in many dimensions, by products of the first coordinates' features.

There nothing is near in a box, and a block is seldom skipped. But with the coordinates in the order
of what they contribute (:mod:`vaeudf.search.coordinates`), a product over the first ones gives an
upper bound for each *pair* of query and item, and few pairs reach their query's floor in it. These
alone are multiplied on, from cut to cut, and what remains is a pair that passes the whole filter.
The cuts are chosen by what a sample of pairs would cost.

A query sees first the items that are best on the average, a parent at a time: nearly all others
then meet a floor that hardly rises any more. Scores in float64 come last: until then the floors
rise by values that the filter's numbers are certainly not above.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaeudf.search import kernels
from vaeudf.search.coordinates import nothing_added
from vaeudf.search.kernels import BLOCK, FAN_OUT
from vaeudf.search.prepared import Prepared
from vaeudf.search.records import Heaps, Partly, Queries

FEWEST_QUERIES = 32
"""Fewer queries than these do not pay for what is done once for each block."""

_Visits = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]

# Pairs that wait for their scores in float64.
_PENDING = 2**18
# Each query sees one in so many parents first.
_FIRST = 12
# After one in so many of the parents, the stages are chosen once more: the floors are higher then.
_AGAIN = 4
# Queries and blocks of the sample that they are chosen by.
_SAMPLE_QUERIES, _SAMPLE_BLOCKS = 32, 16
# What takes how long, in nanoseconds (an EPYC of 2021): of a pair in the first product, each
# feature and the rest; a pair that is taken out; one that is multiplied on, and each feature of it;
# and bringing one of a block's numbers to its place.
_FEATURE, _PAIR, _TAKEN = 0.02, 0.1, 1.2
_ON, _ON_FEATURE, _TRANSPOSED = 4.2, 0.055, 0.17


class PartialScan:
    """A scan of all items for some queries.

    Args:
        prepared: Items with cuts and a tree of boxes.
        queries: The queries, in the order of the items' coordinates.
        heaps: Empty, with or without floors, which the scan raises.
    """

    def __init__(self, prepared: Prepared, queries: Queries, heaps: Heaps) -> None:
        self._prepared, self._queries, self._heaps = prepared, queries, heaps
        count, parents = len(queries.points), len(prepared.items.centres)
        self._low = heaps._replace(
            values=np.empty_like(heaps.values),
            labels=np.empty_like(heaps.labels),
            counts=np.zeros_like(heaps.counts),
            tally=np.zeros_like(heaps.tally),
            held=np.empty_like(heaps.held),
        )
        self._pending = (
            np.empty(_PENDING, np.int64),
            np.empty(_PENDING, np.int64),
            np.empty(_PENDING),
        )
        self._waiting = 0
        # So many blocks have enough items for a floor.
        enough = -(-2 * heaps.values.shape[1] // BLOCK)
        self._step = max(2, FAN_OUT // max(4, enough))
        self._visited = np.zeros((parents, count), np.bool_)
        self._best = _most_promising(prepared, queries)

    def begin(self) -> None:
        """Give the queries floors, each by some blocks of the parent that promises most."""
        # There nearly all pairs would reach the floor, which there is none of yet.
        whole = [len(self._prepared.items.cuts)]
        self._visit(_visits_of(self._best[:, :1], len(self._visited)), whole, self._step)

    def finish(self) -> None:
        """Take all items into the heaps."""
        parents, count = self._visited.shape
        self._visit(_visits_of(self._best, parents))
        self._visited[self._best.T, np.arange(count)] = True
        again = -(-parents // _AGAIN)
        self._visit(_visits_of_all(count, np.arange(again)))
        self._visit(_visits_of_all(count, np.arange(again, parents)))
        kernels.take_pending(
            self._prepared.items, self._queries, self._pending, self._waiting, self._heaps
        )

    def _visit(self, visits: _Visits, stages: Sequence[int] | None = None, step: int = 1) -> None:
        if len(visits[0]) == 0:
            return
        if stages is None:
            stages = _cheapest_stages(self._prepared, self._queries, self._heaps, visits)
        self._waiting = kernels.scan_partly(
            self._prepared.items,
            self._queries,
            partly(self._prepared, self._queries, stages),
            visits,
            step,
            self._visited,
            self._heaps,
            self._low,
            self._pending,
            self._waiting,
        )


def _most_promising(prepared: Prepared, queries: Queries) -> NDArray[np.int64]:
    """Return the parents whose items are best on the average for every query, best first."""
    items = prepared.items
    parents = len(items.centres)
    values = np.empty((len(queries.points), parents))
    assert prepared.means is not None
    kernels.mean_values(items, queries, prepared.means, values)
    number = min(parents, max(2, parents // _FIRST))
    np.nan_to_num(values, copy=False, nan=-np.inf, neginf=-np.inf)
    values *= -1
    best = np.argpartition(values, number - 1, axis=1)[:, :number]
    order = np.argsort(np.take_along_axis(values, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)


def _visits_of(best: NDArray[np.int64], parents: int) -> _Visits:
    """Return visits of these parents, (Q, m), by parent."""
    which = best.ravel()
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(parents + 1))
    some = np.flatnonzero(np.diff(bounds))
    return some, bounds[some], bounds[some + 1], order // max(best.shape[1], 1)


def _visits_of_all(count: int, parents: NDArray[np.int64]) -> _Visits:
    """Return visits of these parents by all queries."""
    nothing = np.zeros(len(parents), np.int64)
    return parents, nothing, nothing + count, np.arange(count)


def partly(prepared: Prepared, queries: Queries, stages: Sequence[int]) -> Partly:
    """Return what the loops read of some stages.

    Args:
        prepared: Items with cuts.
        queries: The queries.
        stages: Which cuts, ascending; the last is C, for all coordinates.
    """
    items, rest = prepared.items, prepared.rest
    assert rest is not None
    features, has_spread = items.features, queries.spread_down.shape[1] > 0
    if not (features.masked or features.backward or has_spread):
        rest = nothing_added(items)
    d = items.centres.shape[1]
    coordinates = np.append(items.cuts, d)[list(stages)]
    ends = coordinates * items.features.per_coordinate
    ends[-1] = items.psi.shape[1]
    return rest._replace(cuts=np.array(stages, np.int64), ends=ends, coordinates=coordinates)


def _cheapest_stages(
    prepared: Prepared, queries: Queries, heaps: Heaps, visits: _Visits
) -> list[int]:
    """Return the stages that take the least time, by a sample of the pairs that are to come."""
    items = prepared.items
    stages = partly(prepared, queries, range(len(items.cuts) + 1))
    parents, begins, stops, chosen = visits
    sample = np.unique(np.linspace(0, len(parents) - 1, _SAMPLE_BLOCKS).astype(np.int64))
    firsts = parents[sample] * FAN_OUT
    blocks = firsts + np.arange(len(sample)) % np.minimum(len(items.base) - firsts, FAN_OUT)
    places = np.linspace(begins[sample], stops[sample] - 1, _SAMPLE_QUERIES, axis=1)
    some = np.ascontiguousarray(chosen[places.astype(np.int64)])
    reached = kernels.count_partly(items, queries, stages, blocks, some, heaps)
    sharing = float(np.mean(stops - begins))
    return cheapest(reached / (some.size * BLOCK), stages.ends, sharing)


def cheapest(
    shares: NDArray[np.float64], features: NDArray[np.int64], num_queries: float
) -> list[int]:
    """Return the stages that take the least time.

    Args:
        shares: What part of the pairs reaches its query's floor after each cut, (C + 1,); the last
            is after all coordinates.
        features: How many features are multiplied up to there, (C + 1,).
        num_queries: How many queries share what is done for a block.
    """
    last = len(shares) - 1
    # What it takes from a stage on, of each pair that there is, and which stage is next.
    onwards = np.zeros(last + 1)
    following = np.full(last + 1, last)
    for stage in range(last - 1, -1, -1):
        later = np.arange(stage + 1, last + 1)
        costs = onwards[later] + shares[stage] * (
            _ON + _ON_FEATURE * (features[later] - features[stage])
        )
        following[stage] = later[np.argmin(costs)]
        onwards[stage] = costs.min()
    begun = _PAIR + _FEATURE * features + _TAKEN * shares + onwards
    begun[:last] += _TRANSPOSED * (features[-1] - features[:last]) / num_queries
    stages = [int(np.argmin(begun))]
    while stages[-1] < last:
        stages.append(int(following[stages[-1]]))
    return stages
