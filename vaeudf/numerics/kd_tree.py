"""The order of a posterior table's rows: k-d cells of mu, so that near items are stored together.

A query skips runs of rows by the boxes around them, so a run should be a cell that is
small in every direction: that of a k-d tree, split at the middle of the dimension in which its
rows vary most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_SIZE = 64
"""Rows of the smallest cells that the rows of a data file are ordered by."""

# Below this many numbers a cell is split with all its descendants, one level at a time: its
# columns stay in the cache, and a call of NumPy's serves all nodes of a level.
_NUMBERS_IN_CACHE = 2**18


def kd_order(
    mu: NDArray[Any], block_size: int = BLOCK_SIZE, scale: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """Return the permutation that puts rows in k-d order.

    Cut into consecutive blocks of ``block_size``, the permuted rows are the leaves of a k-d tree,
    and so are aligned runs of 2, 4, 8, … blocks its inner nodes. Each node is split along the
    dimension in which its rows vary most; rows that tie there keep their order.

    Args:
        mu: Shape (N, n), finite.
        block_size: Rows of a leaf; the last one may have fewer.
        scale: Shape (n,), what counts as one unit of each dimension; default: all count the same.
            With a typical sigma, mu varies most where items can best be told apart, and on
            posteriors of clothing photos, a query looks at 6 to 12 % fewer rows.

    Returns:
        Shape (N,); ``mu[kd_order(mu, block_size)]`` is in order. Within a block, ascending.
    """
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}; expected at least 1.")
    order = np.arange(len(mu))
    weight = _weight(scale, mu.shape[1])
    # One contiguous row per dimension: extremes and pivots then are those of contiguous numbers.
    waiting = [(np.ascontiguousarray(mu.T), order)]
    while waiting:
        columns, rows = waiting.pop()
        count = len(rows)
        if count <= block_size:
            continue
        at = _first_half(count, block_size)
        if columns.size > _NUMBERS_IN_CACHE:
            index = _split(columns[:, None, :], weight, at)[0]
            # ``rows`` is a view into ``order``, and so are its halves.
            rows[:] = rows[index]
            waiting.append((columns.take(index[:at], axis=1), rows[:at]))
            waiting.append((columns.take(index[at:], axis=1), rows[at:]))
        else:
            rows[:] = rows[_order_levels(columns, weight, at, block_size)]
    return order


@dataclass(frozen=True)
class CellTree:
    """A small k-d tree that says in which of its cells a row of mu falls.

    The cells are numbered from left to right, so that cells with near numbers are near each other.
    Inner node i sends a row to ``children[i, 0]`` if ``row[dimension[i]] <= threshold[i]``, else
    to ``children[i, 1]``; node 0 is the root, and a negative child ``-1 - c`` is cell c.

    Attributes:
        dimension: Shape (C - 1,).
        threshold: Shape (C - 1,), of the sample's dtype.
        children: Shape (C - 1, 2).
    """

    dimension: NDArray[np.int32]
    threshold: NDArray[Any]
    children: NDArray[np.int32]

    @property
    def num_cells(self) -> int:
        """C, at least 1."""
        return len(self.dimension) + 1

    @classmethod
    def fit(
        cls, sample: NDArray[Any], num_cells: int, scale: NDArray[Any] | None = None
    ) -> CellTree:
        """Return a tree whose cells hold equal shares of a sample, as far as its ties allow.

        Args:
            sample: Shape (S, n), finite.
            num_cells: At least 1.
            scale: As of :func:`kd_order`.
        """
        if num_cells < 1:
            raise ValueError(f"num_cells is {num_cells}; expected at least 1.")
        weight = _weight(scale, sample.shape[1])
        dimension = np.zeros(num_cells - 1, np.int32)
        threshold = np.zeros(num_cells - 1, sample.dtype)
        children = np.zeros((num_cells - 1, 2), np.int32)
        # Rows, the first of the node's cells, how many it has, and the place that leads to it.
        waiting = [(np.ascontiguousarray(sample.T), 0, num_cells, 0, 0)]
        used = 0
        while waiting:
            columns, first, cells, parent, side = waiting.pop()
            node = used
            if num_cells > 1:
                children[parent, side] = node if cells > 1 else -1 - first
            if cells == 1:
                continue
            used += 1
            lower = cells // 2
            goes_left = np.ones(columns.shape[1], bool)
            if columns.shape[1]:
                dimension[node] = _widest(columns[:, None], weight)[0]
                keys = columns[dimension[node]]
                threshold[node] = _even_threshold(keys, lower / cells)
                goes_left = keys <= threshold[node]
                if not goes_left.all():
                    # Where ties made the halves uneven, their numbers of cells are so, too.
                    lower = round(cells * float(np.mean(goes_left)))
                    lower = min(max(lower, 1), cells - 1)
            right, left = columns.compress(~goes_left, axis=1), columns.compress(goes_left, axis=1)
            waiting.append((right, first + lower, cells - lower, node, 1))
            waiting.append((left, first, lower, node, 0))
        return cls(dimension, threshold, children)

    def assign(self, mu: NDArray[Any]) -> NDArray[np.int32]:
        """Return the cell of each row.

        Args:
            mu: Shape (B, n).

        Returns:
            Shape (B,), each from 0 to C - 1.
        """
        cells = np.zeros(len(mu), np.int32)
        if self.num_cells == 1:
            return cells
        rows = np.arange(len(mu))
        nodes = np.zeros(len(mu), np.int32)
        while len(rows):
            right = mu[rows, self.dimension[nodes]] > self.threshold[nodes]
            nodes = self.children[nodes, right.astype(np.intp)]
            arrived = nodes < 0
            cells[rows[arrived]] = -1 - nodes[arrived]
            rows, nodes = rows[~arrived], nodes[~arrived]
        return cells


def _even_threshold(keys: NDArray[Any], share: float) -> Any:
    """Return the key that comes nearest to having ``share`` of the keys at or below it."""
    at = min(max(round(len(keys) * share), 1), len(keys))
    pivot = np.partition(keys, at - 1)[at - 1]
    below = keys[keys < pivot]
    if len(below) and at - len(below) < np.count_nonzero(keys <= pivot) - at:
        return below.max()
    return pivot


def typical_sigma(log_var: NDArray[Any]) -> NDArray[np.float64]:
    """Return each dimension's geometric mean of sigma, shape (n,): a scale for :func:`kd_order`."""
    typical: NDArray[np.float64] = np.exp(log_var.mean(axis=0, dtype=np.float64) / 2)
    return typical


