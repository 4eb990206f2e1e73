"""Summaries of numbers whose size does not depend on how many there are, and that can be merged.

A task summarises the values that it has read, and the summaries of all tasks are merged. Counts are
whole numbers: however the values are cut into parts, and in whatever order these are merged, the
counts are the same to the last bit. Sums (:class:`Moments`) differ by rounding alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ACCURACY = 0.01
"""How far a quantile may be off, relative to its value."""

SMALLEST = 1e-9
"""Magnitudes below this count as 0, and are off by at most this."""

LARGEST = 1e9
"""Magnitudes above this count as this."""

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = math.log(_GAMMA)
_FIRST = math.floor(math.log(SMALLEST) / _LOG_GAMMA)
_NUM_MAGNITUDES = math.ceil(math.log(LARGEST) / _LOG_GAMMA) - _FIRST


class QuantileSketch:
    """Counts of values in buckets whose width grows with the value, for each of n dimensions.

    That is DDSketch (Masson, Rim and Lee, 2019) with a fixed range of magnitudes: bucket i holds
    magnitudes in (gamma^(i-1), gamma^i], gamma = (1 + a) / (1 - a), and 2 gamma^i / (gamma + 1)
    is within a = :data:`ACCURACY` of all of them.

    Attributes:
        counts: Shape (n, buckets) int64; by value, ascending.
    """

    def __init__(self, num_dims: int, signed: bool = True) -> None:
        """Start with no values.

        Args:
            num_dims: n.
            signed: Whether values may be below 0; if not, the sketch takes half the memory.
        """
        self._zero = _NUM_MAGNITUDES if signed else 0
        self.counts = np.zeros((num_dims, self._zero + 1 + _NUM_MAGNITUDES), np.int64)

    def add(self, values: NDArray[np.floating]) -> None:
        """Take in values, shape (B, n); infinite ones count as the largest.

        Raises:
            ValueError: A value is NaN, or below 0 where none may be.
        """
        num_dims, num_buckets = self.counts.shape
        numbers = np.asarray(values, np.float64)
        if np.isnan(numbers).any() or (self._zero == 0 and (numbers < 0).any()):
            raise ValueError("a value is NaN, or below 0 in a sketch of values without sign.")
        magnitudes = np.abs(numbers)
        with np.errstate(divide="ignore"):
            places = np.ceil(np.log(magnitudes) / _LOG_GAMMA)
        places = np.clip(places - _FIRST, 1, _NUM_MAGNITUDES).astype(np.int64)
        places[magnitudes < SMALLEST] = 0
        places = self._zero + np.where(numbers < 0, -places, places)
        places += np.arange(num_dims) * num_buckets
        found = np.bincount(places.ravel(), minlength=self.counts.size)
        self.counts += found.reshape(self.counts.shape)

    def merge(self, other: QuantileSketch) -> None:
        """Take in another sketch's values."""
        self.counts += other.counts

    @property
    def count(self) -> int:
        """How many values each dimension has."""
        return int(self.counts[0].sum())

    def quantile(self, share: float) -> NDArray[np.float64]:
        """Return each dimension's quantile, shape (n,): the value of rank ⌊share · (N - 1)⌋.

        NaN if there are no values.
        """
        return self._at_rank(self.counts, self._values(), math.floor(share * (self.count - 1)))

    def reach(self, share: float) -> NDArray[np.float64]:
        """Return the least bucket's end a such that a share of the values lie in [-a, a], (n,).

        The range never holds less, and is at most 2 · :data:`ACCURACY` wider than it needs to be.
        """
        folded = self.counts[:, self._zero :].copy()
        if self._zero:
            folded[:, 1:] += self.counts[:, self._zero - 1 :: -1]
        ends = np.append(0.0, _GAMMA ** (_FIRST + np.arange(1.0, _NUM_MAGNITUDES + 1)))
        return self._at_rank(folded, ends, math.ceil(share * self.count) - 1)

    def histogram(self, edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many values lie between the edges, shape (n, len(edges) - 1).

        Not whole numbers: a bucket that an edge cuts is taken to be filled evenly.
        """
        ends = _GAMMA ** (_FIRST + np.arange(0.0, _NUM_MAGNITUDES + 1))
        bounds = np.concatenate([-ends[::-1], ends] if self._zero else [[0.0], ends])
        below = np.cumsum(np.pad(self.counts, ((0, 0), (1, 0))), axis=1)
        found = [np.diff(np.interp(edges, bounds, own)) for own in below]
        return np.array(found).reshape(len(self.counts), -1)

    def _values(self) -> NDArray[np.float64]:
        places = _FIRST + np.arange(1.0, _NUM_MAGNITUDES + 1)
        positive = 2.0 / (_GAMMA + 1.0) * _GAMMA**places
        zero = np.zeros(1)
        return np.concatenate([-positive[::-1], zero, positive] if self._zero else [zero, positive])

    @staticmethod
    def _at_rank(
        counts: NDArray[np.int64], values: NDArray[np.float64], rank: int
    ) -> NDArray[np.float64]:
        reached = np.cumsum(counts, axis=1)
        if len(counts) and reached[0, -1] == 0:
            return np.full(len(counts), np.nan)
        return np.asarray(values[np.argmax(reached > max(rank, 0), axis=1)])


@dataclass
class Moments:
    """Count, mean and covariance of vectors, merged as Chan, Golub and LeVeque (1979) do.

    Attributes:
        count: N.
        mean: Shape (n,).
        comoment: Σ (x - mean)(x - mean)ᵀ, shape (n, n).
    """

    count: int
    mean: NDArray[np.float64]
    comoment: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Moments:
        """Return the moments of vectors, shape (B, n); B may be 0."""
        numbers = np.asarray(values, np.float64)
        mean = numbers.mean(axis=0) if len(numbers) else np.zeros(numbers.shape[1])
        centred = numbers - mean
        return cls(len(numbers), mean, centred.T @ centred)

    def merge(self, other: Moments) -> None:
        """Take in another part's vectors."""
        count = self.count + other.count
        if count == 0:
            return
        gap = other.mean - self.mean
        self.mean = self.mean + gap * (other.count / count)
        between = np.outer(gap, gap) * (self.count * (other.count / count))
        self.comoment = self.comoment + other.comoment + between
        self.count = count

    @property
    def covariance(self) -> NDArray[np.float64]:
        """The covariance of the vectors themselves, divided by N and not by N - 1; (n, n)."""
        return self.comoment / max(1, self.count)


@dataclass
class Extremes:
    """The least and the greatest value of each dimension, and how many values equal them.

    Attributes:
        low: Shape (n,), as all four; inf where there are no values.
        low_count: How often ``low`` occurs.
        high: -inf where there are no values.
        high_count: How often ``high`` occurs.
    """

    low: NDArray[np.float64]
    low_count: NDArray[np.int64]
    high: NDArray[np.float64]
    high_count: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Extremes:
        """Return the extremes of values, shape (B, n); B may be 0."""
        low = values.min(axis=0, initial=np.inf)
        high = values.max(axis=0, initial=-np.inf)
        counts = [(values == bound).sum(axis=0, dtype=np.int64) for bound in (low, high)]
        return cls(low.astype(np.float64), counts[0], high.astype(np.float64), counts[1])

    def merge(self, other: Extremes) -> None:
        """Take in another part's values."""
        for ours, theirs, better in (("low", other.low, np.less), ("high", other.high, np.greater)):
            mine, count = getattr(self, ours), getattr(self, f"{ours}_count")
            counted = getattr(other, f"{ours}_count")
            kept = np.where(better(theirs, mine), 0, count)
            added = np.where(better(mine, theirs), 0, counted)
            setattr(self, ours, np.where(better(theirs, mine), theirs, mine))
            setattr(self, f"{ours}_count", kept + added)


class TopList:
    """The k items with the largest values, and their posteriors; ties by item_id, ascending.

    An item_id that is added twice is kept once, with the larger value.

    Attributes:
        k: The most items that are kept.
        values: Shape (m,), descending.
        ids: Their item_ids.
        mu: Shape (m, n).
        log_var: Shape (m, n).
    """

    def __init__(self, k: int, num_dims: int) -> None:
        """Start with none."""
        self.k = k
        self.values = np.empty(0)
        self.ids: list[str] = []
        self.mu = np.empty((0, num_dims))
        self.log_var = np.empty((0, num_dims))

    def __len__(self) -> int:
        """Return how many there are, at most k."""
        return len(self.ids)

    def wanted(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the rows of a batch that may be among the k, so that only their ids are looked up.

        An item_id that occurs more than once in the batch may displace other items.
        """
        rows = np.arange(len(values) if self.k else 0)
        if len(self) == self.k and self.k:
            rows = rows[values >= self.values[-1]]
        if len(rows) > self.k:
            kth = np.partition(values[rows], len(rows) - self.k)[len(rows) - self.k]
            rows = rows[values[rows] >= kth]
        return rows

    def add(
        self,
        values: NDArray[np.float64],
        ids: Sequence[str],
        mu: NDArray[np.floating],
        log_var: NDArray[np.floating],
    ) -> None:
        """Take in items: values (B,), ids (B,), mu and log_var (B, n)."""
        everything = np.concatenate([self.values, values])
        names = [*self.ids, *ids]
        # As UTF-8 bytes sort, which is as code points do.
        order = sorted(range(len(names)), key=lambda i: (-everything[i], names[i]))
        seen: set[str] = set()
        kept: list[int] = []
        for place in order:
            if len(kept) == self.k:
                break
            if names[place] not in seen:
                seen.add(names[place])
                kept.append(place)
        self.values = everything[kept]
        self.ids = [names[place] for place in kept]
        self.mu = np.concatenate([self.mu, mu])[kept]
        self.log_var = np.concatenate([self.log_var, log_var])[kept]

    def first(self, count: int) -> TopList:
        """Return the list that would have been kept with a smaller k."""
        found = TopList(min(self.k, count), self.mu.shape[1])
        found.values, found.ids = self.values[:count], self.ids[:count]
        found.mu, found.log_var = self.mu[:count], self.log_var[:count]
        return found

    def merge(self, other: TopList) -> None:
        """Take in another list."""
        self.add(other.values, other.ids, other.mu, other.log_var)
