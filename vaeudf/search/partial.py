"""Scans of all items in many dimensions, by products of the first coordinates' features.

There nothing is near in a box, and a block is seldom skipped. But with the coordinates in the order
of what they contribute, a product over the first ones is an upper bound for each *pair* of query
and item (:class:`vaeudf.search.coordinates.Rest`), and few pairs reach their query's floor in it.
These alone are multiplied on, from cut to cut, and what remains is a pair that passes the whole
filter. The cuts are chosen by what a sample of pairs would cost.

Scores in float64 come last: until then the floors rise by values that the filter's numbers are
certainly not above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeudf.search import kernels
from vaeudf.search.coordinates import Rest
from vaeudf.search.kernels import BLOCK, FAN_OUT, compiled
from vaeudf.search.prepared import Prepared, take_queries
from vaeudf.search.records import Heaps, Items, Local, Queries
from vaeudf.search.vectors import (
    LANES,
    ROWS,
    dot,
    lowest_bit,
    multiply_tile,
    transpose_eight,
)

# Fewer queries than these do not pay for what is done once for each block.
FEWEST_QUERIES = 32
# Queries whose sums with a block's items stay in the cache.
_TILE = 16 * ROWS
# Pairs that wait for their scores in float64.
_PENDING = 2**20
# Queries and blocks of the sample, and after what share of the items it is taken again: then the
# floors are higher.
_SAMPLE_QUERIES, _SAMPLE_BLOCKS = 64, 16
_AGAIN = (0.04, 0.2)
# What takes how long, in nanoseconds (an EPYC of 2021): of a pair in the first product, each feature
# and the rest; a pair that is taken out; one that is multiplied on, and each feature of it; bringing
# a block's feature together; and a pair with all its features in a product of BLAS's.
_FEATURE, _PAIR, _TAKEN = 0.027, 0.12, 1.5
_ON, _ON_FEATURE, _TRANSPOSED = 2.5, 0.06, 0.17
_WHOLE_FEATURE, _WHOLE_PAIR = 0.031, 0.3


@dataclass(frozen=True)
class Chain:
    """How pairs are multiplied.

    Attributes:
        stages: Which of ``Items.cuts`` a product ends at, ascending; the last is C, for all
            coordinates.
    """

    stages: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the first product is of all coordinates."""
        return len(self.stages) == 1


def scan(prepared: Prepared, queries: Queries, heaps: Heaps) -> None:
    """Take every item into the heaps of all queries.

    Args:
        prepared: Items with cuts.
        queries: The queries, in the order of the items' coordinates.
        heaps: With floors, and otherwise empty.
    """
    _Scan(prepared, queries, heaps).run()


