"""The ranges that items lie in: they bound every number that is summed over the items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.arrays import Gaussians

_Array = NDArray[np.float64]

# Beyond these, sums of squares and of inverse variances could leave float64.
MAX_LOG_VAR = 80.0
MAX_MU = 1e15

# A centroid's mean lies between the items' means, except for its rounding.
_ROUNDING_OF_MEANS = 1.001


@dataclass(frozen=True)
class Ranges:
    """The least and the largest mu and log_var of some items, per dimension.

    Attributes:
        low_mu: Shape (n,).
        high_mu: Shape (n,).
        low_log_var: Shape (n,).
        high_log_var: Shape (n,).
    """

    low_mu: _Array
    high_mu: _Array
    low_log_var: _Array
    high_log_var: _Array

    @classmethod
    def of(cls, items: Gaussians) -> Ranges:
        """Return the ranges of at least one item."""
        return cls(
            low_mu=items.mu.min(axis=0),
            high_mu=items.mu.max(axis=0),
            low_log_var=items.log_var.min(axis=0),
            high_log_var=items.log_var.max(axis=0),
        )

    def merge(self, other: Ranges) -> Ranges:
        """Return the ranges of both sets of items together."""
        return Ranges(
            low_mu=np.minimum(self.low_mu, other.low_mu),
            high_mu=np.maximum(self.high_mu, other.high_mu),
            low_log_var=np.minimum(self.low_log_var, other.low_log_var),
            high_log_var=np.maximum(self.high_log_var, other.high_log_var),
        )

    @property
    def largest_gap(self) -> _Array:
        """A bound of |mu - m| for every item and every centroid, (n,)."""
        return (self.high_mu - self.low_mu) * _ROUNDING_OF_MEANS

    @property
    def least_variance(self) -> _Array:
        """The items' least sigma², (n,)."""
        return np.exp(self.low_log_var)

    @property
    def largest_variance(self) -> _Array:
        """The items' largest sigma², (n,)."""
        return np.exp(self.high_log_var)

    @property
    def least_precision(self) -> _Array:
        """The items' least 1 / sigma², (n,)."""
        return np.exp(-self.high_log_var)

    @property
    def largest_precision(self) -> _Array:
        """The items' largest 1 / sigma², (n,)."""
        return np.exp(-self.low_log_var)
