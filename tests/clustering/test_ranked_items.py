"""The items of each cluster with the lowest values, by sorting all of them."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pyarrow as pa
import pytest

from vaeudf.clustering.ranked_items import RankedItems
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.table.passes import Batch


@pytest.mark.parametrize("size", [1, 3, 500])
@pytest.mark.parametrize("parts", [1, 4])
def test_as_by_sorting(size, parts):
    rng = np.random.default_rng(size)
    clusters = rng.integers(3, size=200).astype(np.int32)
    values = rng.integers(0, 9, 200).astype(float)
    names = np.array([f"i{number:03}" for number in rng.permutation(200)], object)
    asked = 0

    def part(rows):
        def names_of(some):
            nonlocal asked
            asked += len(some)
            return pa.array(names[rows[some]])

        batch = Batch(Gaussians(values[rows, None], values[rows, None]), names_of)
        return RankedItems.of_batch(size, clusters[rows], values[rows], batch)

    found = reduce(RankedItems.merge, map(part, np.array_split(rng.permutation(200), parts)))
    for cluster in range(3):
        own = np.flatnonzero(clusters == cluster)
        expected = sorted((values[row], names[row]) for row in own)[:size]
        assert found.of_cluster(cluster) == [(name, value) for value, name in expected]
    assert size > 3 or asked < 200, "names are read of few items only"
    assert found.of_cluster(7) == []


def test_nothing_yet():
    one = RankedItems.of(2, np.zeros(1, np.int32), np.ones(1), pa.array(["a"]))
    assert RankedItems.empty(2).merge(one).of_cluster(0) == [("a", 1.0)]
