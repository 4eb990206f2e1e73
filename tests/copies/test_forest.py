"""Connected groups against SciPy's connected components."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.near_pairs import groups_of, pairs_of
from vaeudf.copies.forest import Forest, connected


@pytest.mark.parametrize("num_pairs", [0, 1, 30, 80, 400])
def test_groups_are_connected_components(num_pairs):
    rng = np.random.default_rng(num_pairs)
    one, other = rng.integers(0, 100, (2, num_pairs))
    pairs = {pair for pair in pairs_of(one, other) if pair[0] != pair[1]}
    one, other = np.array(sorted(pairs), int).reshape(-1, 2).T
    far = 10**12  # numbers of items, not places in an array
    groups = connected(one + far, other + far)
    found = {
        frozenset((groups.items[groups.labels == label] - far).tolist())
        for label in range(len(groups.sizes))
    }
    assert found == groups_of(pairs, 100)
    assert groups.sizes.tolist() == np.bincount(groups.labels, minlength=0).tolist()
    firsts = [groups.items[groups.labels == label][0] for label in range(len(groups.sizes))]
    assert firsts == sorted(firsts)


def test_a_chain_is_one_group():
    numbers = np.random.default_rng(0).permutation(1000)
    groups = connected(numbers[:-1], numbers[1:])
    assert groups.sizes.tolist() == [1000]


def test_members_that_come_later_connect_those_before():
    forest = Forest(3)
    forest.extend(2)
    forest.connect(np.array([0, 2, 1]), np.array([4, 4, 3]))
    assert forest.roots().tolist() == [0, 1, 0, 1, 0]
    forest.truncate(3)
    assert forest.roots().tolist() == [0, 1, 0]
