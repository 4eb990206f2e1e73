"""What two items have to have in common to be within a threshold: certified bounds.

Both divergences are sums over the dimensions of terms that are never below 0, so each term of a
near pair is itself within the threshold. With t = s' / s the ratio of the two variances in one
dimension, D² = (mu - mu')² / s and d = log t, these terms are

    Jeffreys        ½ D² (1 + 1/t) + 2 sinh²(d/2)
    Bhattacharyya   ¼ D² / (1 + t) + ½ log cosh(d/2)

The second summand alone bounds |d|. The least of the whole over all t bounds D: an item that is
nearer than the threshold is therefore within ``mu_reach`` of *its own* sigma of the other, in every
dimension, and the other within as much of its own.

    Jeffreys        the least is at 1/t = 1 / sqrt(1 + D²): ½ D² + sqrt(1 + D²) - 1
    Bhattacharyya   it is where t - 1/t = D²: ¼ (1 - 1/t) + ½ log( ½ (1 + t) / sqrt t )
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeudf.copies import kernels
from vaeudf.errors import InputError
from vaeudf.numerics.boxes import Boxes

_CODES = {"jeffreys": kernels.JEFFREYS, "bhattacharyya": kernels.BHATTACHARYYA}

DIVERGENCES = tuple(_CODES)
"""The divergences by which items can be near, of those of :mod:`vaeudf.gaussian`."""

# Bounds are computed for a threshold that is larger by this part, and by this: what the formulas
# may err by, and where a square is no longer a normal float64.
_RELATIVE, _ABSOLUTE = 1e-9, 1e-300
# exp(±700) is still a normal float64.
_MAX_LOG_SIGMA = 700.0
# With more nats than this, e to the fourfold overflows: bounds are then simpler, or none.
_LARGEST = 150.0
# With less, the widest that there is hardly matters, and a difference would lose its digits.
_LEAST_WIDE = 1e-3
_STEPS = 100


@dataclass(frozen=True)
class Threshold:
    """How near two items are to be.

    Attributes:
        divergence: One of :data:`DIVERGENCES`.
        nats: The largest divergence of a pair.
    """

    divergence: str
    nats: float

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            InputError: There is no such divergence, or the number is negative or not finite.
        """
        if self.divergence not in _CODES:
            raise InputError(
                f"divergence is {self.divergence!r}; expected one of {', '.join(DIVERGENCES)}."
            )
        if not (math.isfinite(self.nats) and self.nats >= 0):
            raise InputError(f"nats is {self.nats}; expected a number from 0 on, such as 0.1.")

    @property
    def code(self) -> int:
        """What the kernels call the divergence."""
        return _CODES[self.divergence]

    @property
    def bound(self) -> float:
        """The threshold, and a little more, for what is computed with rounding."""
        return self.nats * (1 + _RELATIVE) + _ABSOLUTE

    @property
    def log_var_reach(self) -> float:
        """The most that the log variances of a near pair differ by, in any dimension."""
        if self.code == kernels.JEFFREYS:
            reach = 2 * math.asinh(math.sqrt(self.bound / 2))
        elif self.bound > _LARGEST:
            # acosh(e^x) is below x + log 2.
            reach = 4 * self.bound + 2 * math.log(2)
        else:
            # acosh(1 + y), where y itself loses no digits.
            y = math.expm1(2 * self.bound)
            reach = 2 * math.log1p(y + math.sqrt(y * (y + 2)))
        return reach * (1 + _RELATIVE)

    @property
    def mu_reach(self) -> float:
        """The most that the means of a near pair differ by in any dimension, in sigma of either."""
        if self.code == kernels.JEFFREYS:
            # u² - 1 with u = sqrt(4 + 2 nats) - 2 + 1, where u - 1 loses no digits.
            excess = 2 * self.bound / (math.sqrt(4 + 2 * self.bound) + 2)
            square = excess * (excess + 2)
        else:
            excess = _excess_of_ratio(self.bound)
            square = excess * (excess + 2) / (1 + excess) if excess < math.inf else math.inf
        return math.sqrt(square) * (1 + _RELATIVE)

    def reaches(
        self, log_var: NDArray[np.float64], widest: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return how far the mean of a near item may be from each item's, in the item's own sigma.

        It is ``mu_reach``, or less where no item is so wide as would have to be so far.

        Args:
            log_var: log sigma² of the items, (N, n).
            widest: The largest log sigma² that there is, (n,); infinite if that is not known.
        """
        if self.code == kernels.JEFFREYS or not _LEAST_WIDE < self.nats < _LARGEST:
            return np.full(log_var.shape, self.mu_reach)
        # D² = 4 (1 + t) (nats - ½ log cosh(½ log t)) grows with t up to that of ``mu_reach``.
        farthest = math.log1p(_excess_of_ratio(self.bound))
        log_ratio = np.clip(widest - log_var, 0.0, farthest)
        half = 0.5 * log_ratio
        log_cosh = half + np.log1p(np.exp(-log_ratio)) - math.log(2.0)
        square = 4 * (1 + np.exp(log_ratio)) * (self.bound - 0.5 * log_cosh)
        return np.asarray(np.sqrt(square) * (1 + _RELATIVE))

    def between_boxes(self, one: Boxes, other: Boxes) -> NDArray[np.float64]:
        """Return what no item of one box is nearer than to any of the other.

        Args:
            one: K boxes of log variances and means, or one.
            other: As many, or one.

        Returns:
            In nats, (K,).
        """
        gap = _apart(one.mu_min, one.mu_max, other.mu_min, other.mu_max)
        apart = _apart(one.log_var_min, one.log_var_max, other.log_var_min, other.log_var_max)
        # The wider two items are, the nearer they are at one distance.
        most, others = (box.log_var_max.astype(np.float64) for box in (one, other))
        with np.errstate(over="ignore"):
            if self.code == kernels.JEFFREYS:
                terms = 0.5 * (
                    np.square(gap * _by_sigma(most)) + np.square(gap * _by_sigma(others))
                )
                terms += 2.0 * np.square(np.sinh(0.5 * apart))
            else:
                middle = np.logaddexp(most, others) - math.log(2.0)
                terms = 0.125 * np.square(gap * _by_sigma(middle))
                terms += 0.5 * (np.logaddexp(apart, 0.0) - 0.5 * apart - math.log(2.0))
            return np.asarray(terms.sum(axis=1))

    def around(self, box: Boxes) -> Boxes:
        """Return the box, in float64, outside of which nothing is near to any item of a box."""
        log_low, log_high = (x.astype(np.float64) for x in (box.log_var_min, box.log_var_max))
        with np.errstate(over="ignore"):
            reach = self.mu_reach / _by_sigma(log_high) * (1 + _RELATIVE)
        return Boxes(
            box.mu_min - reach,
            box.mu_max + reach,
            log_low - self.log_var_reach,
            log_high + self.log_var_reach,
        )

    def may_reach(self, one: Boxes, other: Boxes) -> NDArray[np.bool_]:
        """Return whether some pair of items of two boxes may be near, (K,); see above."""
        # A logarithm of nearly 1 errs by some 1e-16 in every dimension.
        slack = 1e-9 * self.nats + 1e-14 * one.latent_dim
        return np.asarray(~(self.between_boxes(one, other) > self.nats + slack))


def _apart(
    low: NDArray[Any], high: NDArray[Any], other_low: NDArray[Any], other_high: NDArray[Any]
) -> NDArray[np.float64]:
    """Return how far intervals are apart, 0 where they meet."""
    low, high = low.astype(np.float64), high.astype(np.float64)
    return np.asarray(np.maximum(np.maximum(other_low - high, low - other_high), 0.0))


def _by_sigma(log_var: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(-np.clip(0.5 * log_var, -_MAX_LOG_SIGMA, _MAX_LOG_SIGMA)))


def _excess_of_ratio(nats: float) -> float:
    """Return t - 1 of the least over all t that is the threshold, by the Bhattacharyya distance."""

    # With t = 1 + x, the least is ¼ x / t + ½ log( ½ (1 + t) / sqrt t ), which grows with x.
    def least(x: float) -> float:
        return 0.25 * x / (1 + x) + 0.5 * math.log1p(0.5 * x) - 0.25 * math.log1p(x)

    if nats > _LARGEST:
        return math.inf
    if nats < 1e-6:
        # There it is ¼ x - 3/16 x², and the difference would lose its digits.
        return 4 * nats * (1 + 4 * nats)
    # The least is below ¼ x, and above ½ log(½ sqrt t).
    low, high = 4 * nats, 4 * math.exp(4 * nats)
    for _ in range(_STEPS):
        middle = math.sqrt(low) * math.sqrt(high)
        low, high = (low, middle) if least(middle) > nats else (middle, high)
    return high
