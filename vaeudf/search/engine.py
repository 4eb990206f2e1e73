"""The exact query engine in memory: the search of prepared items.

Queries are searched in groups. Each query descends greedily to the node of the tree of boxes with
the highest bound, and the k best items there give it a floor. Then all queries of the group descend
together, and nodes whose bound is below a query's floor are skipped for that query.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vaeudf.numerics.log_sums import LogSums
from vaeudf.search import kernels
from vaeudf.search.coordinates import in_order_of
from vaeudf.search.kernels import BLOCK, FAN_OUT
from vaeudf.search.partial import FEWEST_QUERIES, PartialScan
from vaeudf.search.per_value import most_allowed
from vaeudf.search.prepared import Prepared, take_queries
from vaeudf.search.records import Heaps, Items, PerValue, Queries

# Memory of the heaps of one group of queries, and the most queries in one. The larger the group,
# the less often the items are read from memory.
_HEAP_BYTES = 2**27
_QUERIES_PER_GROUP = 16_384
# Below this many items bounds cost more than they save.
_FEWEST_FOR_BOUNDS = 4 * BLOCK * FAN_OUT
# The number of features from which BLAS multiplies faster than the kernel, and the queries in one
# product.
_WIDE = 64
_QUERIES_PER_PRODUCT = 1024
# The same where products of the first coordinates come first, and at most so many pairs of a query
# and a parent.
_QUERIES_PER_SCAN = 4096
_PAIRS_PER_SCAN = 2**24
# How many queries and blocks are sampled to decide whether bounds pay, and the largest share of the
# blocks that bounds may leave over if they do. A bound is much cheaper than filtering its block,
# but the levels above have bounds too, and a block costs more per query when fewer queries share
# it.
_SAMPLE = 128
_WORTH_BOUNDS = 0.8
# The same where products of the first coordinates skip pairs instead, which a block's bound cannot.
_WORTH_BOUNDS_BESIDE = 0.1


def search(
    prepared: Prepared,
    queries: Queries,
    k: int,
    floors: NDArray[np.float64] | None = None,
    per: PerValue | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the k items of the highest value for every query.

    Args:
        prepared: The items.
        queries: The queries.
        k: How many items per query.
        floors: Values below which nothing is wanted, shape (Q,).
        per: At most how many of them may have the same value of some column.

    Returns:
        Values (Q, m), best first, with m = min(k, N), or as many as ``per`` allows; labels (Q, m);
        and how many entries of each row are filled, (Q,): all m unless a floor left fewer.
    """
    num_queries, keep = len(queries.mu), _most(prepared, k, per)
    values = np.full((num_queries, keep), -np.inf)
    labels = np.zeros((num_queries, keep), np.int64)
    counts = np.zeros(num_queries, np.int64)
    for group, heaps in _search_groups(prepared, queries, keep, floors, per=per):
        _sort(heaps)
        values[group], labels[group], counts[group] = heaps.values, heaps.labels, heaps.counts
    return values, labels, counts


def candidates(
    prepared: Prepared,
    queries: Queries,
    k: int,
    floors: NDArray[np.float64],
    *,
    sums: LogSums | None = None,
    cuts: NDArray[np.float64] | None = None,
    per: PerValue | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], bool]:
    """Return the items that can be among each query's k best, as flat arrays in no order.

    Args:
        prepared: Some of the items.
        queries: The queries.
        k: How many items per query.
        floors: Values below which nothing is wanted, shape (Q,).
        sums: Sums of e^value over items, one per query, to add these items to.
        cuts: Values below which an item is left out of the sums, shape (Q,); given if sums are.
        per: At most how many of them may have the same value of some column.

    Returns:
        Places of the queries, values and labels, each of shape (m,); and whether labels decided
        between items of equal value.
    """
    keep = _most(prepared, k, per)
    parts = []
    tied = False
    for group, heaps in _search_groups(prepared, queries, keep, floors, sums, cuts, per):
        places, values, labels = kernels.flatten(heaps)
        parts.append((group[places], values, labels))
        tied |= bool(heaps.tally[3])
    if not parts:
        return np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64), False
    places, values, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return places, values, labels, tied


