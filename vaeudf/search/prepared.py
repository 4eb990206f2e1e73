"""Items, boxes and queries made ready for the kernels, by one score with one tolerance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.scores import Score
from vaeudf.gaussian.variances import log_tau2
from vaeudf.numerics.boxes import Boxes
from vaeudf.search.coordinates import (
    cuts_of,
    mean_features,
    order_of_coordinates,
    rest_of,
)
from vaeudf.search.kernels import BLOCK, FAN_OUT, fill_features
from vaeudf.search.nodes import TINY, down, in_space_of, nodes_of_tree, tree_of, up
from vaeudf.search.records import Items, Nodes, Partly, Queries

# A query, or half a range of one, beyond this would overflow float32 when squared.
_LARGEST_POINT = 1e15
# For one query, or at most this many pairs, features cost more time than they save.
_SMALL = 100_000
# So many parents share one centre where there are cuts: in so many dimensions it is hardly nearer
# to fewer items, and queries have features for each centre.
_SHARING = 8
# An item's feature beyond this may overflow float32.
_LARGEST_FEATURE = 1e37


@dataclass
class Work:
    """What a search has done, for the run's summary.

    Attributes:
        scored: Pairs that were scored at all, by the filter or at once in float64.
        rescored: Pairs that were scored in float64 after the filter.
        bounds: Bounds computed.
    """

    scored: int = 0
    rescored: int = 0
    bounds: int = 0


@dataclass(frozen=True)
class Prepared:
    """Items ready to be searched by one score with one tolerance.

    Attributes:
        score: What to rank by.
        tolerance: tau.
        items: The items; without blocks if they are to be scored by the direct formula alone.
        nodes: The tree of boxes over the blocks, if one was made.
        boxes: The boxes of the tree, whatever the score and tolerance; None without nodes.
        filtered: Whether the filter's numbers are those of the tolerance.
        rest: Of items with cuts, what the coordinates behind these add at most.
        means: Of these, the means of the features and of the base over each parent's items,
            (parents, F + 1).
        work: What searches of these items have done.
    """

    score: Score
    tolerance: Tolerance
    items: Items
    nodes: Nodes | None
    boxes: Boxes | None = None
    filtered: bool = True
    rest: Partly | None = None
    means: NDArray[np.float32] | None = None
    work: Work = field(default_factory=Work)

    def __len__(self) -> int:
        return len(self.items.labels)

    @property
    def masked(self) -> bool:
        """Whether the queries may leave dimensions open."""
        return self.items.features.masked

    @property
    def has_features(self) -> bool:
        """Whether there is a filter, or the direct formula alone."""
        return len(self.items.base) > 0


def prepare(
    score: Score,
    mu: NDArray[Any],
    log_var: NDArray[Any],
    labels: NDArray[np.int64],
    tolerance: Tolerance = 0.0,
    *,
    masked: bool = False,
    num_queries: int | None = None,
    bounds: bool = True,
    work: Work | None = None,
) -> Prepared:
    """Make items ready to be searched.

    Args:
        score: What to rank by.
        mu: Means, shape (N, n), float32 or float64; the nearer to each other
            consecutive rows are, the more the bounds exclude.
        log_var: log sigma², shape (N, n).
        labels: What a search returns and breaks ties by, shape (N,); items whose label is negative
            are passed over.
        tolerance: tau.
        masked: Whether queries may leave dimensions open.
        num_queries: How many queries there will be in all; many unless given.
        bounds: Whether to make the tree of boxes.
        work: What the searches add to.
    """
    mu, log_var = np.ascontiguousarray(mu), np.ascontiguousarray(log_var)
    num_rows, n = mu.shape
    work = Work() if work is None else work
    few = num_queries is not None and (num_queries <= 1 or num_queries * num_rows <= _SMALL)
    features = score.features_for(masked=masked)
    d = 2 * n if features.with_sigma else n
    width = max(8, -(-features.per_coordinate * d // 4) * 4)
    if features.added:
        # Four dimensions at a time.
        width = 8 * -(-d // 4)
    cuts, order = np.empty(0, np.int64), np.arange(d)
    if bounds and not few:
        cuts = cuts_of(features, d, num_rows)
    if len(cuts):
        width = -(-width // 8) * 8
        order = order_of_coordinates(score, tolerance, mu, log_var)
    num_blocks = 0 if few else -(-num_rows // BLOCK)
    num_parents = -(-num_blocks // FAN_OUT)
    items = Items(
        code=score.code,
        features=features,
        log_tau2=each_log_tau2(tolerance, n),
        mu=read_only(mu),
        log_var=read_only(log_var),
        labels=labels,
        base=np.full((num_blocks, BLOCK), -np.inf, np.float32),
        psi=np.zeros((num_blocks, width, BLOCK), np.float32),
        centres=np.zeros((num_parents, 2 * d if features.added else d)),
        magnitudes=np.zeros((num_parents, width + 1)),
        order=order,
        cuts=cuts,
        bases=np.full((num_blocks, len(cuts), BLOCK), -np.inf, np.float32),
    )
    if num_blocks == 0:
        return Prepared(score, tolerance, items, None, work=work)
    blocks = Boxes.of_blocks(mu, log_var, BLOCK)
    parents = blocks.coarsen(FAN_OUT)
    sharing = np.arange(num_parents) // (_SHARING if len(cuts) else 1)
    around = in_space_of(score, tolerance, parents.coarsen(_SHARING if len(cuts) else 1)[sharing])
    items.centres[:, :d] = 0.5 * around.low[:, order] + 0.5 * around.high[:, order]
    if features.added:
        with np.errstate(over="ignore"):
            items.centres[:, d:] = np.exp(around.log_low)
    fill_features(items)
    _allow_for_rounding(score, items, around.high)
    if len(cuts):
        starts = np.flatnonzero(np.diff(sharing, prepend=-1))
        items.magnitudes[:] = np.maximum.reduceat(items.magnitudes, starts)[sharing]
    if not bounds:
        return Prepared(score, tolerance, items, None, work=work)
    boxes, starts = tree_of(blocks)
    nodes = nodes_of_tree(score, tolerance, boxes, starts, order)
    prepared = Prepared(score, tolerance, items, nodes, boxes, work=work)
    if len(cuts) == 0:
        return prepared
    rest = rest_of(score, tolerance, items, parents)
    return replace(prepared, rest=rest, means=mean_features(items))


def with_labels(prepared: Prepared, labels: NDArray[np.int64]) -> Prepared:
    """Return the same items with other labels, shape (N,): those with negative ones are no items.

    Nothing is made ready anew, and the work is added to that of the items given.
    """
    return replace(prepared, items=prepared.items._replace(labels=labels))


def with_tolerance(prepared: Prepared, tolerance: Tolerance) -> Prepared:
    """Return the same items with another tolerance: with new bounds, but without a filter.

    For a few queries that is much faster than to make all items ready anew: what the bounds let
    pass is scored by the formula. The queries are to be made ready with ``filtered`` false.

    Args:
        prepared: Items with a tree of boxes.
        tolerance: tau.
    """
    assert prepared.nodes is not None and prepared.boxes is not None
    n = prepared.items.mu.shape[1]
    return replace(
        prepared,
        tolerance=tolerance,
        items=prepared.items._replace(log_tau2=each_log_tau2(tolerance, n)),
        nodes=nodes_of_tree(
            prepared.score,
            tolerance,
            prepared.boxes,
            prepared.nodes.starts,
            prepared.items.order,
        ),
        filtered=False,
    )


def with_score(prepared: Prepared, score: Score) -> Prepared:
    """Return the same items for another score with the same features: with new bounds."""
    assert prepared.score.features == score.features
    nodes = prepared.nodes
    if nodes is not None and prepared.boxes is not None:
        order = prepared.items.order
        nodes = nodes_of_tree(score, prepared.tolerance, prepared.boxes, nodes.starts, order)
    items = prepared.items._replace(code=score.code)
    return replace(prepared, score=score, items=items, nodes=nodes)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, as a view that cannot be written to.

    Arrow's arrays are read-only, which is another type to the compiler: every loop that reads items
    would be compiled twice.
    """
    view = array.view()
    view.flags.writeable = False
    return view


