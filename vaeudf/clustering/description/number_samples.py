"""Samples of the numbers of each cluster, for their quantiles."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

_Array = NDArray[np.float64]

# Numbers that are kept of a cluster, at most and at least, and of all clusters together.
_MOST, _LEAST, _TOGETHER = 4_096, 256, 2**20
# So many numbers wait before they are sorted in.
_WAITING = 2**18


def hashes_of(names: pa.Array) -> NDArray[np.uint64]:
    """Return a hash of each item's name, the same wherever the item is stored, (B,)."""
    texts = names.to_numpy(zero_copy_only=False)
    return np.asarray(pd.util.hash_array(texts, categorize=False))


@dataclass
class NumberSamples:
    """The numbers of those items of each cluster whose names have the lowest hashes.

    That is a uniform sample without repetition, and the same however the items are cut into parts
    (bottom-k; Cohen and Kaplan, 2007). It is all numbers of a cluster that has no more than
    ``size`` of them. Beyond that, the number of rank q among them all is estimated by that of rank
    q in the sample, whose own rank is off by sqrt(q (1 - q) / size), one standard deviation: 0.8 %
    of the cluster for the median of 4,096.

    Attributes:
        size: How many numbers of a cluster are kept.
        counts: Items of each cluster, and in the last place of all, that have a number, (k + 1,).
        nulls: Items of each cluster without a finite number, (k,).
        groups: Cluster of each number that is kept; k: those of all clusters together.
        hashes: Of the items that have them.
        numbers: The numbers.
    """

    size: int
    counts: NDArray[np.int64]
    nulls: NDArray[np.int64]
    groups: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    numbers: _Array = field(default_factory=lambda: np.empty(0))

    @classmethod
    def empty(cls, k: int) -> NumberSamples:
        """Return samples without numbers, for k clusters."""
        size = max(_LEAST, min(_MOST, _TOGETHER // (k + 1)))
        return cls(size, counts=np.zeros(k + 1, np.int64), nulls=np.zeros(k, np.int64))

    def __post_init__(self) -> None:
        self._waiting: list[tuple[NDArray[np.int32], NDArray[np.uint64], _Array]] = []
        # A hash that is above its group's cannot be among the lowest any more.
        self._limits = np.full(len(self.counts), np.iinfo(np.uint64).max, np.uint64)

    def add(self, clusters: NDArray[np.int32], hashes: NDArray[np.uint64], numbers: _Array) -> None:
        """Take in items: clusters, hashes of their names and numbers, all (B,)."""
        k = len(self.nulls)
        finite = np.isfinite(numbers)
        self.nulls += np.bincount(clusters[~finite], minlength=k)
        clusters, hashes, numbers = clusters[finite], hashes[finite], numbers[finite]
        self.counts[:k] += np.bincount(clusters, minlength=k)
        self.counts[k] += len(clusters)
        for groups in (clusters, np.full(len(clusters), k, np.int32)):
            low = hashes <= self._limits[groups]
            if low.any():
                self._waiting.append((groups[low], hashes[low], numbers[low]))
        if sum(len(waiting[0]) for waiting in self._waiting) > _WAITING:
            self.settle()

    def merge(self, other: NumberSamples) -> None:
        """Take in the samples of other items."""
        self.counts = self.counts + other.counts
        self.nulls = self.nulls + other.nulls
        self._waiting.append((other.groups, other.hashes, other.numbers))
        self.settle()

    def settle(self) -> None:
        """Sort in what waits; the samples are as they should be only then."""
        kept = [(self.groups, self.hashes, self.numbers), *self._waiting]
        groups, hashes, numbers = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
        order = np.lexsort((numbers, hashes, groups))
        lengths = np.bincount(groups, minlength=len(self.counts))
        firsts = np.cumsum(lengths) - lengths
        places = np.arange(len(order)) - np.repeat(firsts, lengths)
        order = order[places < self.size]
        self.groups, self.hashes, self.numbers = groups[order], hashes[order], numbers[order]
        full = np.flatnonzero(lengths >= self.size)
        lasts = np.cumsum(np.minimum(lengths, self.size)) - 1
        self._limits[full] = self.hashes[lasts[full]]
        self._waiting = []

    def quantiles(self, group: int, shares: tuple[float, ...]) -> list[float] | None:
        """Return the numbers of rank ⌊share · (N - 1)⌋ of a group's N; None if it has none."""
        own = self.numbers[self.groups == group]
        if len(own) == 0:
            return None
        return [float(q) for q in np.quantile(own, shares, method="lower")]
