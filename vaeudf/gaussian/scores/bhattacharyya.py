"""The Bhattacharyya distance of two Gaussians.

It is not a sum of products of an item's number and a query's, so it has no features for the filter:
what the bound lets pass is scored by the formula.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.divergences import bhattacharyya_distance
from vaeudf.gaussian.scores.score import BoxTerms, QueryTerms, Score

_Array = NDArray[np.float64]


class _Bhattacharyya(Score):
    def query_terms(self, mu: _Array, log_var: _Array) -> QueryTerms:
        with np.errstate(over="ignore"):
            return QueryTerms(mu, np.exp(log_var), None, np.zeros(len(mu)))

    def box_terms(self, log_low: _Array, log_high: _Array) -> BoxTerms:
        return BoxTerms(log_widest=log_high)


BHATTACHARYYA = _Bhattacharyya(
    name="bhattacharyya",
    code=7,
    reference=bhattacharyya_distance,
    between_gaussians=True,
    ascending=True,
    unit="nats",
)