class _Scan:
    def __init__(self, prepared: Prepared, queries: Queries, heaps: Heaps) -> None:
        assert prepared.nodes is not None and prepared.boxes is not None
        self.prepared, self.queries, self.heaps = prepared, queries, heaps
        items = self.items = prepared.items
        starts = prepared.nodes.starts
        self.rest = Rest.of(
            prepared.score, prepared.tolerance, items, prepared.boxes[starts[1] : starts[2]]
        )
        count, width = len(queries.points), items.psi.shape[1]
        self.local = kernels.new_local(width, count)
        self.low = heaps._replace(
            values=np.empty_like(heaps.values),
            labels=np.empty_like(heaps.labels),
            counts=np.zeros_like(heaps.counts),
            tally=np.zeros_like(heaps.tally),
            held=np.empty_like(heaps.held),
        )
        # Room for all pairs of a parent.
        room = count * BLOCK * FAN_OUT
        self.found = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.float32)
        room += _PENDING
        self.pending = np.empty(room, np.int32), np.empty(room, np.int64), np.empty(room)
        self.waiting = 0
        # How many features the coordinates have up to each cut.
        per = items.features.per_coordinate
        self.features = np.append(items.cuts * per, width)

    def run(self) -> None:
        items, heaps, local = self.items, self.heaps, self.local
        parents = len(items.centres)
        again = {0, *(int(share * parents) for share in _AGAIN)}
        chain = Chain((len(items.cuts),))
        products: NDArray[np.float32] | None = None
        for parent in range(parents):
            if parent in again:
                chain = self._choose()
            kernels.enter(items, self.queries, parent, heaps, local)
            scored = heaps.tally[0]
            if chain.is_whole:
                if products is None:
                    products = np.empty((FAN_OUT, len(local.phi), BLOCK), np.float32)
                scan_whole(items, self.queries, parent, heaps, local, products)
            else:
                self._take(parent, chain)
            rows = min(BLOCK * FAN_OUT, len(items.labels) - parent * BLOCK * FAN_OUT)
            heaps.tally[0] = scored + len(local.phi) * rows
        self._flush()

    def _take(self, parent: int, chain: Chain) -> None:
        """Take a parent's items."""
        items, heaps, local = self.items, self.heaps, self.local
        kernels.take_unfiltered(items, self.queries, parent, local, heaps)
        thresholds = self._thresholds(parent, self.queries, chain.stages, local)
        blocks = slice(parent * FAN_OUT, (parent + 1) * FAN_OUT)
        stages = list(chain.stages)
        first = int(self.features[stages[0]])
        count = _multiply(
            items.psi[blocks],
            _bases(items, blocks, stages),
            _padded(local.phi[:, :first]),
            local.phi,
            thresholds,
            self.features[stages],
            *self.found,
        )
        if self.waiting >= _PENDING:
            self._flush()
        pending: Any = tuple(array[self.waiting :] for array in self.pending)
        self.waiting += kernels.note_pairs(
            items, parent * BLOCK * FAN_OUT, *self.found, count, local, self.low, heaps, pending
        )

    def _flush(self) -> None:
        kernels.take_pairs(self.items, self.queries, self.pending, self.waiting, self.heaps)
        self.waiting = 0

    def _thresholds(
        self, parent: int, queries: Queries, stages: Sequence[int], local: Local
    ) -> NDArray[np.float32]:
        """Return what a query's sum has to reach after each stage, (stages, Q or some more)."""
        count = len(local.phi)
        thresholds = np.full((len(stages), -(-count // ROWS) * ROWS), np.inf, np.float32)
        for i, stage in enumerate(stages):
            thresholds[i, :count] = local.thresholds
            if stage == len(self.items.cuts):
                continue
            rest = self.rest.at_most(parent, queries, int(self.items.cuts[stage]))
            if rest is not None:
                thresholds[i, :count] = _less(local.thresholds, rest)
        # Those without a filter are taken by themselves.
        thresholds[:, :count][:, np.isinf(local.offsets)] = np.inf
        return thresholds

    def _choose(self) -> Chain:
        """Return the stages that take the least time, by a sample of pairs."""
        items = self.items
        count = len(self.queries.points)
        chosen = np.unique(np.linspace(0, count - 1, _SAMPLE_QUERIES).astype(np.int64))
        some = take_queries(self.queries, chosen)
        blocks = np.unique(np.linspace(0, len(items.base) - 1, _SAMPLE_BLOCKS).astype(np.int64))
        local = kernels.new_local(items.psi.shape[1], len(chosen))
        heaps = self.heaps._replace(floors=self.heaps.floors[chosen], cuts=self.heaps.cuts[chosen])
        stages = range(len(self.items.cuts) + 1)
        reached = np.zeros(len(stages), np.int64)
        for block in blocks:
            parent = int(block // FAN_OUT)
            kernels.enter(items, some, parent, heaps, local)
            here = slice(block, block + 1)
            thresholds = self._thresholds(parent, some, stages, local)
            thresholds[:, : len(chosen)][:, np.isinf(local.offsets)] = -np.inf
            bases = _bases(items, here, list(stages))
            _count(items.psi[block], bases[:, 0], local.phi, thresholds, self.features, reached)
        shares = reached / (len(chosen) * len(blocks) * BLOCK)
        return cheapest(shares, self.features, count)


def scan_whole(
    items: Items,
    queries: Queries,
    parent: int,
    heaps: Heaps,
    local: Local,
    products: NDArray[np.float32],
) -> None:
    """Take a parent's items into the heaps by products of all features, which BLAS makes.

    Args:
        items: The items.
        queries: The queries.
        parent: Which parent.
        heaps: The heaps.
        local: The queries' scratch, filled for the parent.
        products: Room for them, (FAN_OUT, Q, BLOCK).
    """
    psi = items.psi[parent * FAN_OUT : (parent + 1) * FAN_OUT]
    found = products[: len(psi)]
    with np.errstate(over="ignore", invalid="ignore"):
        np.matmul(local.phi, psi, out=found)
    kernels.take_products(items, queries, parent, found, local, heaps)


def cheapest(
    shares: NDArray[np.float64], features: NDArray[np.int64], num_queries: int
) -> Chain:
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
    begun += _TRANSPOSED * (features[-1] - features) / num_queries
    begun[last] = _WHOLE_PAIR + _WHOLE_FEATURE * features[-1]
    stages = [int(np.argmin(begun))]
    while stages[-1] < last:
        stages.append(int(following[stages[-1]]))
    return Chain(tuple(stages))


def _bases(items: Items, blocks: slice, stages: list[int]) -> NDArray[np.float32]:
    """Return what is added to the sums at these stages, (stages, blocks, BLOCK)."""
    last = len(items.cuts)
    return np.stack(
        [items.base[blocks] if s == last else items.bases[blocks, s] for s in stages]
    )


def _padded(phi: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a copy with a multiple of ROWS rows."""
    padded = np.zeros((-(-len(phi) // ROWS) * ROWS, phi.shape[1]), np.float32)
    padded[: len(phi)] = phi
    return padded


def _less(thresholds: NDArray[np.float32], rest: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return thresholds less what may be added later, rounded down; -inf if that is not known."""
    with np.errstate(over="ignore", invalid="ignore"):
        exact = thresholds.astype(np.float64) - rest
        lowered = exact - np.abs(exact) * 2.0**-22 - 1e-37
        return np.where(lowered > -3e38, lowered, -np.inf).astype(np.float32)


@compiled()
def _transpose(psi, first, rows):
    """Write a block's features from ``first`` on to ``rows``, (BLOCK, F): item by item."""
    source, stride = psi.ctypes.data, psi.strides[0]
    target, target_stride = rows.ctypes.data, rows.strides[0]
    for f in range(first, psi.shape[0], 8):
        for j in range(0, BLOCK, 8):
            transpose_eight(
                source + f * stride + 4 * j,
                stride,
                target + j * target_stride + 4 * f,
                target_stride,
            )


@compiled()
def _multiply_block(psi, base, phi, thresholds, start, numbers, masks):
    """Multiply the first features of a block and a tile of queries from ``start`` on.

    Args:
        psi: The block's features, (F, BLOCK).
        base: What is added to the sums before they are compared, (BLOCK,).
        phi: The queries' first features, (Q, W); Q is a multiple of ROWS.
        thresholds: Of the queries, (Q,).
        start: The first query.
        numbers: Room for the sums, (_TILE, BLOCK).
        masks: Room for the bits of the items that reach the thresholds, (_TILE,).

    Returns:
        How many queries the tile has.
    """
    count = min(_TILE, len(phi) - start)
    width = phi.shape[1]
    for s in range(0, count, ROWS):
        for r in range(ROWS):
            masks[s + r] = np.uint64(0)
        for j in range(0, BLOCK, LANES):
            bits = multiply_tile(
                psi.ctypes.data + 4 * j,
                psi.strides[0],
                base.ctypes.data + 4 * j,
                phi.ctypes.data + (start + s) * phi.strides[0],
                width,
                numbers.ctypes.data + s * numbers.strides[0] + 4 * j,
                numbers.strides[0],
                thresholds.ctypes.data + 4 * (start + s),
            )
            shift = np.uint64(j)
            masks[s] |= np.uint64(bits[0]) << shift
            masks[s + 1] |= np.uint64(bits[1]) << shift
            masks[s + 2] |= np.uint64(bits[2]) << shift
            masks[s + 3] |= np.uint64(bits[3]) << shift
            masks[s + 4] |= np.uint64(bits[4]) << shift
            masks[s + 5] |= np.uint64(bits[5]) << shift
    return count


@compiled()
def _multiply(psi, bases, first, phi, thresholds, ends, places, rows, numbers):
    """Multiply a parent's items stage by stage, each time the pairs that reach the thresholds.

    Args:
        psi: The parent's features, (blocks, F, BLOCK).
        bases: What is added to the sums at each stage, (stages, blocks, BLOCK).
        first: The queries' features of the first stage, (≥ Q, ends[0]).
        phi: All their features, (Q, F).
        thresholds: Of each stage, (stages, ≥ Q); +inf for those who take no part.
        ends: How many features have been multiplied after each stage, (stages,).
        places: Filled with the queries of the pairs that are left.
        rows: With their items, counted from the parent's first.
        numbers: With their sums, the base included.

    Returns:
        How many there are.
    """
    sums = np.empty((_TILE, BLOCK), np.float32)
    masks = np.empty(_TILE, np.uint64)
    items = np.empty((BLOCK, psi.shape[1]), np.float32)
    one = np.uint64(1)
    done = 0
    for block in range(len(psi)):
        transposed = False
        for start in range(0, len(first), _TILE):
            count = _multiply_block(
                psi[block], bases[0, block], first, thresholds[0], start, sums, masks
            )
            # The pairs of this block and tile stand behind those that are done.
            last = done
            for s in range(count):
                mask = masks[s]
                if thresholds[0, start + s] == np.inf:
                    continue
                while mask:
                    j = lowest_bit(mask)
                    mask &= mask - one
                    places[last] = start + s
                    rows[last] = j
                    numbers[last] = sums[s, j]
                    last += 1
            if last > done and not transposed:
                _transpose(psi[block], ends[0], items)
                transposed = True
            for stage in range(1, len(ends)):
                begin = ends[stage - 1]
                eights = (ends[stage] - begin) // 8
                kept = done
                for i in range(done, last):
                    q = places[i]
                    j = rows[i]
                    total = numbers[i] + dot(
                        phi.ctypes.data + q * phi.strides[0] + 4 * begin,
                        items.ctypes.data + j * items.strides[0] + 4 * begin,
                        eights,
                    )
                    places[kept] = q
                    rows[kept] = j
                    numbers[kept] = total
                    kept += not total + bases[stage, block, j] < thresholds[stage, q]
                last = kept
            for i in range(done, last):
                numbers[i] += bases[len(ends) - 1, block, rows[i]]
                rows[i] += block * BLOCK
            done = last
    return done


@compiled()
def _count(psi, bases, phi, thresholds, ends, reached):
    """Add to ``reached`` how many pairs of a block and some queries reach each threshold.

    Args:
        psi: The block's features, (F, BLOCK).
        bases: What is added to the sums at each stage, (stages, BLOCK).
        phi: The queries' features, (Q, F).
        thresholds: Of each stage, (stages, ≥ Q).
        ends: How many features have been multiplied after each stage.
        reached: One number for each stage.
    """
    items = np.empty((BLOCK, psi.shape[0]), np.float32)
    _transpose(psi, 0, items)
    for q in range(len(phi)):
        for j in range(BLOCK):
            total = np.float32(0)
            begin = 0
            for stage in range(len(ends)):
                total += dot(
                    phi.ctypes.data + q * phi.strides[0] + 4 * begin,
                    items.ctypes.data + j * items.strides[0] + 4 * begin,
                    (ends[stage] - begin) // 8,
                )
                if total + bases[stage, j] < thresholds[stage, q]:
                    break
                reached[stage] += 1
                begin = ends[stage]
