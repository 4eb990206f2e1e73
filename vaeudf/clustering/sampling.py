"""Samples of items that depend on the items' own numbers, and not on their order or partition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.arrays import Gaussians
from vaeudf.numerics.splitmix import STEP, mixed

_Array = NDArray[np.float64]


def uniform_hashes(items: Gaussians, seed: int) -> _Array:
    """Return pseudo-random numbers in (0, 1], (N,): hashes of each item's bits and a seed."""
    state = mixed(np.full(len(items), seed % 2**64, np.uint64) + STEP)
    for i in range(items.mu.shape[1]):
        # 0 and -0 are equal, but their bits differ.
        state = mixed(state ^ (items.mu[:, i] + 0.0).view(np.uint64))
        state = mixed(state + (items.log_var[:, i] + 0.0).view(np.uint64))
    # 53 bits, and never 0.
    return np.asarray(((state >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


@dataclass(frozen=True)
class BottomK:
    """The items with the lowest keys, each once however often the catalog has it.

    Attributes:
        size: How many at most.
        keys: Ascending, (m,).
        items: m of them.
        counts: How often each was added, (m,).
    """

    size: int
    keys: _Array
    items: Gaussians
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, size: int, latent_dim: int) -> BottomK:
        """Return a sample without items."""
        no_rows = np.empty((0, latent_dim))
        return cls(
            size,
            keys=np.empty(0),
            items=Gaussians(no_rows, no_rows),
            counts=np.empty(0, np.int64),
        )

    @classmethod
    def of(
        cls, size: int, keys: _Array, items: Gaussians, counts: NDArray[np.int64] | None = None
    ) -> BottomK:
        """Return the items with the lowest keys; the items' numbers break ties.

        Args:
            size: How many at most.
            keys: Shape (N,).
            items: N of them.
            counts: How often each counts, (N,); default: once.
        """
        if counts is None:
            counts = np.ones(len(keys), np.int64)
        order = np.argsort(keys, kind="stable")
        firsts = np.ones(len(order), np.bool_)
        if (np.diff(keys[order]) == 0).any():
            rows = np.hstack([items.mu, items.log_var])
            order = np.lexsort([*rows.T[::-1], keys])
            same = (np.diff(rows[order], axis=0) == 0).all(axis=1) & (np.diff(keys[order]) == 0)
            firsts[1:] = ~same
        starts = np.flatnonzero(firsts)
        times = np.add.reduceat(counts[order], starts) if len(starts) else counts
        kept = order[starts][:size]
        return cls(size, keys=keys[kept], items=items.take(kept), counts=times[:size])

    def merge(self, other: BottomK) -> BottomK:
        """Return the lowest of both."""
        return BottomK.of(
            self.size,
            np.concatenate([self.keys, other.keys]),
            Gaussians.concatenate([self.items, other.items]),
            np.concatenate([self.counts, other.counts]),
        )

    def add(self, keys: _Array, items: Gaussians, eligible: NDArray[np.bool_]) -> BottomK:
        """Return the items with the lowest keys of these and of some further ones.

        Args:
            keys: Shape (N,).
            items: N of them.
            eligible: Which of them may be sampled, (N,).
        """
        limit = self.keys[-1] if len(self.keys) == self.size else np.inf
        rows = np.flatnonzero((keys <= limit) & eligible)
        if len(rows) > self.size:
            # Equal items have equal keys, so all rows up to the size-th lowest distinct key.
            lowest = np.unique(keys[rows])[: self.size]
            rows = rows[keys[rows] <= lowest[-1]]
        if len(rows) == 0:
            return self
        return self.merge(BottomK.of(self.size, keys[rows], items.take(rows)))
