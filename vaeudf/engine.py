"""The exact query engine in memory: items and queries made ready for the kernels, and the search.

The steps, for a group of queries at a time: each query goes greedily down the tree of boxes to the
node that promises most, and the k best there give it a floor; then all go down together, and
whatever cannot reach the floor is passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeudf import kernels
from vaeudf.boxes import Boxes
from vaeudf.errors import InputError
from vaeudf.kernels import BLOCK, FAN_OUT
from vaeudf.scores import Score

_PARENT = BLOCK * FAN_OUT
# Memory of the heaps of one group of queries, and the most queries in one. The more go together,
# the less often the items come from memory: 1,024 took 1.9 times as long as 16,384 on 5M items.
_HEAP_BYTES = 2**27
_QUERIES_PER_GROUP = 16_384
# Below this many items bounds cost more than they save.
_FEWEST_FOR_BOUNDS = 4 * _PARENT
# A query, or half a range of one, beyond this would overflow float32 when squared.
_LARGEST_POINT = 1e15
# From so many features on, BLAS multiplies faster than the kernel; and queries in one product.
_WIDE = 64
_QUERIES_PER_PRODUCT = 1024
# Queries and blocks on which it is measured whether bounds pay, and the part of the blocks that
# may be left over if they do: a bound costs about an eighth of scoring its block.
_SAMPLE = 128
_WORTH_BOUNDS = 0.8
# For so few queries, or pairs, features cost more than they save: about 0.1 µs a number to make,
# where the direct formula takes 10 ns a number and query.
_FEWEST_FOR_FEATURES = 4
_SMALL = 100_000
_STEEPEST = -1e30
# Far above float32's denormals, far below any feature that matters: rounding errors that are not
# relative (underflow) stay below this times the unit roundoff.
_TINY = 1e-30
# An item's feature beyond this may overflow float32.
_LARGEST_FEATURE = 1e37
# By AM-GM from float64's 2e-16, squared, and the margin's share of at least 1e-6 of the size.
_LAST_DIGIT = 1e-15
_LOG_2PI = math.log(2.0 * math.pi)


@dataclass
class Work:
    """What a search has done, for the run's summary.

    Attributes:
        pairs: Pairs of query and item that the search answered for.
        filtered: Pairs that were scored by the filter.
        rescored: Pairs that were scored in float64.
        bounds: Bounds computed.
        rescored_alone: Pairs that were scored in float64 without having been filtered.
    """

    pairs: int = 0
    filtered: int = 0
    rescored: int = 0
    bounds: int = 0
    rescored_alone: int = 0


@dataclass(frozen=True)
class Sums:
    """Running sums over items of e^value, one per query, by streaming log-sum-exp.

    Attributes:
        cuts: Values below which an item is left out, shape (Q,).
        largest: The largest value so far, shape (Q,).
        scaled: Sum of e^(value - largest), shape (Q,).
    """

    cuts: NDArray[np.float64]
    largest: NDArray[np.float64]
    scaled: NDArray[np.float64]

    @classmethod
    def start(cls, cuts: NDArray[np.float64]) -> Sums:
        """Return sums over nothing."""
        return cls(cuts, np.full(len(cuts), -np.inf), np.zeros(len(cuts)))

    def take(self, which: NDArray[np.int64]) -> Sums:
        """Return sums over nothing for some of the queries."""
        return Sums.start(self.cuts[which])

    def add(
        self,
        which: NDArray[np.int64],
        largest: NDArray[np.float64],
        scaled: NDArray[np.float64],
    ) -> None:
        """Add the sums over other items for some of the queries."""
        both = np.maximum(self.largest[which], largest)
        anchor = np.where(np.isneginf(both), 0.0, both)
        self.scaled[which] = self.scaled[which] * np.exp(
            self.largest[which] - anchor
        ) + scaled * np.exp(largest - anchor)
        self.largest[which] = both

    def logarithms(self) -> NDArray[np.float64]:
        """Return the sums' logarithms, -inf for a sum over nothing."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.largest + np.log(self.scaled))


