"""Items, boxes and queries made ready for the kernels, by one score with one tolerance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.scores import Score
from vaeudf.numerics.boxes import Boxes
from vaeudf.search import kernels
from vaeudf.search.kernels import BLOCK, FAN_OUT

# A query, or half a range of one, beyond this would overflow float32 when squared.
_LARGEST_POINT = 1e15
# For one query, or so few pairs, features cost more than they save: with n = 10 they and the search
# take 170 ns an item, the direct formula 137 ns a query.
_SMALL = 100_000
_STEEPEST = -1e30
# Far above float32's denormals, far below any feature that matters: rounding errors that are not
# relative (underflow) stay below this times the unit roundoff.
_TINY = 1e-30
# An item's feature beyond this may overflow float32.
_LARGEST_FEATURE = 1e37
# By AM-GM from float64's 2e-16, squared, and the margin's share of at least 1e-6 of the size.
_LAST_DIGIT = 1e-15
# exp(709.8) overflows float64; the kernels cap sigma at the same.
_LARGEST_LOG_SIGMA = 700.0
_LOG_2PI = math.log(2.0 * math.pi)


@dataclass
class Work:
    """What a search has done, for the run's summary.

    Attributes:
        pairs: Pairs of query and item that the search answered for.
        scored: Pairs that were scored at all, by the filter or at once in float64.
        rescored: Pairs that were scored in float64 after the filter.
        bounds: Bounds computed.
    """

    pairs: int = 0
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
        work: What searches of these items have done.
    """

    score: Score
    tolerance: float
    items: kernels.Items
    nodes: kernels.Nodes | None
    work: Work = field(default_factory=Work)

    def __len__(self) -> int:
        return len(self.items.labels)

    @property
    def has_features(self) -> bool:
        """Whether there is a filter, or the direct formula alone."""
        return len(self.items.base) > 0

    @property
    def log_tau2(self) -> float:
        """Log of the squared tolerance."""
        return log_tau2(self.tolerance)


def log_tau2(tolerance: float) -> float:
    """Return log tau², -inf for 0."""
    return 2.0 * math.log(tolerance) if tolerance > 0 else -math.inf


def prepare(
    score: Score,
    mu: NDArray[Any],
    log_var: NDArray[Any],
    labels: NDArray[np.int64],
    tolerance: float = 0.0,
    *,
    num_queries: int | None = None,
    bounds: bool = True,
    work: Work | None = None,
) -> Prepared:
    """Make items ready to be searched.

    Args:
        score: What to rank by.
        mu: Means, shape (N, n), float32 or float64; bounds are worth the more, the nearer to each
            other consecutive rows are.
        log_var: log sigma², shape (N, n).
        labels: What a search returns and breaks ties by, shape (N,).
        tolerance: tau.
        num_queries: How many queries there will be in all; unless given, many.
        bounds: Whether to make the tree of boxes.
        work: What the searches add to.
    """
    mu, log_var = np.ascontiguousarray(mu), np.ascontiguousarray(log_var)
    num_rows, n = mu.shape
    work = Work() if work is None else work
    few = num_queries is not None and (num_queries <= 1 or num_queries * num_rows <= _SMALL)
    d = 2 * n if score.code == kernels.WASSERSTEIN2 else n
    width = _num_features(score, d)
    num_blocks = 0 if few else -(-num_rows // BLOCK)
    num_parents = -(-num_blocks // FAN_OUT)
    base = np.full((num_blocks, BLOCK), -np.inf, np.float32)
    psi = np.zeros((num_blocks, width, BLOCK), np.float32)
    centres = np.zeros((num_parents, d))
    magnitudes = np.zeros((num_parents, width + 1))
    items = kernels.Items(mu, log_var, labels, base, psi, centres, magnitudes)
    if num_blocks == 0:
        return Prepared(score, tolerance, items, None, work)
    blocks = Boxes.of_blocks(mu, log_var, BLOCK)
    low, high, _, _ = _ends(score, tolerance, blocks.coarsen(FAN_OUT))
    centres[:] = 0.5 * low + 0.5 * high
    code = score.code
    kernels.fill_features(code, mu, log_var, log_tau2(tolerance), centres, base, psi, magnitudes)
    magnitudes += _TINY
    with np.errstate(over="ignore"):
        # A query's feature may underflow to 0: what is lost then grows with the item's.
        magnitudes[:, -1] += _TINY * magnitudes[:, :-1].sum(axis=1)
        if code == kernels.WASSERSTEIN2:
            # Two ways to compute a sigma differ in its last digit.
            magnitudes[:, -1] += _LAST_DIGIT * np.square(high[:, n:]).sum(axis=1)
    beyond = ~(np.abs(centres).max(axis=1) < _LARGEST_POINT)
    magnitudes[beyond | ~(magnitudes.max(axis=1) < _LARGEST_FEATURE)] = np.inf
    nodes = _tree(score, tolerance, blocks) if bounds else None
    return Prepared(score, tolerance, items, nodes, work)


def _num_features(score: Score, d: int) -> int:
    width = 4 * d if score.code == kernels.JEFFREYS else 2 * d
    return max(8, -(-width // 4) * 4)


def _tree(score: Score, tolerance: float, blocks: Boxes) -> kernels.Nodes:
    """Return the tree of boxes over blocks."""
    levels = [blocks]
    while len(levels[-1]) > FAN_OUT:
        levels.append(levels[-1].coarsen(FAN_OUT))
    starts = np.cumsum([0] + [len(level) for level in levels])
    return _nodes(score, tolerance, Boxes.concatenate(levels), starts)


def nodes_of_boxes(score: Score, tolerance: float, boxes: Boxes) -> kernels.Nodes:
    """Return boxes of posteriors, such as those of row groups, as a tree of one level."""
    return _nodes(score, tolerance, boxes, np.array([0, len(boxes)]))


def _ends(
    score: Score, tolerance: float, boxes: Boxes
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the boxes in the space of the score: lowest and highest point and log variance.

    All four are (B, d); the log variances have the tolerance in them.
    """
    tau2 = log_tau2(tolerance)
    low, high = (np.asarray(ends, np.float64) for ends in (boxes.mu_min, boxes.mu_max))
    log_low, log_high = (
        np.logaddexp(np.asarray(ends, np.float64), tau2)
        for ends in (boxes.log_var_min, boxes.log_var_max)
    )
    if score.code == kernels.WASSERSTEIN2:
        low = np.concatenate([low, _sigma(log_low)], axis=1)
        high = np.concatenate([high, _sigma(log_high)], axis=1)
        log_low, log_high = np.tile(log_low, 2), np.tile(log_high, 2)
    return low, high, log_low, log_high


def _sigma(log_var: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(np.minimum(0.5 * log_var, _LARGEST_LOG_SIGMA)))


def _nodes(
    score: Score, tolerance: float, boxes: Boxes, starts: NDArray[np.int64]
) -> kernels.Nodes:
    low, high, log_low, log_high = _ends(score, tolerance, boxes)
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
                points = np.concatenate([mu, _sigma(blurred)], axis=1)
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
