"""Which coordinates tell the most items apart, and what those behind the first ones add at most.

In many dimensions a product of the first few features excludes most items, if these are of the
coordinates that contribute most: what each of the others adds is at most what it adds for an item
that is at the query's very place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.scores import Score
from vaeudf.gaussian.scores.score import Features
from vaeudf.numerics.boxes import Boxes
from vaeudf.search.kernels import BLOCK, FAN_OUT
from vaeudf.search.records import Items, Partly, Queries

_Array = NDArray[np.float64]

# The number of features from which products of the first ones may pay, and the fewest items.
_WIDE = 64
_FEWEST = 4096
# After how many coordinates a product may end. The loops multiply eight features at a time.
_CUTS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_EIGHT = 8
# Of so many items the contributions are taken.
_SAMPLE = 4096


def cuts_of(features: Features, num_coordinates: int, num_items: int) -> NDArray[np.int64]:
    """Return after how many coordinates a product may end, ascending, shape (C,).

    There are none where the values are no sum of products, or too few items or features.
    """
    width = features.per_coordinate * num_coordinates
    if features.added or width < _WIDE or num_items < _FEWEST:
        return np.empty(0, np.int64)
    cuts = [
        cut
        for cut in _CUTS
        if 2 * cut < num_coordinates + 1 and cut * features.per_coordinate % _EIGHT == 0
    ]
    return np.array(cuts, np.int64)


def order_of_coordinates(
    score: Score, tolerance: Tolerance, mu: NDArray[np.floating], log_var: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Return the order of the coordinates, shape (d,): those first that contribute most.

    That is their variance among the items, times the items' mean precision where it weighs.
    """
    step = max(1, len(mu) // _SAMPLE)
    with np.errstate(over="ignore", invalid="ignore"):
        log_vars = score.blurred(log_var[::step], tolerance)
        contribution = score.points(mu[::step], log_vars).var(axis=0)
        if score.features.weighted:
            contribution *= np.exp(-log_vars).mean(axis=0)
    return np.argsort(-np.nan_to_num(contribution), kind="stable")


def in_order_of(items: Items, queries: Queries) -> Queries:
    """Return queries with their coordinates in the order in which the items have theirs."""
    if len(items.cuts) == 0:
        return queries
    names = "points point_down point_up spread_down weight_down closed".split()
    # Without those that are rounded, these are 0.
    names += ["spread"] if queries.spread_down.shape[1] else []
    names += ["weights"] if queries.weight_down.shape[1] else []
    arrays = {name: getattr(queries, name) for name in names}
    return queries._replace(
        **{
            name: np.ascontiguousarray(array[:, items.order])
            for name, array in arrays.items()
            if array.shape[1]
        }
    )


def rest_of(score: Score, tolerance: Tolerance, items: Items, parents: Boxes) -> Partly:
    """Return what the coordinates behind a cut add at most, without any stage.

    Args:
        score: What to rank by.
        tolerance: tau.
        items: The items.
        parents: The boxes around the items of each parent.
    """
    features, order = items.features, items.order
    rest = nothing_added(items)
    if features.weighted or features.backward or features.masked:
        low = np.ascontiguousarray(score.blurred(parents.log_var_min, tolerance)[:, order])
        high = np.ascontiguousarray(score.blurred(parents.log_var_max, tolerance)[:, order])
        ends = features.log_volume * np.stack([low, high])
        with np.errstate(over="ignore"):
            rest = Partly(
                *rest[:3],
                np.exp(-high) if features.weighted else np.ones_like(high),
                np.exp(-low) if features.weighted else np.ones_like(low),
                np.exp(low),
                features.constant + ends.max(axis=0),
                abs(features.constant) + np.abs(ends).max(axis=0),
            )
    return rest


def nothing_added(items: Items) -> Partly:
    """Return the same where the coordinates behind a cut add at most 0."""
    no_stage, unread = np.empty(0, np.int64), np.empty((0, len(items.order)))
    return Partly(no_stage, no_stage, no_stage, unread, unread, unread, unread, unread)


def mean_features(items: Items) -> NDArray[np.float32]:
    """Return means of the features and of the base over each parent's items, (parents, F + 1)."""
    num_parents, width = len(items.centres), items.psi.shape[1]
    means = np.empty((num_parents, width + 1), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for parent in range(num_parents):
            blocks = slice(parent * FAN_OUT, (parent + 1) * FAN_OUT)
            count = min(len(items.labels) - parent * BLOCK * FAN_OUT, BLOCK * FAN_OUT)
            # Beyond the last item the features are 0, and the base is -inf.
            means[parent, :width] = items.psi[blocks].sum(axis=(0, 2)) / count
            means[parent, width] = items.base[blocks].ravel()[:count].mean()
    return means