@dataclass(frozen=True)
class Prepared:
    """Items ready to be searched by one score with one tolerance."""

    score: Score
    tolerance: float
    items: kernels.Items
    nodes: kernels.Nodes | None
    work: Work = field(default_factory=Work)

    def __len__(self) -> int:
        return len(self.items.labels)

    @property
    def log_tau2(self) -> float:
        """Log of the squared tolerance."""
        return log_tau2(self.tolerance)


def check_k(k: int) -> int:
    """Return k, or raise InputError if it is below 1 or no whole number."""
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool):
        raise InputError(f"k is {k!r}; expected a whole number.")
    if k < 1:
        raise InputError(f"k is {k}; expected at least 1.")
    return k


def log_tau2(tolerance: float) -> float:
    """Return log tau², -inf for 0."""
    return 2.0 * math.log(tolerance) if tolerance > 0 else -math.inf


def prepare(
    score: Score,
    mu: NDArray[Any],
    log_var: NDArray[Any],
    labels: NDArray[np.int64],
    tolerance: float = 0.0,
    bounds: bool = True,
) -> Prepared:
    """Make items ready to be searched.

    Args:
        score: What to rank by.
        mu: Means, shape (N, n), float32 or float64; bounds are worth the more, the nearer to each
            other consecutive rows are.
        log_var: log sigma², shape (N, n).
        labels: What a search returns and breaks ties by, shape (N,).
        tolerance: tau.
        bounds: Whether to make the tree of boxes.
    """
    mu, log_var = np.ascontiguousarray(mu), np.ascontiguousarray(log_var)
    num_rows, n = mu.shape
    tau2 = log_tau2(tolerance)
    num_blocks = -(-num_rows // BLOCK)
    num_parents = -(-num_rows // _PARENT)
    d = 2 * n if score.code == kernels.WASSERSTEIN2 else n
    width = _num_features(score, d)
    base = np.full((num_blocks, BLOCK), -np.inf, np.float32)
    psi = np.zeros((num_blocks, width, BLOCK), np.float32)
    centres = np.zeros((num_parents, d))
    magnitudes = np.zeros((num_parents, width + 1))
    boxes = np.empty((4, num_blocks, d))
    code = score.code
    with np.errstate(over="ignore"):
        kernels.fill_boxes(code, mu, log_var, tau2, boxes)
    if num_rows:
        firsts = np.arange(0, num_blocks, FAN_OUT)
        low = np.minimum.reduceat(boxes[0], firsts)
        high = np.maximum.reduceat(boxes[1], firsts)
        centres[:] = 0.5 * low + 0.5 * high
        kernels.fill_features(code, mu, log_var, tau2, centres, base, psi, magnitudes)
        magnitudes += _TINY
        with np.errstate(over="ignore"):
            # A query's feature may underflow to 0: what is lost then grows with the item's.
            magnitudes[:, -1] += _TINY * magnitudes[:, :-1].sum(axis=1)
            if code == kernels.WASSERSTEIN2:
                # Two ways to compute a sigma differ in its last digit.
                magnitudes[:, -1] += _LAST_DIGIT * np.square(high[:, n:]).sum(axis=1)
        beyond = ~(np.abs(centres).max(axis=1) < _LARGEST_POINT)
        magnitudes[beyond | ~(magnitudes.max(axis=1) < _LARGEST_FEATURE)] = np.inf
    items = kernels.Items(mu, log_var, labels, base, psi, centres, magnitudes)
    nodes = _tree(score, boxes) if bounds and num_rows else None
    return Prepared(score, tolerance, items, nodes)


def _num_features(score: Score, d: int) -> int:
    width = 4 * d if score.code == kernels.JEFFREYS else 2 * d
    return max(8, -(-width // 4) * 4)


def _tree(score: Score, boxes: NDArray[np.float64]) -> kernels.Nodes:
    """Return the tree of boxes over blocks; boxes are (4, blocks, d)."""
    levels = [boxes]
    while levels[-1].shape[1] > FAN_OUT:
        below = levels[-1]
        firsts = np.arange(0, below.shape[1], FAN_OUT)
        levels.append(
            np.stack(
                [
                    np.minimum.reduceat(below[0], firsts),
                    np.maximum.reduceat(below[1], firsts),
                    np.minimum.reduceat(below[2], firsts),
                    np.maximum.reduceat(below[3], firsts),
                ]
            )
        )
    starts = np.cumsum([0] + [level.shape[1] for level in levels])
    low, high, log_low, log_high = np.concatenate(levels, axis=1)
    return make_nodes(score, starts, low, high, log_low, log_high)


def nodes_of_boxes(score: Score, tolerance: float, boxes: Boxes) -> kernels.Nodes:
    """Return boxes of posteriors, such as those of row groups, as the kernels read them."""
    tau2 = log_tau2(tolerance)
    low, high = (np.asarray(ends, np.float64) for ends in (boxes.mu_min, boxes.mu_max))
    log_low, log_high = (
        np.logaddexp(np.asarray(ends, np.float64), tau2)
        for ends in (boxes.log_var_min, boxes.log_var_max)
    )
    if score.code == kernels.WASSERSTEIN2:
        with np.errstate(over="ignore"):
            low = np.concatenate([low, np.exp(0.5 * log_low)], axis=1)
            high = np.concatenate([high, np.exp(0.5 * log_high)], axis=1)
        log_low, log_high = np.tile(log_low, 2), np.tile(log_high, 2)
    return make_nodes(score, np.array([0, len(boxes)]), low, high, log_low, log_high)


def make_nodes(
    score: Score,
    starts: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    log_low: NDArray[np.float64],
    log_high: NDArray[np.float64],
) -> kernels.Nodes:
    """Return boxes as the kernels read them; all of shape (nodes, d), log variances blurred."""
    code = score.code
    num_nodes, d = low.shape
    forward = np.zeros((num_nodes, d, 6))
    backward = np.zeros((num_nodes if code in (kernels.REVERSE_KL, kernels.JEFFREYS) else 0, d, 6))
    with np.errstate(over="ignore"):
        if code in (kernels.LOG_LIKELIHOOD, kernels.KL, kernels.JEFFREYS):
            forward = _lines(log_low, log_high)
            if code == kernels.LOG_LIKELIHOOD:
                forward[:, :, ::2] -= 0.5 * _LOG_2PI
        elif code == kernels.MAHALANOBIS:
            forward[:, :, 1::2] = -0.5 * np.exp(-log_high)[:, :, None]
        elif code in (kernels.EUCLIDEAN, kernels.WASSERSTEIN2):
            forward[:, :, 1::2] = -0.5
        if len(backward):
            backward = _lines(-log_high, -log_low)
        # More by what float32 may lose of a variance that is no normal number there.
        widest = np.exp(log_high) + 1e-36
    peak = np.abs(forward[:, :, ::2]).max(axis=2).sum(axis=1) + _TINY
    if len(backward):
        peak = peak + np.abs(backward[:, :, ::2]).max(axis=2).sum(axis=1)
    if code == kernels.LOG_LIKELIHOOD:
        # It may cancel with log sigma² in the intercepts.
        peak = peak + d * _LOG_2PI
    return kernels.Nodes(
        starts.astype(np.int64),
        _down(low),
        _up(high),
        _rounded(forward),
        _rounded(backward),
        _up(widest),
        _up(peak),
    )


def _lines(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return three lines in t, the largest of which is at least -½(t e^-a + a), a in [low, high].

    The maximum is convex in t and a straight line outside [e^low, e^high]; so it lies below the
    chord between these two points, and on the lines through the two outside them.
    """
    width = high - low
    with np.errstate(invalid="ignore", over="ignore"):
        ratio = np.where(width > 1e-12, width / np.expm1(width), 1.0)
        lines = np.stack(
            [
                -0.5 * low,
                -0.5 * np.exp(-low),
                -0.5 * (1 + low) + 0.5 * ratio,
                -0.5 * ratio * np.exp(-low),
                -0.5 * high,
                -0.5 * np.exp(-high),
            ],
            axis=2,
        )
    return lines


def _rounded(lines: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return lines in float32 that are not below these for any t ≥ 0, as float32 computes t."""
    # t itself may come out too large by four roundings.
    slopes = np.maximum(np.nan_to_num(lines[..., 1::2], nan=0.0), _STEEPEST) * (1 - 2.0**-21)
    rounded = np.empty(lines.shape, np.float32)
    rounded[..., ::2] = _up(lines[..., ::2])
    rounded[..., 1::2] = np.minimum(_up(slopes), 0)
    return rounded


def _up(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.nextafter(numbers.astype(np.float32), np.float32(np.inf))


def _down(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.nextafter(numbers.astype(np.float32), np.float32(-np.inf))


def prepare_queries(
    score: Score, mu: NDArray[np.float64], log_var: NDArray[np.float64] | None, tolerance: float
) -> kernels.Queries:
    """Make queries ready: z of shape (Q, n), or Gaussians with log_var of the same shape."""
    points = mu
    blurred = np.zeros_like(mu)
    spread = np.zeros_like(mu)
    weights = np.zeros_like(mu)
    constant = np.zeros(len(mu))
    code = score.code
    if log_var is not None and score.between_gaussians:
        blurred = np.logaddexp(log_var, log_tau2(tolerance))
        with np.errstate(over="ignore"):
            variance = np.exp(blurred)
            if code == kernels.WASSERSTEIN2:
                points = np.concatenate([mu, np.exp(np.minimum(0.5 * blurred, 700.0))], axis=1)
                spread = weights = np.zeros_like(points)
            else:
                spread = variance
                weights = np.exp(-blurred)
        if code == kernels.KL:
            constant = 0.5 * (blurred + 1).sum(axis=1)
        elif code == kernels.REVERSE_KL:
            constant = -0.5 * (blurred - 1).sum(axis=1)
        elif code == kernels.JEFFREYS:
            constant = np.full(len(mu), float(mu.shape[1]))
    extreme = np.maximum(np.abs(points), np.maximum(spread, weights)).max(axis=1)
    unfiltered = ~(extreme < _LARGEST_POINT) | (code == kernels.BHATTACHARYYA)
    return kernels.Queries(
        np.ascontiguousarray(mu),
        blurred,
        points,
        spread,
        weights,
        constant,
        unfiltered,
        _down(points),
        _up(points),
        np.maximum(_down(spread), 0),
        np.maximum(_down(weights), 0),
    )


def take_queries(queries: kernels.Queries, which: NDArray[np.int64]) -> kernels.Queries:
    """Return some of the queries."""
    arrays: list[Any] = [array[which] for array in queries]
    return kernels.Queries(*arrays)


def is_small(num_queries: int, num_items: int) -> bool:
    """Whether the direct formula alone is faster than making the items ready first."""
    return num_queries <= _FEWEST_FOR_FEATURES or num_queries * num_items <= _SMALL


def search_directly(
    score: Score,
    mu: NDArray[Any],
    log_var: NDArray[Any],
    labels: NDArray[np.int64],
    queries: kernels.Queries,
    k: int,
    tolerance: float = 0.0,
    floors: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Search as :func:`search` does, by the direct formula on every pair."""
    heaps = _scan_directly(score, mu, log_var, labels, queries, k, tolerance, floors)
    _sort(heaps)
    return heaps.values, heaps.labels, heaps.counts


def candidates_directly(
    score: Score,
    mu: NDArray[Any],
    log_var: NDArray[Any],
    labels: NDArray[np.int64],
    queries: kernels.Queries,
    k: int,
    tolerance: float,
    floors: NDArray[np.float64],
    sums: Sums | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], bool]:
    """Search as :func:`candidates` does, by the direct formula on every pair."""
    heaps = _scan_directly(score, mu, log_var, labels, queries, k, tolerance, floors, sums)
    if sums is not None:
        everyone = np.arange(len(heaps.counts))
        sums.add(everyone, heaps.sums[:, 0], heaps.sums[:, 1])
    return *kernels.flatten(heaps), bool(heaps.tally[3])


def _scan_directly(
    score: Score,
    mu: NDArray[Any],
    log_var: NDArray[Any],
    labels: NDArray[np.int64],
    queries: kernels.Queries,
    k: int,
    tolerance: float,
    floors: NDArray[np.float64] | None,
    sums: Sums | None = None,
) -> kernels.Heaps:
    keep = min(k, len(mu))
    heaps = _new_heaps(len(queries.mu), keep, floors, sums)
    if keep:
        mu, log_var = np.ascontiguousarray(mu), np.ascontiguousarray(log_var)
        kernels.scan_directly(score.code, mu, log_var, labels, queries, log_tau2(tolerance), heaps)
    return heaps


def _new_heaps(
    num_queries: int,
    keep: int,
    floors: NDArray[np.float64] | None,
    sums: Sums | None = None,
) -> kernels.Heaps:
    return kernels.Heaps(
        np.empty((num_queries, keep)),
        np.empty((num_queries, keep), np.int64),
        np.zeros(num_queries, np.int64),
        np.full(num_queries, -np.inf) if floors is None else floors.copy(),
        np.full(num_queries, np.inf) if sums is None else sums.cuts.copy(),
        np.tile([-np.inf, 0.0], (num_queries, 1)),
        np.zeros(4, np.int64),
    )


def search(
    prepared: Prepared,
    queries: kernels.Queries,
    k: int,
    floors: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the k items of the highest value for every query.

    Args:
        prepared: The items.
        queries: The queries.
        k: How many.
        floors: Values below which nothing is wanted, shape (Q,).

    Returns:
        Values (Q, m), best first, with m = min(k, N); labels (Q, m); and how many of each row
        count, (Q,): all m unless a floor left fewer.
    """
    num_queries, keep = len(queries.mu), min(k, len(prepared))
    values = np.full((num_queries, keep), -np.inf)
    labels = np.zeros((num_queries, keep), np.int64)
    counts = np.zeros(num_queries, np.int64)
    for group, heaps in _search_groups(prepared, queries, keep, floors):
        _sort(heaps)
        values[group], labels[group], counts[group] = heaps.values, heaps.labels, heaps.counts
    return values, labels, counts


def candidates(
    prepared: Prepared,
    queries: kernels.Queries,
    k: int,
    floors: NDArray[np.float64],
    sums: Sums | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], bool]:
    """Return what of these items can be among each query's k best, as flat arrays in no order.

    Args:
        prepared: Some of the items.
        queries: The queries.
        k: How many.
        floors: Values below which nothing is wanted, shape (Q,).
        sums: Sums to add these items to.

    Returns:
        Places of the queries, values and labels, each of shape (m,); and whether labels decided
        between items of equal value.
    """
    keep = min(k, len(prepared))
    parts = []
    tied = False
    for group, heaps in _search_groups(prepared, queries, keep, floors, sums):
        places, values, labels = kernels.flatten(heaps)
        parts.append((group[places], values, labels))
        tied |= bool(heaps.tally[3])
    if not parts:
        return np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64), False
    places, values, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return places, values, labels, tied


def _search_groups(
    prepared: Prepared,
    queries: kernels.Queries,
    keep: int,
    floors: NDArray[np.float64] | None,
    sums: Sums | None = None,
) -> Iterator[tuple[NDArray[np.int64], kernels.Heaps]]:
    """Search for some queries at a time; yield which, and what was found, not in order."""
    num_queries = len(queries.mu)
    if num_queries == 0 or keep == 0:
        return
    prepared.work.pairs += num_queries * len(prepared)
    code, items, nodes = prepared.score.code, prepared.items, prepared.nodes
    if len(prepared) < _FEWEST_FOR_BOUNDS:
        nodes = None
    order = np.arange(num_queries)
    level = _seed_level(items, keep)
    starts = np.zeros(num_queries, np.int64)
    seeded = floors is None or bool(np.isneginf(floors).all())
    if nodes is not None and seeded:
        kernels.promising(code, nodes, queries, level, order, starts)
        # Queries that go the same way go together.
        order = np.argsort(starts, kind="stable")
    most = _QUERIES_PER_GROUP if items.psi.shape[1] < _WIDE else _QUERIES_PER_PRODUCT
    group_size = max(1, min(most, _HEAP_BYTES // (16 * keep)))
    for begin in range(0, num_queries, group_size):
        group = order[begin : begin + group_size]
        heaps = _new_heaps(
            len(group),
            keep,
            None if floors is None else floors[group],
            None if sums is None else sums.take(group),
        )
        own = take_queries(queries, group)
        if seeded:
            _raise_floors(prepared, own, heaps, level, starts[group])
        if nodes is not None and begin == 0 and not _bounds_pay(prepared, own, heaps):
            nodes = None
        everyone = np.arange(len(group))
        if nodes is None and items.psi.shape[1] >= _WIDE and code != kernels.BHATTACHARYYA:
            _scan_by_products(prepared, own, heaps)
        elif nodes is None:
            kernels.scan(code, items, own, prepared.log_tau2, everyone, heaps)
        else:
            kernels.descend(code, items, nodes, own, prepared.log_tau2, everyone, heaps)
        prepared.work.filtered += int(heaps.tally[0])
        prepared.work.rescored += int(heaps.tally[1])
        prepared.work.bounds += int(heaps.tally[2])
        if sums is not None:
            sums.add(group, heaps.sums[:, 0], heaps.sums[:, 1])
        yield group, heaps


def _scan_by_products(prepared: Prepared, queries: kernels.Queries, heaps: kernels.Heaps) -> None:
    """Scan all items, with the filter's multiplications done by BLAS.

    In many dimensions these are all that takes time, and a BLAS does them faster than the kernel
    (90 against 60 GFLOP/s with n = 64). To multiply a quarter of the dimensions first, and the
    others only where that quarter leaves a chance, did not pay: some item of a block has one.
    """
    code, items = prepared.score.code, prepared.items
    count, width = len(queries.points), items.psi.shape[1]
    local = kernels.new_local(width, count)
    products = np.empty((FAN_OUT, count, BLOCK), np.float32)
    for parent in range(len(items.centres)):
        psi = items.psi[parent * FAN_OUT : (parent + 1) * FAN_OUT]
        kernels.enter(code, items, queries, parent, heaps, local)
        found = products[: len(psi)]
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(local.phi, psi, out=found)
        visited = kernels.take_products(
            code, items, queries, prepared.log_tau2, parent, found, local, heaps
        )
        # What was visited has been counted there.
        heaps.tally[0] += (len(psi) * count - visited) * BLOCK


def _raise_floors(
    prepared: Prepared,
    queries: kernels.Queries,
    heaps: kernels.Heaps,
    level: int,
    starts: NDArray[np.int64],
) -> None:
    """Give every query a floor from the node where it starts, and leave the heaps empty."""
    heaps = heaps._replace(cuts=np.full(len(heaps.counts), np.inf))
    everyone = np.arange(len(queries.mu))
    for members in np.split(everyone, np.flatnonzero(np.diff(starts)) + 1):
        kernels.raise_floors(
            prepared.score.code,
            prepared.items,
            queries,
            prepared.log_tau2,
            level,
            starts[members[0]],
            members,
            heaps,
        )
    # The search comes by those items again.
    heaps.counts[:] = 0


def _bounds_pay(prepared: Prepared, queries: kernels.Queries, heaps: kernels.Heaps) -> bool:
    """Measure on a sample whether the bounds pass over enough to be worth computing."""
    nodes = prepared.nodes
    assert nodes is not None
    sample = np.unique(np.linspace(0, len(queries.mu) - 1, _SAMPLE).astype(np.int64))
    blocks = np.unique(np.linspace(0, len(prepared.items.base) - 1, _SAMPLE).astype(np.int64))
    reached = kernels.count_reached(
        prepared.score.code,
        nodes,
        queries,
        blocks,
        sample,
        np.minimum(heaps.floors, heaps.cuts),
    )
    return bool(reached <= _WORTH_BOUNDS * len(sample) * len(blocks))


def _seed_level(items: kernels.Items, keep: int) -> int:
    """Return the lowest level whose nodes have enough items for a floor."""
    level = 1
    while BLOCK * FAN_OUT**level < min(2 * keep, len(items.labels)):
        level += 1
    return level


def _sort(heaps: kernels.Heaps) -> None:
    """Bring every heap in order: value descending, then label ascending."""
    empty = np.arange(heaps.values.shape[1]) >= heaps.counts[:, None]
    heaps.values[empty] = -np.inf
    heaps.labels[empty] = np.iinfo(np.int64).max
    by_label = np.argsort(heaps.labels, axis=1)
    heaps.labels[:] = np.take_along_axis(heaps.labels, by_label, axis=1)
    heaps.values[:] = np.take_along_axis(heaps.values, by_label, axis=1)
    by_value = np.argsort(-heaps.values, axis=1, kind="stable")
    heaps.labels[:] = np.take_along_axis(heaps.labels, by_value, axis=1)
    heaps.values[:] = np.take_along_axis(heaps.values, by_value, axis=1)
