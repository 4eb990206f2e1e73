"""Running log-sum-exp: logarithms of sums of exponentials, of numbers that arrive in parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


class LogSums:
    """Running log Σ e^number of Q sums, none of which can overflow.

    Attributes:
        largest: The largest number of each sum so far, shape (Q,); -inf where there was none.
        scaled: Sum of e^(number - largest), shape (Q,).
    """

    def __init__(self, count: int) -> None:
        """Start with no numbers in any of ``count`` sums."""
        self.largest: _Array = np.full(count, -np.inf)
        self.scaled: _Array = np.zeros(count)

    def add(self, numbers: _Array) -> None:
        """Add B numbers to every sum, shape (Q, B)."""
        largest = numbers.max(axis=1, initial=-np.inf)
        anchor = np.where(np.isneginf(largest), 0.0, largest)
        self.add_scaled(largest, np.exp(numbers - anchor[:, None]).sum(axis=1))

    def add_scaled(
        self,
        largest: _Array,
        scaled: _Array,
        which: slice | NDArray[np.int64] = slice(None),
    ) -> None:
        """Add sums over other numbers.

        Args:
            largest: The largest number of each, shape (S,).
            scaled: Sum of e^(number - largest), shape (S,).
            which: The places of the sums that they are added to, each of them once; all unless
                given.
        """
        both = np.maximum(self.largest[which], largest)
        anchor = np.where(np.isneginf(both), 0.0, both)
        here = self.scaled[which] * np.exp(self.largest[which] - anchor)
        self.scaled[which] = here + scaled * np.exp(largest - anchor)
        self.largest[which] = both

    def merge(self, other: LogSums) -> None:
        """Add the sums of another, of the same number."""
        self.add_scaled(other.largest, other.scaled)

    def logarithms(self) -> _Array:
        """Return the sums' logarithms, shape (Q,); -inf for a sum over nothing."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.largest + np.log(self.scaled))
