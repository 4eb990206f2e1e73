"""The k-d order, checked node by node against what a k-d tree is."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaeudf.numerics import kd_tree as layout
from vaeudf.numerics.kd_tree import CellTree, kd_order


def check_node(mu: np.ndarray, order: np.ndarray, block: int, scale: np.ndarray) -> None:
    """Every node is split at a power of two of blocks along a dimension of greatest variance."""
    if len(order) <= block:
        assert (np.diff(order) > 0).all(), "a block's rows keep their order"
        return
    at = block
    while 2 * at < len(order):
        at *= 2
    left, right = order[:at], order[at:]
    variance = (mu[order].astype(np.float64) / scale).var(axis=0)
    splits = [
        dim
        for dim in range(mu.shape[1])
        if mu[left, dim].max() <= mu[right, dim].min()
        and variance[dim] >= variance.max() * (1 - 1e-4) - 1e-12
        # Of the rows with the pivot's value, the first ones went left.
        and max(left[mu[left, dim] == mu[left, dim].max()])
        < min(right[mu[right, dim] == mu[left, dim].max()], default=len(mu))
    ]
    assert splits
    check_node(mu, left, block, scale)
    check_node(mu, right, block, scale)


def check(mu: np.ndarray, block: int, scale: np.ndarray | None = None) -> np.ndarray:
    order = kd_order(mu, block, scale)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(len(mu)))
    check_node(mu, order, block, np.ones(mu.shape[1]) if scale is None else scale)
    return order


@given(
    count=st.integers(0, 200),
    latent_dim=st.integers(1, 4),
    block=st.integers(1, 9),
    values=st.sampled_from([1, 2, 5, 10**6]),
    dtype=st.sampled_from([np.float32, np.float64]),
    in_cache=st.sampled_from([0, 100, 10**6]),
    seed=st.integers(0, 10**6),
)
def test_every_node_is_a_cell(count, latent_dim, block, values, dtype, in_cache, seed):
    drawn = np.random.default_rng(seed).integers(0, values, (count, latent_dim))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "_NUMBERS_IN_CACHE", in_cache)
        check(drawn.astype(dtype), block)


@pytest.mark.parametrize("count", [4096, 4097, 10_000])
def test_level_by_level_is_as_node_by_node(count, monkeypatch):
    mu = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    monkeypatch.setattr(layout, "_NUMBERS_IN_CACHE", 10**9)
    levels = check(mu, 64)
    monkeypatch.setattr(layout, "_NUMBERS_IN_CACHE", 0)
    assert np.array_equal(check(mu, 64), levels)


def test_shapes_at_the_edge():
    for count in (0, 1):
        assert kd_order(np.zeros((count, 3), np.float32), 64).tolist() == [0] * count
    check(np.random.default_rng(1).normal(size=(300, 512)), 64)
    check(np.random.default_rng(1).normal(size=(300, 1)), 64)
    assert kd_order(np.ones((1000, 3)), 64).tolist() == list(range(1000)), "equal rows stay"
    with pytest.raises(ValueError, match="block_size is 0; expected at least 1"):
        kd_order(np.ones((3, 1)), 0)


def test_great_and_shifted_values():
    rng = np.random.default_rng(2)
    check((1e4 + rng.normal(size=(500, 2)) * [1.0, 3.0]).astype(np.float32), 64)
    order = kd_order(rng.normal(size=(500, 2)).astype(np.float32) * np.float32(1e38), 64)
    assert np.array_equal(np.sort(order), np.arange(500))


def test_the_scale_says_what_counts_as_far():
    mu = np.random.default_rng(3).normal(size=(128, 2)) * [1.0, 2.0]
    check(mu, 64, np.array([0.1, 1.0]))
    for scale, dim in ((None, 1), (np.array([0.1, 1.0]), 0)):
        order = kd_order(mu, 64, scale)
        assert mu[order[:64], dim].max() <= mu[order[64:], dim].min()


def test_rows_are_not_changed():
    mu = np.random.default_rng(4).normal(size=(1000, 3))
    before = mu.copy()
    kd_order(mu, 10)
    kd_order(np.asfortranarray(mu), 10)
    assert np.array_equal(mu, before)


def test_blocks_are_far_smaller_than_those_of_chance():
    rng = np.random.default_rng(5)
    mu = rng.normal(size=(64 * 512, 4)).astype(np.float32)

    def extent(order: np.ndarray) -> float:
        return float(np.ptp(mu[order].reshape(512, 64, 4), axis=1).mean())

    assert extent(kd_order(mu, 64)) < 0.3 * extent(rng.permutation(len(mu)))


def walk(cells: CellTree, row: np.ndarray) -> int:
    node = 0 if cells.num_cells > 1 else -1
    while node >= 0:
        right = row[cells.dimension[node]] > cells.threshold[node]
        node = int(cells.children[node, int(right)])
    return -1 - node


def leaves(cells: CellTree, node: int = 0) -> list[int]:
    if cells.num_cells == 1:
        return [0]
    return [
        leaf
        for child in cells.children[node].tolist()
        for leaf in ([-1 - child] if child < 0 else leaves(cells, child))
    ]


@given(
    count=st.integers(0, 60),
    num_cells=st.integers(1, 40),
    latent_dim=st.integers(1, 3),
    values=st.sampled_from([1, 2, 5, 10**6]),
    seed=st.integers(0, 10**6),
)
def test_cells_are_the_leaves_of_the_tree(count, num_cells, latent_dim, values, seed):
    rng = np.random.default_rng(seed)
    sample = rng.integers(0, values, (count, latent_dim)).astype(np.float32)
    rows = rng.integers(-1, values + 1, (30, latent_dim)).astype(np.float32)
    cells = CellTree.fit(sample, num_cells)
    assert cells.num_cells == num_cells
    assert leaves(cells) == list(range(num_cells)), "numbered from left to right"
    found = cells.assign(rows)
    assert found.dtype == np.int32
    assert found.tolist() == [walk(cells, row) for row in rows]
    assert pickle.loads(pickle.dumps(cells)).assign(rows).tolist() == found.tolist()


@pytest.mark.parametrize("num_cells", [1, 2, 3, 7, 64, 100])
def test_cells_have_equal_shares(num_cells):
    sample = np.random.default_rng(0).normal(size=(10_000, 3))
    counts = np.bincount(CellTree.fit(sample, num_cells).assign(sample), minlength=num_cells)
    assert len(counts) == num_cells
    assert abs(counts - 10_000 / num_cells).max() <= 2


def test_cells_of_one_dimension_are_intervals_in_order():
    sample = np.random.default_rng(1).normal(size=(1000, 1))
    cells = CellTree.fit(sample, 13).assign(np.sort(sample, axis=0))
    assert (np.diff(cells) >= 0).all() and cells[-1] == 12


def test_cells_are_small_boxes():
    mu = np.random.default_rng(2).normal(size=(8000, 3))
    found = CellTree.fit(mu, 27).assign(mu)
    extents = [
        np.median(np.abs(mu[found == c] - np.median(mu[found == c], axis=0))) for c in range(27)
    ]
    assert np.mean(extents) < 0.5 * np.median(np.abs(mu))


def test_cells_where_many_rows_are_equal():
    rng = np.random.default_rng(3)
    sample = rng.normal(size=(10_000, 2))
    sample[:5000] = 0.3
    counts = np.bincount(CellTree.fit(sample, 20).assign(sample), minlength=20)
    assert counts.max() >= 5000
    # The other half has half of the cells, give or take those on the way to the equal ones.
    assert np.sort(counts)[:-1].max() <= 2 * 10_000 / 20


@pytest.mark.parametrize("low", [10, 40, 50, 60, 90])
def test_a_cut_goes_where_ties_allow(low):
    sample = np.repeat([[0.0], [1.0]], [low, 100 - low], axis=0)
    assert np.bincount(CellTree.fit(sample, 2).assign(sample)).tolist() == [low, 100 - low]


@pytest.mark.slow
def test_cells_of_a_sample_that_cannot_be_cut():
    for sample in (np.zeros((0, 2)), np.ones((50, 2))):
        cells = CellTree.fit(sample, 3000)
        assert leaves(cells) == list(range(3000))
        assert cells.assign(np.ones((4, 2))).max() < 3000
    # One row apart from the others in each dimension: the tree is a chain.
    chain = CellTree.fit(np.eye(1500), 1500)
    assert np.bincount(chain.assign(np.eye(1500))).max() <= 750


def test_cells_go_by_the_scale():
    sample = np.random.default_rng(4).normal(size=(1000, 2)) * [1.0, 2.0]
    assert CellTree.fit(sample, 2).dimension.tolist() == [1]
    assert CellTree.fit(sample, 2, np.array([0.1, 1.0])).dimension.tolist() == [0]


def test_no_cells():
    with pytest.raises(ValueError, match="num_cells is 0; expected at least 1"):
        CellTree.fit(np.ones((3, 2)), 0)
