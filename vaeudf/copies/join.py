"""Near pairs of items in memory: of one set, or of two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.copies import kernels, set_kernels
from vaeudf.copies.threshold import Threshold

# Pairs that are handed on at a time.
_PAIRS = 2**17
# Rows whose spread decides the order of the dimensions.
_SAMPLE = 4096
# exp(±700) is still a normal float64; the same clip as vaeudf.gaussian's.
_MAX_LOG_SIGMA = 700.0


class Pairs(NamedTuple):
    """Some near pairs of items.

    Attributes:
        one: Their places among the first set's distinct items, (P,).
        other: Among the second's.
        values: Their divergences, (P,).
        compared: How many pairs were compared to find them.
    """

    one: NDArray[np.int32]
    other: NDArray[np.int32]
    values: NDArray[np.float64]
    compared: int


@dataclass(frozen=True)
class Coordinates:
    """How items are written for the kernels.

    Attributes:
        threshold: How near a pair is.
        order: Of the dimensions, (n,): those that tell most items apart come first.
        dtype: Of the numbers.
        widest: The largest log sigma² that there is, (n,), infinite if that is not known; no item
            may exceed it.
    """

    threshold: Threshold
    order: NDArray[np.int64]
    dtype: np.dtype[Any]
    widest: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        threshold: Threshold,
        mu: NDArray[Any],
        log_var: NDArray[Any],
        widest: NDArray[np.float64],
    ) -> Coordinates:
        """Return the coordinates for items (N, n) and others like them; widest: as above."""
        some = np.unique(np.linspace(0, max(len(mu) - 1, 0), _SAMPLE).astype(np.int64))[: len(mu)]
        means, log_vars = (array[some].astype(np.float64) for array in (mu, log_var))
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            sigma = np.exp(np.clip(0.5 * log_vars, -_MAX_LOG_SIGMA, _MAX_LOG_SIGMA))
            spread = np.zeros(mu.shape[1])
            if len(some):
                spread = means.std(axis=0) / np.median(sigma, axis=0)
        order = np.argsort(-np.nan_to_num(spread), kind="stable")
        dtype = np.result_type(mu.dtype, log_var.dtype, np.float32)
        return cls(threshold, order, dtype, widest)

    @property
    def places(self) -> NDArray[np.int64]:
        """Where each dimension is in the order."""
        return np.argsort(self.order)

    @property
    def log_var_reach(self) -> Any:
        """The reach of log variances, not below it in the items' precision."""
        return self._up(np.array([self.threshold.log_var_reach]))[0]

    @property
    def limit(self) -> Any:
        """What the lower bound of a near pair's divergence is not above, rounding included."""
        info = np.finfo(self.dtype)
        # Each weight is off by two roundings, each square and sum by one.
        relative = (4 * len(self.order) + 32) * float(info.eps)
        limit = self.threshold.bound * (1 + relative) + float(info.tiny)
        return self._up(np.array([limit]))[0]

    def written(self, mu: NDArray[Any], log_var: NDArray[Any]) -> NDArray[Any]:
        """Return items as the kernels read them, (N, n, 4)."""
        found: NDArray[Any] = np.empty((*mu.shape, 4), self.dtype)
        found[:, :, kernels.MEAN] = mu[:, self.order]
        found[:, :, kernels.LOG_VAR] = log_var[:, self.order]
        info = np.finfo(self.dtype)
        log_vars = log_var[:, self.order].astype(np.float64)
        reaches = self.threshold.reaches(log_vars, self.widest[self.order])
        half = 0.5 * log_vars
        np.clip(half, -_MAX_LOG_SIGMA, _MAX_LOG_SIGMA, out=half)
        with np.errstate(over="ignore", under="ignore"):
            sigma = np.exp(half)
            found[:, :, kernels.REACH] = self._up(sigma * reaches)
            # A bound with a smaller weight, or by the wider variance, is a bound, too.
            if self.threshold.code == kernels.JEFFREYS:
                most = float(info.max) ** 0.75
                weight = np.minimum(0.5 * np.exp(-np.minimum(2 * half, _MAX_LOG_SIGMA)), most)
                weight[2 * half < -_MAX_LOG_SIGMA] = most
            else:
                weight = np.maximum(np.square(sigma), float(info.tiny) * 1e6)
            found[:, :, kernels.WEIGHT] = weight
        return found

    def _up(self, numbers: NDArray[np.float64]) -> NDArray[Any]:
        """Return positive numbers in the items' precision, none below what it was."""
        info = np.finfo(self.dtype)
        with np.errstate(over="ignore", under="ignore"):
            rounded = numbers.astype(self.dtype)
            larger = np.nextafter(rounded, self.dtype.type(np.inf))
        return np.asarray(np.maximum(larger, info.tiny))


