"""Diagonal Gaussians as a pair of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gaussians:
    """Diagonal Gaussians: centroids, or items as the kernels read them.

    Attributes:
        mu: Means, (N, n) float64.
        log_var: log sigma², (N, n) float64.
    """

    mu: _Array
    log_var: _Array

    def __len__(self) -> int:
        return len(self.mu)

    def take(self, which: NDArray[np.integer]) -> Gaussians:
        """Return some of them."""
        return Gaussians(self.mu[which], self.log_var[which])

    @classmethod
    def concatenate(cls, parts: list[Gaussians]) -> Gaussians:
        """Return several sets as one."""
        return cls(
            np.concatenate([part.mu for part in parts]),
            np.concatenate([part.log_var for part in parts]),
        )
