"""A tree as it is drawn: leaves beside each other, joins at their heights, no lines that cross."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vaeudf.clustering.hierarchy import Hierarchy, Merge
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.pages.dendrogram import ROW, WIDTH, Leaf, draw_dendrogram


def tree(*merges, sizes=(5, 1, 2, 4)):
    count = 2 * len(sizes) - 1
    return Hierarchy(
        leaves=np.arange(len(sizes)),
        sizes=np.array(sizes),
        objective=1.0,
        merges=merges,
        centroids=Gaussians(np.zeros((count, 1)), np.zeros((count, 1))),
    )


TREE = tree(
    Merge(1, 2, size=3, rise=1.0, objective=2.0),
    Merge(0, 3, size=9, rise=0.5, objective=2.5),
    Merge(4, 5, size=12, rise=2.5, objective=5.0),
)
# Of a join: from where, to where and at what height, on both sides.
PATH = re.compile(r"M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)H([\d.]+)")


def leaf_of(place):
    return Leaf(f"place {place}", 1, np.zeros((1, 1, 3), np.uint8), link=None)


def drawn(found):
    return [[float(part) for part in PATH.fullmatch(join.path).groups()] for join in found.joins]


def test_a_tree():
    found = draw_dendrogram(TREE, 40, leaf_of, "nats")
    assert [leaf.label for leaf in found.leaves] == [f"place {i}" for i in (0, 3, 2, 1)]
    assert (found.low, found.high, found.height) == ("1 nats", "5 nats", 4 * ROW)
    first, second, last = drawn(found)
    low, high = 12, WIDTH - 12

    def x(objective):
        return round(low + (high - low) * (objective - 1.0) / 4.0, 1)

    # From the leaves 1 and 2, which are the fourth and the third from the top.
    assert first == [0.0, 3.5 * ROW, x(2.0), 2.5 * ROW, 0.0]
    assert second == [0.0, 0.5 * ROW, x(2.5), 1.5 * ROW, 0.0]
    assert last == [x(2.0), 3 * ROW, x(5.0), ROW, x(2.5)]
    assert found.joins[-1].text == "12 items; mean divergence of all 5 nats"


def test_what_is_merged_first_is_shown_as_one():
    found = draw_dendrogram(TREE, 3, leaf_of, "")
    assert [leaf.label for leaf in found.leaves] == [f"place {i}" for i in (0, 3, 4)]
    assert (found.low, found.high) == ("2", "5") and len(found.joins) == 2
    assert [leaf.label for leaf in draw_dendrogram(TREE, 1, leaf_of, "").leaves] == ["place 6"]


@pytest.mark.parametrize("sizes", [(3,), (3, 3)])
def test_small_trees_and_merges_for_nothing(sizes):
    merges = [Merge(0, 1, size=6, rise=0.0, objective=1.0)][: len(sizes) - 1]
    found = draw_dendrogram(tree(*merges, sizes=sizes), 40, leaf_of, "nats")
    assert len(found.leaves) == len(sizes) and found.low == found.high == "1 nats"
    assert all(np.isfinite(drawn(found)).ravel())
