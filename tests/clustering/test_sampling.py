"""Samples that neither order nor partition changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from vaeudf.clustering.sampling import BottomK, uniform_hashes
from vaeudf.gaussian.arrays import Gaussians


def test_the_items_with_the_lowest_keys_each_once():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 6, 50).astype(float)
    values = keys[:, None] + rng.integers(0, 2, (50, 1))
    items = Gaussians(values, np.zeros_like(values))
    whole = BottomK.of(5, keys, items)
    rows, counts = np.unique(np.column_stack([keys, values]), axis=0, return_counts=True)
    rows = rows[:5]
    np.testing.assert_array_equal(whole.counts, counts[:5])
    np.testing.assert_array_equal(np.column_stack([whole.keys, whole.items.mu]), rows)
    parts = [
        BottomK.of(5, keys[part], items.take(part)) for part in np.array_split(np.arange(50), 4)
    ]
    merged = parts[2].merge(parts[0]).merge(parts[3].merge(parts[1]))
    np.testing.assert_array_equal(merged.keys, whole.keys)
    np.testing.assert_array_equal(merged.items.mu, whole.items.mu)
    np.testing.assert_array_equal(merged.counts, whole.counts)


@pytest.mark.parametrize("cuts", [1, 3, 60])
def test_items_that_are_not_eligible_do_not_count(cuts):
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 9, 60).astype(float)
    items = Gaussians(keys[:, None], np.zeros((60, 1)))
    eligible = rng.random(60) < 0.5
    found = BottomK.empty(4, 1)
    for part in np.array_split(rng.permutation(60), cuts):
        found = found.add(keys[part], items.take(part), eligible[part])
    lowest, counts = np.unique(keys[eligible], return_counts=True)
    assert found.keys.tolist() == lowest[:4].tolist()
    assert found.counts.tolist() == counts[:4].tolist()
    np.testing.assert_array_equal(found.items.mu[:, 0], found.keys)
    nothing = found.add(keys, items, np.zeros(60, bool))
    assert nothing.keys.tolist() == found.keys.tolist()


def test_hashes_are_uniform_and_depend_on_items_and_seed_alone():
    rng = np.random.default_rng(0)
    items = Gaussians(rng.normal(size=(20_000, 2)), rng.normal(size=(20_000, 2)))
    found = uniform_hashes(items, 3)
    assert kstest(found, "uniform").pvalue > 1e-3
    some = np.array([17, 4, 17])
    np.testing.assert_array_equal(uniform_hashes(items.take(some), 3), found[some])
    assert (uniform_hashes(items, 4) != found).all()
    assert len(np.unique(found)) == len(found)


def test_zero_and_minus_zero_have_the_same_hash():
    zero, minus_zero = (Gaussians(np.full((1, 2), x), np.full((1, 2), x)) for x in (0.0, -0.0))
    assert uniform_hashes(zero, 0) == uniform_hashes(minus_zero, 0)
