from __future__ import annotations

import itertools

import numpy as np
import pytest

from vaeudf.clustering.matching import Change, match_clusters


def most_shared(shared):
    """What the best of all ways to match one with one shares, by trying them all."""
    shared = shared if shared.shape[0] <= shared.shape[1] else shared.T
    rows = np.arange(len(shared))
    ways = itertools.permutations(range(shared.shape[1]), len(shared))
    return max(shared[rows, list(way)].sum() for way in ways)


@pytest.mark.parametrize("seed", range(20))
def test_as_many_shared_items_as_any_way_of_matching_has(seed):
    rng = np.random.default_rng(seed)
    k, m = rng.integers(1, 7, 2)
    shared = rng.integers(0, 9, (k, m)) * rng.integers(0, 2, (k, m))
    earlier = rng.permutation(20)[:m].astype(np.int32)
    found = match_clusters(shared, earlier, 20)
    places = {number: place for place, number in enumerate(earlier.tolist())}
    kept = [(i, places[n]) for i, n in enumerate(found.numbers.tolist()) if n in places]
    assert sum(shared[i, j] for i, j in kept) == most_shared(shared)
    assert all(shared[i, j] > 0 for i, j in kept)
    # One number each, and new ones that were never used.
    new = sorted(set(found.numbers.tolist()) - set(places))
    assert new == list(range(20, found.next_number))
    assert len(set(found.numbers.tolist())) == k
    gone = set(places) - set(found.numbers.tolist())
    assert [change.cluster for change in found.changes] == [*new, *sorted(gone)]


def test_what_became_of_the_others():
    shared = np.array(
        [
            # earlier: 4, 7, 2, 9
            [90, 0, 0, 0],
            [0, 60, 0, 30],
            [40, 1, 0, 0],  # split off 4
            [5, 5, 0, 5],  # born: most of its known items come from no one cluster
            [0, 0, 0, 0],  # born: of new items alone
        ]
    )
    found = match_clusters(shared, np.array([4, 7, 2, 9], np.int32), 11)
    # Of 9, 30 items of 35 are in 7, but it is matched with what has the 5: most are shared in all.
    assert found.numbers.tolist() == [4, 7, 11, 9, 12]
    assert found.changes == (
        Change(11, "split", 4),
        Change(12, "born"),
        Change(2, "died"),
    )
    assert found.next_number == 13


def test_merged_clusters():
    shared = np.array([[50, 40], [0, 0]])
    found = match_clusters(shared, np.array([0, 1], np.int32), 2)
    assert found.numbers.tolist() == [0, 2]
    assert found.changes == (Change(2, "born"), Change(1, "merged", 0))
    half = match_clusters(np.array([[50, 20], [0, 20]]), np.array([0, 1], np.int32), 2)
    assert half.changes == ()


def test_most_is_more_than_half():
    for most, new, gone in ((40, "born", "died"), (50, "born", "died"), (51, "split", "merged")):
        # Of the last row's items and of the last column's, so many are in the first one.
        shared = np.diag([900, 900, 900, 0])
        shared[3, :3] = shared[:3, 3] = most, 60 - most // 2, 40 - (most + 1) // 2
        assert shared[3].sum() == 100
        changes = match_clusters(shared, np.arange(4, dtype=np.int32), 4).changes
        assert [change.kind for change in changes] == [new, gone]
        assert [change.other for change in changes] == ([0, 0] if most > 50 else [None, None])


def test_without_shared_items_centroids_tell():
    nothing = np.zeros((3, 2), np.int64)
    divergences = np.array([[5.0, 1.0], [0.5, 9.0], [4.0, 4.0]])
    found = match_clusters(nothing, np.array([3, 8], np.int32), 9, divergences)
    assert found.numbers.tolist() == [8, 3, 9] and found.changes == (Change(9, "born"),)
    unknown = match_clusters(nothing, np.array([3, 8], np.int32), 9)
    assert unknown.numbers.tolist() == [9, 10, 11]
    assert [change.kind for change in unknown.changes] == ["born"] * 3 + ["died"] * 2