def _most(prepared: Prepared, k: int, per: PerValue | None) -> int:
    """Return how many of the k items there can be."""
    if per is None or len(prepared) == 0:
        return min(k, len(prepared))
    labels = prepared.items.labels
    return most_allowed(
        lambda part: per.codes[labels[part][labels[part] >= 0]], per.at_most, k, len(labels)
    )


def _search_groups(
    prepared: Prepared,
    queries: Queries,
    keep: int,
    floors: NDArray[np.float64] | None,
    sums: LogSums | None = None,
    cuts: NDArray[np.float64] | None = None,
    per: PerValue | None = None,
) -> Iterator[tuple[NDArray[np.int64], Heaps]]:
    """Search for some queries at a time; yield which, and what was found, not in order."""
    num_queries = len(queries.mu)
    if num_queries == 0 or keep == 0:
        return
    items, work = prepared.items, prepared.work
    queries = in_order_of(items, queries)
    nodes = prepared.nodes if len(prepared) >= _FEWEST_FOR_BOUNDS else None
    order = np.arange(num_queries)
    level = _seed_level(items, keep)
    starts = np.zeros(num_queries, np.int64)
    seeded = prepared.has_features and (floors is None or bool(np.isneginf(floors).all()))
    partly = prepared.rest is not None and prepared.filtered and num_queries >= FEWEST_QUERIES
    if nodes is not None and seeded and not partly:
        kernels.promising(nodes, queries, level, order, starts)
        # Queries that go the same way go together.
        order = np.argsort(starts, kind="stable")
    by_products = items.psi.shape[1] >= _WIDE and not items.features.added
    most = _QUERIES_PER_GROUP
    if by_products:
        most = _QUERIES_PER_PRODUCT
    if partly:
        most = min(_QUERIES_PER_SCAN, _PAIRS_PER_SCAN // len(items.centres))
    group_size = max(1, min(most, _HEAP_BYTES // (16 * keep)))
    for begin in range(0, num_queries, group_size):
        group = order[begin : begin + group_size]
        heaps = _new_heaps(group, keep, floors, cuts, per)
        own = queries if num_queries == 1 else take_queries(queries, group)
        partial_scan = PartialScan(prepared, own, heaps) if partly else None
        if partial_scan is not None:
            partial_scan.begin()
        elif seeded:
            _raise_floors(prepared, own, heaps, level, starts[group])
        # For one query bounds cost little, even where they skip nothing.
        unsure = begin == 0 and (num_queries > 1 or by_products)
        worth = _WORTH_BOUNDS if partial_scan is None else _WORTH_BOUNDS_BESIDE
        if nodes is not None and unsure and not _bounds_pay(prepared, own, heaps, worth):
            nodes = None
        everyone = np.arange(len(group))
        if not prepared.has_features:
            kernels.scan_directly(items, own, heaps)
        elif nodes is not None and len(group) == 1:
            kernels.descend_alone(items, nodes, own, heaps)
        elif nodes is not None:
            kernels.descend(items, nodes, own, everyone, heaps)
        elif partial_scan is not None:
            partial_scan.finish()
        elif by_products:
            _scan_by_products(prepared, own, heaps)
        else:
            kernels.scan(items, own, everyone, heaps)
        work.scored += int(heaps.tally[0])
        work.rescored += int(heaps.tally[1])
        work.bounds += int(heaps.tally[2])
        if sums is not None:
            sums.add_scaled(heaps.sums[:, 0], heaps.sums[:, 1], group)
        yield group, heaps


def _new_heaps(
    which: NDArray[np.int64],
    keep: int,
    floors: NDArray[np.float64] | None = None,
    cuts: NDArray[np.float64] | None = None,
    per: PerValue | None = None,
) -> Heaps:
    """Return empty heaps for some of the queries, whose floors and cuts are among those given."""
    num_queries = len(which)
    return Heaps(
        np.empty((num_queries, keep)),
        np.empty((num_queries, keep), np.int64),
        np.zeros(num_queries, np.int64),
        np.full(num_queries, -np.inf) if floors is None else floors[which],
        np.full(num_queries, np.inf) if cuts is None else cuts[which],
        np.tile([-np.inf, 0.0], (num_queries, 1)),
        np.zeros(4, np.int64),
        np.empty(0, np.int32) if per is None else per.codes,
        np.empty((num_queries, 0 if per is None else keep), np.int32),
        keep if per is None else per.at_most,
    )


def _scan_by_products(prepared: Prepared, queries: Queries, heaps: Heaps) -> None:
    """Scan all items, with the filter's multiplications done by BLAS.

    In many dimensions the multiplications take nearly all of the time, and BLAS is faster at them
    than the kernel.
    """
    items = prepared.items
    count = len(queries.points)
    local = kernels.new_local(items.psi.shape[1], count)
    products = np.empty((FAN_OUT, count, BLOCK), np.float32)
    for parent in range(len(items.centres)):
        kernels.enter(items, queries, parent, heaps, local)
        first, scored = parent * FAN_OUT * BLOCK, heaps.tally[0]
        psi = items.psi[parent * FAN_OUT : (parent + 1) * FAN_OUT]
        found = products[: len(psi)]
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(local.phi, psi, out=found)
        kernels.take_products(items, queries, parent, found, local, heaps)
        heaps.tally[0] = scored + count * min(FAN_OUT * BLOCK, len(prepared) - first)


def _raise_floors(
    prepared: Prepared,
    queries: Queries,
    heaps: Heaps,
    level: int,
    starts: NDArray[np.int64],
) -> None:
    """Give every query a floor from the node where it starts, and leave the heaps empty."""
    heaps = heaps._replace(cuts=np.full(len(heaps.counts), np.inf))
    chosen = np.arange(len(queries.mu))
    while True:
        here = np.flatnonzero(np.diff(starts[chosen])) + 1
        for members in np.split(chosen, here):
            kernels.raise_floors(
                prepared.items,
                queries,
                level,
                starts[members[0]],
                members,
                heaps,
            )
        # The search will score those items again.
        heaps.counts[:] = 0
        heaps.tally[0] = 0
        # Near items often have the same value, and then a node has fewer than k that are allowed.
        chosen = chosen[np.isneginf(heaps.floors[chosen])]
        everything = BLOCK * FAN_OUT ** (level + 1) >= len(prepared)
        if len(heaps.codes) == 0 or len(chosen) == 0 or everything:
            return
        level, starts = level + 1, starts // FAN_OUT


def _bounds_pay(prepared: Prepared, queries: Queries, heaps: Heaps, worth: float) -> bool:
    """Return whether the bounds skip enough blocks of a sample to be worth computing."""
    nodes = prepared.nodes
    assert nodes is not None
    sample = np.unique(np.linspace(0, len(queries.mu) - 1, _SAMPLE).astype(np.int64))
    blocks = np.unique(np.linspace(0, len(prepared.items.base) - 1, _SAMPLE).astype(np.int64))
    floors = np.minimum(heaps.floors, heaps.cuts)[sample]
    reached = kernels.count_reaching(nodes, blocks, take_queries(queries, sample), floors)
    return bool(reached.sum() <= worth * len(sample) * len(blocks))


def _seed_level(items: Items, keep: int) -> int:
    """Return the lowest level whose nodes have enough items for a floor."""
    level = 1
    while BLOCK * FAN_OUT**level < min(2 * keep, len(items.labels)):
        level += 1
    return level


def _sort(heaps: Heaps) -> None:
    """Bring every heap in order: value descending, then label ascending."""
    empty = np.arange(heaps.values.shape[1]) >= heaps.counts[:, None]
    heaps.values[empty] = -np.inf
    heaps.labels[empty] = np.iinfo(np.int64).max
    order = np.lexsort((heaps.labels, -heaps.values))
    heaps.labels[:] = np.take_along_axis(heaps.labels, order, axis=1)
    heaps.values[:] = np.take_along_axis(heaps.values, order, axis=1)