class Items:
    """Items ready to be joined; equal ones are written once.

    Attributes:
        distinct: The rows of the distinct ones, ascending, (D,).
        counts: How many rows are equal to each of these, (D,).
        firsts: Of each row the place of the distinct one that it is equal to, (N,).
        written: The distinct ones as the kernels read them.
    """

    def __init__(self, coordinates: Coordinates, mu: NDArray[Any], log_var: NDArray[Any]) -> None:
        """Write items, shape (N, n) each, in the order of the coordinates."""
        self.coordinates = coordinates
        first = _first_equal(mu, log_var, coordinates.dtype)
        self.distinct = np.flatnonzero(first == np.arange(len(first)))
        place = np.empty(len(first), np.int64)
        place[self.distinct] = np.arange(len(self.distinct))
        self.firsts: NDArray[np.int64] = place[first]
        self.counts = np.bincount(self.firsts, minlength=len(self.distinct))
        if len(self.distinct) < len(mu):
            mu, log_var = mu[self.distinct], log_var[self.distinct]
        self.written = coordinates.written(mu, log_var)

    def __len__(self) -> int:
        """Return N."""
        return len(self.firsts)

    @cached_property
    def by_distinct(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows in the order of the distinct ones, (N,), and where each begins, (D,)."""
        order = np.argsort(self.firsts, kind="stable")
        return order, np.cumsum(self.counts) - self.counts

    def near_pairs(self, others: Items | None = None) -> Iterator[Pairs]:
        """Yield the near pairs of distinct items, each once, some at a time.

        Args:
            others: Items in the same coordinates, to pair these with; unless given, pairs are
                among these.
        """
        coordinates = self.coordinates
        other = self.written if others is None else others.written
        if len(self.written) == 0 or len(other) == 0:
            return
        state = kernels.begin(self.written, other, others is None)
        depth = state[2]
        found = np.empty((_PAIRS, 2), np.int32)
        values = np.empty(_PAIRS)
        while depth:
            rows, stack, depth, count, compared = kernels.find(
                coordinates.threshold.code,
                self.written,
                other,
                coordinates.places,
                coordinates.log_var_reach,
                coordinates.limit,
                coordinates.threshold.nats,
                *state,
                found,
                values,
            )
            state = rows, stack, depth
            one, two = found[:count].T
            yield Pairs(one.copy(), two.copy(), values[:count].copy(), compared)


def divergences_of_pairs(
    threshold: Threshold,
    mu: NDArray[np.float64],
    log_var: NDArray[np.float64],
    other_mu: NDArray[np.float64],
    other_log_var: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the divergence of each pair of rows, as it is compared with the threshold.

    Args:
        threshold: Says which.
        mu: Means, (N, n).
        log_var: log sigma², (N, n).
        other_mu: Means of the others, (N, n).
        other_log_var: Their log sigma², (N, n).

    Returns:
        In nats, (N,).
    """
    found = np.empty(len(mu))
    kernels.divergences(threshold.code, mu, log_var, other_mu, other_log_var, found)
    return found


def _first_equal(
    mu: NDArray[Any], log_var: NDArray[Any], dtype: np.dtype[Any]
) -> NDArray[np.int64]:
    """Return the first row that has the numbers of each, or a later one of these; (N,)."""
    both = np.concatenate([mu.astype(dtype), log_var.astype(dtype)], axis=1)
    bits = np.ascontiguousarray(both).view(np.uint32)
    hashes = np.empty(len(bits), np.uint64)
    set_kernels.hash_rows(bits, hashes)
    order = np.argsort(hashes, kind="stable")
    found = np.empty(len(bits), np.int64)
    set_kernels.first_equal(bits, hashes, order, found)
    return found
