"""The scores that items can be ranked by, and how the query engine sees them.

Inside the engine every score is a *value*, higher is nearer: the log-likelihood itself, minus a
divergence, minus half a squared distance. Up to a constant of the query's own it is a sum over
dimensions of

    forward    max over the box of -½ (t / s + log s),  t = (z - mu)² + v
    backward   -½ w ((z - mu)² + s) + ½ log s,          w = 1 / v

with s the item's variance and v the query's; `kernels` computes these, this module says which score
is which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import InputError


@dataclass(frozen=True)
class Score:
    """A score that items can be ranked by.

    Attributes:
        name: Its name, and that of the column it stands in.
        code: How the kernels know it.
        between_gaussians: Whether a query is a Gaussian, and not a point z.
        ascending: Whether lower is nearer.
        unit: What it is measured in; empty for distances.
        distance: Whether it is the square root of what the engine computes.
    """

    name: str
    code: int
    between_gaussians: bool
    ascending: bool
    unit: str
    distance: bool = False

    def from_values(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores that people see, from the engine's values."""
        # 0 - x and not -x: no score is -0.0.
        if self.distance:
            return np.sqrt(0.0 - 2.0 * values)
        return 0.0 - values if self.ascending else values

    def to_value(self, score: float) -> float:
        """Return the value of a score, to compare with the engine's."""
        if self.distance:
            return -0.5 * score * score if score >= 0 else math.inf
        return -score if self.ascending else score


LOG_LIKELIHOOD = Score("log_likelihood", 0, False, False, "nats")
MAHALANOBIS = Score("mahalanobis", 1, False, True, "", distance=True)
EUCLIDEAN = Score("euclidean", 2, False, True, "", distance=True)
KL = Score("kl", 3, True, True, "nats")
REVERSE_KL = Score("reverse_kl", 4, True, True, "nats")
JEFFREYS = Score("jeffreys", 5, True, True, "nats")
WASSERSTEIN2 = Score("wasserstein2", 6, True, True, "", distance=True)
BHATTACHARYYA = Score("bhattacharyya", 7, True, True, "nats")

SCORES = {
    score.name: score
    for score in (
        LOG_LIKELIHOOD,
        MAHALANOBIS,
        EUCLIDEAN,
        KL,
        REVERSE_KL,
        JEFFREYS,
        WASSERSTEIN2,
        BHATTACHARYYA,
    )
}


def score_named(name: str) -> Score:
    """Return the score of this name.

    Raises:
        InputError: There is none.
    """
    if name not in SCORES:
        raise InputError(f"score is {name!r}; expected one of {', '.join(SCORES)}.")
    return SCORES[name]
