"""The records that the compiled loops read: items, boxes, queries, and what they keep of each.

Numba keeps what it has compiled until ``kernels.py`` itself changes, and reads fields by their
places. The order of the fields is therefore written down there once more: a change here has to be
one there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.scores.score import Features


class Items(NamedTuple):
    """Items in blocks, as the kernels read them, for one score with one tolerance.

    Attributes:
        code: That of the score's formula.
        features: The score's features.
        log_tau2: Log of the squared tolerance of each dimension, (n,), -inf for none.
        mu: Means as stored, (N, n).
        log_var: log sigma² as stored, (N, n).
        labels: What the heaps hold and break ties by, (N,) int64; an item is passed over if
            negative: it keeps its place in the tree of boxes, and so do its neighbours.
        base: The filter's constant per item, (blocks, BLOCK) float32; -inf beyond the last row.
            Without blocks, every item is scored by the formula.
        psi: The filter's features, (blocks, F, BLOCK) float32, F ≥ 8 a multiple of 4. With added
            variances a coordinate, from the centre, and a variance for each dimension.
        centres: What the features are centred on, per parent of FAN_OUT blocks, (parents, d). With
            added variances the least variance of each dimension follows, (parents, 2d).
        magnitudes: Largest |psi| per feature and, last, of the base's terms, (parents, F + 1);
            infinite where float32 cannot be trusted.
        order: Which coordinate comes first in all that has one number for each, and so on, (d,):
            the queries' are put in that order, too.
        cuts: After how many coordinates a product of the first ones may end, ascending, (C,); none
            if it is not to be used.
        bases: The filter's constant per item for each of these, of which the values of all items
            are certainly not above such a product, (blocks, C, BLOCK) float32.
    """

    code: int
    features: Features
    log_tau2: NDArray[np.float64]
    mu: NDArray[np.floating]
    log_var: NDArray[np.floating]
    labels: NDArray[np.int64]
    base: NDArray[np.float32]
    psi: NDArray[np.float32]
    centres: NDArray[np.float64]
    magnitudes: NDArray[np.float64]
    order: NDArray[np.int64]
    cuts: NDArray[np.int64]
    bases: NDArray[np.float32]


class Nodes(NamedTuple):
    """The tree of boxes, level by level from the blocks up.

    Attributes:
        starts: Where each level begins in the arrays below, (levels + 1,).
        low: Lower ends of the boxes, (nodes, d) float32, rounded down.
        high: Upper ends, rounded up.
        forward: Three lines (intercept, slope) per dimension in t = squared distance (plus the
            query's variance), (nodes, d, 6) float32; their maximum bounds the term from above.
            (0, d, 6) if the score has no such terms.
        backward: The same in w = 1 / the query's variance.
        added: The features' number of that name, float32.
        narrowest: The least variance of the bound with added variances, (nodes, d) float32, rounded
            down; (0, d) if the score is not bounded by it.
        widest: The largest one, rounded up.
        peak: Sum over dimensions of the largest |intercept|, (nodes,) float32.
    """

    starts: NDArray[np.int64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    forward: NDArray[np.float32]
    backward: NDArray[np.float32]
    added: np.float32
    narrowest: NDArray[np.float32]
    widest: NDArray[np.float32]
    peak: NDArray[np.float32]


class Queries(NamedTuple):
    """Queries, as the kernels read them.

    Attributes:
        mu: z, NaN in a dimension that is left open, or a Gaussian query's mean, (Q, n).
        log_var: A Gaussian query's log sigma², tolerance included, (Q, n); zeros for points. Of
            blends, these two are what ``Blended`` in :mod:`vaeudf.gaussian.blends` has, (Q, 2n).
        points: Where the query is in the space of the boxes, (Q, d).
        spread: What is added to the squared distance in the forward terms, (Q, d), or 0; below 0
            in some blends.
        weights: 1 / the query's variance in the backward terms, (Q, d), or 0.
        constant: What the value has beyond the filter's product, (Q,).
        unfiltered: Queries too extreme for float32, (Q,): every item is scored directly.
        point_down: points rounded to float32 downwards, (Q, d).
        point_up: points rounded upwards.
        spread_down: spread rounded downwards; (Q, 0) if the score has none.
        weight_down: weights rounded downwards; (Q, 0) if the score has none.
        closed: 1, or 0 for a coordinate that is left open, (Q, d); (Q, 0) if no query leaves any.
    """

    mu: NDArray[np.float64]
    log_var: NDArray[np.float64]
    points: NDArray[np.float64]
    spread: NDArray[np.float64]
    weights: NDArray[np.float64]
    constant: NDArray[np.float64]
    unfiltered: NDArray[np.bool_]
    point_down: NDArray[np.float32]
    point_up: NDArray[np.float32]
    spread_down: NDArray[np.float32]
    weight_down: NDArray[np.float32]
    closed: NDArray[np.float32]


class PerValue(NamedTuple):
    """At most how many items of each value may be among the k best.

    Attributes:
        codes: Which value each item has, by its label, int32.
        at_most: How many items of one value.
    """

    codes: NDArray[np.int32]
    at_most: int


class Heaps(NamedTuple):
    """The running top-k of every query: binary heaps, the worst of the kept at the root.

    Attributes:
        values: (Q, k).
        labels: (Q, k).
        counts: How many are filled, (Q,).
        floors: Values below this cannot be among the k best, (Q,).
        cuts: Values below which an item adds nothing to the sums either, (Q,); +inf where no sums
            are wanted.
        sums: Largest value, and the sum of e^(value - largest), over the items above the cuts,
            (Q, 2).
        tally: Pairs scored by the filter (or at once by the direct formula), pairs rescored, bounds
            computed, and whether labels decided between equal values which item to keep.
        codes: Which value of a column each item has, by its label, int32; empty if items of one
            value may be any number.
        held: The codes of the labels, (Q, k); (Q, 0) without codes.
        at_most: How many items of one code a heap may hold.
    """

    values: NDArray[np.float64]
    labels: NDArray[np.int64]
    counts: NDArray[np.int64]
    floors: NDArray[np.float64]
    cuts: NDArray[np.float64]
    sums: NDArray[np.float64]
    tally: NDArray[np.int64]
    codes: NDArray[np.int32]
    held: NDArray[np.int32]
    at_most: int


class Local(NamedTuple):
    """Scratch for the queries that reach one parent.

    Attributes:
        phi: Their features, (S, F) float32.
        offsets: Constant plus margin: how far a float32 number may be below the floor, (S,).
        lifts: Constant minus margin: what a float32 number lacks to a value that is certain, (S,).
        thresholds: The floors, less the offsets, rounded down to float32, (S,).
        places: Their numbers, (S,).
        scores: The filter's numbers for four queries, and a row for what is multiplied on the way,
            (5, BLOCK).
    """

    phi: NDArray[np.float32]
    offsets: NDArray[np.float64]
    lifts: NDArray[np.float64]
    thresholds: NDArray[np.float32]
    places: NDArray[np.int64]
    scores: NDArray[np.float32]


class Level(NamedTuple):
    """Scratch for the queries at one level of a descent.

    Attributes:
        places: Their numbers, (S,).
        down: Their points rounded down, a row per dimension, (d, S) float32.
        up: Rounded up.
        spread: (d, S), or (d, 0) where the score needs none.
        weight: The weights in the same way.
        closed: 1 or 0 for each coordinate, (d, S); (d, 0) if no query leaves any open.
    """

    places: NDArray[np.int64]
    down: NDArray[np.float32]
    up: NDArray[np.float32]
    spread: NDArray[np.float32]
    weight: NDArray[np.float32]
    closed: NDArray[np.float32]


class Partly(NamedTuple):
    """How products begin with the first coordinates, and what the others add at most.

    Attributes:
        cuts: Which of the items' cuts each stage ends at, (S,); the last is C, for all coordinates.
        ends: How many features have been multiplied after each stage, (S,).
        coordinates: How many coordinates these are of, (S,).
        least_precision: The least precision of each parent's items, (parents, d), in the items'
            order; (0, d), as what follows, if the others add at most 0.
        most_precision: The largest.
        least_variance: The least variance.
        most_added: The most that a coordinate adds whatever the query is.
        size_added: The absolute values of what is added up in it.
    """

    cuts: NDArray[np.int64]
    ends: NDArray[np.int64]
    coordinates: NDArray[np.int64]
    least_precision: NDArray[np.float64]
    most_precision: NDArray[np.float64]
    least_variance: NDArray[np.float64]
    most_added: NDArray[np.float64]
    size_added: NDArray[np.float64]


class Work(NamedTuple):
    """Scratch of products in stages, for the queries at a parent and one tile of them.

    Attributes:
        thresholds: What a sum and its base have to reach after each stage, (S, Q) float32; +inf
            for a query that takes no part.
        offsets: What is added to the floors for them, (S, Q).
        sums: Of the first stage, (tile, BLOCK) float32.
        masks: Bits of the items that reach the first threshold, (tile,) uint64.
        places: Queries of the pairs that are left, counted from the tile's first, int32.
        rows: Their items, counted from the block's first, int32.
        numbers: Their sums, float32.
        items: A block's features, item by item, (BLOCK, F) float32.
    """

    thresholds: NDArray[np.float32]
    offsets: NDArray[np.float64]
    sums: NDArray[np.float32]
    masks: NDArray[np.uint64]
    places: NDArray[np.int32]
    rows: NDArray[np.int32]
    numbers: NDArray[np.float32]
    items: NDArray[np.float32]
