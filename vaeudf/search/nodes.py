"""The tree of boxes over items, and boxes of posteriors, as the search reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.scores import Score
from vaeudf.numerics.boxes import Boxes
from vaeudf.search.kernels import FAN_OUT
from vaeudf.search.records import Nodes

_STEEPEST = -1e30
TINY = 1e-30
"""Far above float32's denormals, far below any feature that matters: rounding errors that are not
relative (underflow) stay below this times the unit roundoff."""


def tree_of(blocks: Boxes) -> tuple[Boxes, NDArray[np.int64]]:
    """Return the boxes of a tree over blocks, level by level, and where each level begins."""
    levels = [blocks]
    while len(levels[-1]) > FAN_OUT:
        levels.append(levels[-1].coarsen(FAN_OUT))
    starts = np.cumsum([0] + [len(level) for level in levels])
    return Boxes.concatenate(levels), starts


def nodes_of_boxes(score: Score, tolerance: Tolerance, boxes: Boxes) -> Nodes:
    """Return boxes of posteriors, such as those of row groups, as a tree of one level."""
    return nodes_of_tree(score, tolerance, boxes, np.array([0, len(boxes)]))


@dataclass(frozen=True)
class SpaceBoxes:
    """Boxes in the space of a score.

    Attributes:
        low: Lowest points, (B, d).
        high: Highest points, (B, d).
        log_low: Least log variances, tolerance included, (B, n).
        log_high: Greatest log variances, (B, n).
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    log_low: NDArray[np.float64]
    log_high: NDArray[np.float64]


def in_space_of(score: Score, tolerance: Tolerance, boxes: Boxes) -> SpaceBoxes:
    """Return boxes of posteriors in the space of a score."""
    log_low = score.blurred(boxes.log_var_min, tolerance)
    log_high = score.blurred(boxes.log_var_max, tolerance)
    return SpaceBoxes(
        low=score.points(boxes.mu_min, log_low),
        high=score.points(boxes.mu_max, log_high),
        log_low=log_low,
        log_high=log_high,
    )


def nodes_of_tree(
    score: Score,
    tolerance: Tolerance,
    boxes: Boxes,
    starts: NDArray[np.int64],
    order: NDArray[np.int64] | None = None,
) -> Nodes:
    """Return the boxes of a tree, level by level, as the search reads them.

    Args:
        score: What to rank by.
        tolerance: tau.
        boxes: The boxes.
        starts: Where each level begins, and the last one ends.
        order: Of the coordinates, (d,); as they are unless given.
    """
    inside = in_space_of(score, tolerance, boxes)
    num_nodes, d = inside.low.shape
    terms = score.box_terms(inside.log_low, inside.log_high)
    forward, backward, log_variances = terms.forward, terms.backward, terms.log_variances
    if forward is None and backward is None and log_variances is None:
        # The value has no bound: every box may hold any value.
        forward = np.zeros((num_nodes, d, 6))
        forward[:, :, ::2] = np.inf
    peak = np.full(num_nodes, TINY + terms.cancelled)
    for lines in (forward, backward):
        if lines is not None:
            peak += np.abs(lines[:, :, ::2]).max(axis=2).sum(axis=1)
    no_lines = np.empty((0, d, 6))
    narrowest, widest = np.empty((2, 0, d))
    if log_variances is not None:
        log_narrowest, log_widest = log_variances
        peak += d + 0.5 * np.abs(log_narrowest).sum(axis=1)
        with np.errstate(over="ignore"):
            narrowest = np.exp(log_narrowest)
            # Raised by what float32 may lose of a variance that it holds as a denormal number.
            widest = np.exp(log_widest) + 1e-36
    if order is None or log_variances is not None:
        order = np.arange(d)

    def placed(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ascontiguousarray(array[:, order])

    return Nodes(
        starts=starts.astype(np.int64),
        low=down(placed(inside.low)),
        high=up(placed(inside.high)),
        forward=_rounded(no_lines if forward is None else placed(forward)),
        backward=_rounded(no_lines if backward is None else placed(backward)),
        added=np.float32(score.features.added),
        narrowest=np.maximum(down(narrowest), 0),
        widest=up(widest),
        peak=up(peak),
    )


def _rounded(lines: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return lines in float32 that are not below these for any t ≥ 0, as float32 computes t."""
    # The computed t may be too large by four roundings.
    slopes = np.maximum(np.nan_to_num(lines[..., 1::2], nan=0.0), _STEEPEST) * (1 - 2.0**-21)
    rounded = np.empty(lines.shape, np.float32)
    rounded[..., ::2] = up(lines[..., ::2])
    rounded[..., 1::2] = np.minimum(up(slopes), 0)
    return rounded


def up(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 numbers above these."""
    with np.errstate(over="ignore"):
        return np.nextafter(numbers.astype(np.float32), np.float32(np.inf))


def down(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 numbers below these."""
    with np.errstate(over="ignore"):
        return np.nextafter(numbers.astype(np.float32), np.float32(-np.inf))
