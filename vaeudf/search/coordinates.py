"""Which coordinates tell the most items apart, and what those behind the first ones add at most.

In many dimensions a product of the first few features excludes most items, if these are of the
coordinates that contribute most: what each of the others adds is at most what it adds for an item
that is at the query's very place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.scores import Score
from vaeudf.gaussian.scores.score import Features
from vaeudf.numerics.boxes import Boxes
from vaeudf.search.records import Items, Queries

_Array = NDArray[np.float64]

# The number of features from which products of the first ones may pay, and the fewest items.
_WIDE = 64
_FEWEST = 4096
# After how many coordinates a product may end. The loops multiply eight features at a time.
_CUTS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_EIGHT = 8
# Of so many items the contributions are taken.
_SAMPLE = 4096
# Far above the rounding of sums in float64, far below float32's.
_SLACK = 1e-12


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
    named = ("points", "spread", "weights")
    named += ("point_down", "point_up", "spread_down", "weight_down", "closed")
    arrays = {name: getattr(queries, name) for name in named}
    return queries._replace(
        **{
            name: np.ascontiguousarray(array[:, items.order])
            for name, array in arrays.items()
            if array.shape[1]
        }
    )


@dataclass(frozen=True)
class Rest:
    """What the coordinates behind a cut add at most to the values of a parent's items.

    In a product of the first coordinates' features, the item's constant has the others' logarithms
    already (``Items.bases``); the other terms of theirs are highest where the item's coordinate is
    the query's own, and its variance the least or the largest of the parent's.

    Attributes:
        items: The items.
        low: The least log variances of each parent, tolerance included, (parents, n).
        high: The largest ones.
    """

    items: Items
    low: _Array
    high: _Array

    @classmethod
    def of(cls, score: Score, tolerance: Tolerance, items: Items, parents: Boxes) -> Rest:
        """Return it for the boxes of the parents."""
        order = items.order
        if items.features.with_sigma:  # no variances of their own
            order = np.arange(parents.latent_dim)
        return cls(
            items,
            score.blurred(parents.log_var_min, tolerance)[:, order],
            score.blurred(parents.log_var_max, tolerance)[:, order],
        )

    def at_most(self, parent: int, queries: Queries, cut: int) -> _Array | None:
        """Return what the coordinates behind the first ``cut`` add at most, (Q,).

        Args:
            parent: Which one.
            queries: Queries, in order.
            cut: How many coordinates are first.

        Returns:
            None if it is 0 for all queries. NaN where it is not known.
        """
        features = self.items.features
        low, high = self.low[parent, cut:], self.high[parent, cut:]
        total = np.zeros(len(queries.points))
        has_spread = features.forward and queries.spread_down.shape[1] > 0
        if not (has_spread or features.backward or features.masked):
            return None
        closed = queries.closed[:, cut:].astype(np.float64) if features.masked else None
        with np.errstate(over="ignore", invalid="ignore"):
            if has_spread:
                # -½ p v, where v may be below 0.
                spread = queries.spread[:, cut:]
                spread = spread if closed is None else spread * closed
                total -= (0.5 - _SLACK) * (np.maximum(spread, 0) @ np.exp(-high))
                total += (0.5 + _SLACK) * (np.maximum(-spread, 0) @ np.exp(-low))
            if features.backward:
                # -½ w s; and -½ w y², which the query's constant has for all coordinates.
                weights = queries.weights[:, cut:]
                away = queries.points[:, cut:] - self.items.centres[parent, cut:]
                total -= (0.5 - _SLACK) * (weights @ np.exp(low))
                total += (0.5 + _SLACK) * (weights * away * away).sum(axis=1)
            if closed is not None:
                # What a closed coordinate adds whatever the query is.
                ends = features.log_volume * np.stack([low, high])
                size = np.abs(ends).max(axis=0) + abs(features.constant)
                total += closed @ (features.constant + ends.max(axis=0) + _SLACK * size)
        return total
