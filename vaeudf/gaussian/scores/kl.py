"""KL(query‖item), KL(item‖query), and their sum, Jeffreys' divergence.

With d = log v - log s, the two directions are, per dimension and without what depends on the query
alone,

    -KL(query‖item)   -½ ((m - mu)² + v) / s - ½ log s     + ½ (log v + 1)
    -KL(item‖query)   -½ w ((m - mu)² + s) + ½ log s       - ½ (log v - 1),   w = 1 / v

In their sum the logarithms cancel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.divergences import jeffreys_divergence, kl_divergence, reverse_kl_divergence
from vaeudf.gaussian.scores.lines import lines_above
from vaeudf.gaussian.scores.score import BoxTerms, Features, QueryTerms, Score

_Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _KL(Score):
    """One direction of KL or both: the forward term is query‖item, the backward term item‖query."""

    between_gaussians: bool = True
    ascending: bool = True
    unit: str = "nats"

    def query_terms(self, mu: _Array, log_var: _Array) -> QueryTerms:
        forward, backward = self.features.forward, self.features.backward
        if forward and backward:
            constant = np.full(len(mu), float(mu.shape[1]))
        elif forward:
            constant = 0.5 * (log_var + 1).sum(axis=1)
        else:
            constant = -0.5 * (log_var - 1).sum(axis=1)
        with np.errstate(over="ignore"):
            return QueryTerms(
                mu,
                np.exp(log_var) if forward else None,
                np.exp(-log_var) if backward else None,
                constant,
            )

    def box_terms(self, log_low: _Array, log_high: _Array) -> BoxTerms:
        return BoxTerms(
            forward=lines_above(log_low, log_high) if self.features.forward else None,
            backward=lines_above(-log_high, -log_low) if self.features.backward else None,
        )


KL = _KL(
    name="kl",
    code=3,
    reference=kl_divergence,
    features=Features(forward=True, weighted=True, log_volume=-0.5),
)
REVERSE_KL = _KL(
    name="reverse_kl",
    code=4,
    reference=reverse_kl_divergence,
    features=Features(backward=True, log_volume=0.5),
)
JEFFREYS = _KL(
    name="jeffreys",
    code=5,
    reference=jeffreys_divergence,
    features=Features(forward=True, weighted=True, backward=True),
)
