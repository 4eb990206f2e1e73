"""What to cluster by, into how many clusters, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass

from vaeudf.clustering.divergences import Divergence
from vaeudf.errors import InputError


@dataclass(frozen=True)
class Plan:
    """What to fit.

    Attributes:
        divergence: What to cluster by.
        num_clusters: The values of k to try.
        restarts: How often to try each, with other seeds.
        seed: Chooses the seeds.
        max_iterations: When to stop at the latest.
        min_improvement: Stop when an iteration lowers the objective by no more than this part of
            it.
    """

    divergence: Divergence
    num_clusters: tuple[int, ...]
    restarts: int = 3
    seed: int = 0
    max_iterations: int = 100
    min_improvement: float = 1e-4

    def __post_init__(self) -> None:
        if not self.num_clusters or min(self.num_clusters) < 1:
            raise InputError(f"k is {min(self.num_clusters, default=0)}; expected at least 1.")
        if self.restarts < 1:
            raise InputError(f"restarts is {self.restarts}; expected at least 1.")
        if self.max_iterations < 1:
            raise InputError(f"max-iterations is {self.max_iterations}; expected at least 1.")
        if not 0.0 <= self.min_improvement < 1.0:
            raise InputError(
                f"min-improvement is {self.min_improvement}; "
                "expected a fraction, at least 0 and below 1."
            )
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more.")