def each_log_tau2(tolerance: Tolerance, n: int) -> NDArray[np.float64]:
    """Return log tau² of each dimension, shape (n,)."""
    return np.broadcast_to(log_tau2(tolerance), (n,)).copy()


def _allow_for_rounding(score: Score, items: Items, highest: NDArray[np.float64]) -> None:
    """Raise the magnitudes by what float32 and float64 may lose; highest: points, (parents, d)."""
    magnitudes = items.magnitudes
    magnitudes += TINY
    with np.errstate(over="ignore"):
        # A query's feature may underflow to 0: what is lost then grows with the item's.
        magnitudes[:, -1] += TINY * magnitudes[:, :-1].sum(axis=1)
        magnitudes[:, -1] += score.rounding(highest)
    beyond = ~(np.abs(items.centres).max(axis=1) < _LARGEST_POINT)
    magnitudes[beyond | ~(magnitudes.max(axis=1) < _LARGEST_FEATURE)] = np.inf


def prepare_queries(
    score: Score,
    mu: NDArray[np.float64],
    log_var: NDArray[np.float64] | None,
    tolerance: Tolerance,
    *,
    masked: bool = False,
    filtered: bool = True,
) -> Queries:
    """Make queries ready.

    Args:
        score: What to rank by.
        mu: z, shape (Q, n), NaN in dimensions that are left open; or the means of Gaussians.
        log_var: log sigma² of Gaussians, shape (Q, n). Of blends, mu and log_var are what
            ``Blended`` in :mod:`vaeudf.gaussian.blends` has, shape (Q, 2n).
        tolerance: tau.
        masked: Whether the items were made ready for queries that leave dimensions open; those that
            leave none open may then come as well.
        filtered: Whether the items have a filter for this tolerance.
    """
    blurred = np.zeros_like(mu)
    if log_var is not None and score.blends:
        blurred = log_var
    elif log_var is not None and score.between_gaussians:
        blurred = score.blurred(log_var, tolerance)
    is_open = np.isnan(mu)
    terms = score.query_terms(np.where(is_open, 0.0, mu), blurred)
    points = terms.points
    constant = terms.constant
    if score.features.added:
        constant = constant + score.features.constant * np.count_nonzero(~is_open, axis=1)
    nothing = np.zeros_like(points)
    spread = nothing if terms.spread is None else terms.spread
    weights = nothing if terms.weights is None else terms.weights
    extreme = np.maximum(np.abs(points), np.maximum(np.abs(spread), weights)).max(axis=1)
    closed = np.ascontiguousarray(~is_open[:, : points.shape[1]], np.float32)
    has_filter = score.features.per_coordinate > 0
    unread = np.empty((len(mu), 0), np.float32)
    return Queries(
        mu=_own(mu),
        log_var=_own(blurred),
        points=_own(points),
        spread=spread,
        weights=weights,
        constant=constant,
        unfiltered=~(extreme < _LARGEST_POINT) | (not (has_filter and filtered)),
        point_down=down(points),
        point_up=up(points),
        spread_down=unread if terms.spread is None else _spread_down(spread),
        weight_down=unread if terms.weights is None else np.maximum(down(weights), 0),
        closed=closed if masked or is_open.any() else unread,
    )


def _spread_down(spread: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return spreads in float32, certainly not above these as the bounds use them.

    Below 0, what is added to a bound may be of any size, and cancel. It is lowered by four times
    the slack that the bounds have for sums whose positive part is known: for its own rounding, that
    of the squared distance that it cancels with, that of the slopes, and the sums'.
    """
    relative = (8 * spread.shape[1] + 64) * 2.0**-22
    lowered = spread - relative * np.maximum(-spread, 0)
    return np.asarray(np.where(spread < 0, down(lowered), np.maximum(down(spread), 0)))


def _own(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the array as the loops are compiled for: contiguous and writable."""
    return np.require(array, requirements=["C", "W"])


def take_queries(queries: Queries, which: NDArray[np.int64]) -> Queries:
    """Return some of the queries."""
    arrays: list[Any] = [array[which] for array in queries]
    return Queries(*arrays)