def _first_half(count: int, block_size: int) -> int:
    """Return where to split: the left part is the largest 2^j blocks that leave a right one."""
    # Not the very middle: only so are all aligned runs of 2^j blocks nodes of the tree.
    return block_size << ((count - 1) // block_size).bit_length() - 1


def _order_levels(
    columns: NDArray[Any], weight: NDArray[Any], at: int, block_size: int
) -> NDArray[np.int64]:
    """Return the k-d order of a small cell, splitting all nodes of a level at once."""
    latent_dim, count = columns.shape
    order = np.arange(count)
    while at >= block_size:
        index = np.arange(count)
        full = count - count % (2 * at)
        if full:
            nodes = columns[:, :full].reshape(latent_dim, -1, 2 * at)
            starts = index[: full : 2 * at, None]
            index[:full] = (_split(nodes, weight, at) + starts).ravel()
        if count - full > at:
            index[full:] = full + _split(columns[:, None, full:], weight, at)[0]
        columns, order = columns.take(index, axis=1), order[index]
        at >>= 1
    return order


def _split(columns: NDArray[Any], weight: NDArray[Any], at: int) -> NDArray[np.int64]:
    """Return the order that puts, in each of K nodes, the ``at`` lowest rows first.

    Args:
        columns: Shape (n, K, m).
        weight: Shape (n, 1), factors of the variances.
        at: Between 0 and m.

    Returns:
        Shape (K, m), places in a node; both halves ascending.
    """
    num_nodes, count = columns.shape[1:]
    keys = columns[_widest(columns, weight), np.arange(num_nodes)]
    pivots = np.partition(keys, at - 1, axis=1)[:, at - 1, None]
    # Not argpartition: which of the rows that tie it takes depends on the processor.
    left = keys <= pivots
    for node in np.flatnonzero(np.count_nonzero(left, axis=1) > at):
        ties = np.flatnonzero(keys[node] == pivots[node])
        surplus = np.count_nonzero(left[node]) - at
        left[node, ties[len(ties) - surplus :]] = False
    order = np.empty((num_nodes, count), np.int64)
    order[:, :at] = (np.flatnonzero(left) % count).reshape(num_nodes, at)
    order[:, at:] = (np.flatnonzero(~left) % count).reshape(num_nodes, count - at)
    return order


def _widest(columns: NDArray[Any], weight: NDArray[Any]) -> NDArray[np.int64]:
    """Return each node's dimension of greatest weighted variance: (n, K, m) to (K,)."""
    # Not of the greatest range, which one outlier decides: on posteriors of clothing photos, its
    # blocks left a query 5 to 9 % more rows to look at.
    with np.errstate(over="ignore", invalid="ignore"):
        widest: NDArray[np.int64] = np.argmax(columns.var(axis=2) * weight, axis=0)
    return widest


def _weight(scale: NDArray[Any] | None, latent_dim: int) -> NDArray[np.float64]:
    if scale is None:
        return np.ones((latent_dim, 1))
    return np.asarray(scale, dtype=np.float64)[:, None] ** -2


def scale_of(log_var: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return what counts as one unit of each dimension for the order; None if nothing can."""
    if len(log_var) == 0:
        return None
    with np.errstate(over="ignore", under="ignore"):
        scale = typical_sigma(log_var)
    # Their squares are divided by.
    return scale if ((scale > 1e-150) & (scale < 1e150)).all() else None
