"""A tree of merged clusters, as lines beside a list of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering.hierarchy import Hierarchy

ROW = 56
"""The height of a leaf, in pixels."""

WIDTH = 1000
"""How wide the lines are drawn; they are stretched to the page."""

_MARGIN = 12


@dataclass(frozen=True)
class Leaf:
    """A cluster, or several that are shown as one.

    Attributes:
        label: Its name.
        size: Items.
        picture: What its centre decodes to, (H, W, C) uint8.
        link: The number of the section of the page that shows it; None if none does.
    """

    label: str
    size: int
    picture: NDArray[np.uint8]
    link: int | None


@dataclass(frozen=True)
class Join:
    """A merge.

    Attributes:
        path: Its lines, as SVG has them.
        text: What it is.
    """

    path: str
    text: str


@dataclass(frozen=True)
class Dendrogram:
    """A tree with its leaves on the left, and its root on the right.

    Attributes:
        leaves: From the top.
        joins: From left to right.
        low: The objective at the left edge, in words.
        high: The objective at the root.
    """

    leaves: Sequence[Leaf]
    joins: Sequence[Join]
    low: str
    high: str

    @property
    def height(self) -> int:
        """Of all leaves, in pixels."""
        return ROW * len(self.leaves)


def draw_dendrogram(
    tree: Hierarchy, most: int, leaf_of: Callable[[int], Leaf], unit: str
) -> Dendrogram:
    """Return a tree as it is drawn.

    Args:
        tree: The merged clusters.
        most: How many leaves to show at most; what is merged first is then shown as one.
        leaf_of: Makes a leaf of a place in the tree.
        unit: Of the objective; may be empty.
    """
    m = len(tree.leaves)
    shown = min(most, m)
    order = _order(tree, shown)
    at = {place: ROW * (row + 0.5) for row, place in enumerate(order)}
    low = tree.objective if shown == m else tree.merges[m - shown - 1].objective
    high = tree.merges[-1].objective if tree.merges else low
    span = high - low
    x_of = dict.fromkeys(order, 0.0)
    joins = []
    for place, merge in enumerate(tree.merges[m - shown :], 2 * m - shown):
        x = _MARGIN + (WIDTH - 2 * _MARGIN) * ((merge.objective - low) / span if span else 1.0)
        x_of[place], at[place] = x, (at[merge.left] + at[merge.right]) / 2
        path = (
            f"M{x_of[merge.left]:.1f} {at[merge.left]:.1f}H{x:.1f}"
            f"V{at[merge.right]:.1f}H{x_of[merge.right]:.1f}"
        )
        text = f"{merge.size:,} items; mean divergence of all {_number(merge.objective, unit)}"
        joins.append(Join(path, text))
    return Dendrogram(
        [leaf_of(place) for place in order], joins, _number(low, unit), _number(high, unit)
    )


def _order(tree: Hierarchy, shown: int) -> list[int]:
    """Return the places of the leaves that are shown, so that no two joins cross."""
    m = len(tree.leaves)
    last = 2 * m - shown
    found, waiting = [], [2 * m - 2]
    while waiting:
        place = waiting.pop()
        if place < last:
            found.append(place)
            continue
        merge = tree.merges[place - m]
        # The larger one above.
        both = sorted((merge.left, merge.right), key=lambda one: (-tree.size_of(one), one))
        waiting += reversed(both)
    return found


def _number(value: float, unit: str) -> str:
    return f"{value:.4g}" + (f" {unit}" if unit else "")
