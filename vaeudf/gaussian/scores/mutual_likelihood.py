"""The mutual likelihood of two Gaussians: the log density of their difference at zero.

The query's variances are added to the item's before they are divided by, so the value is not a sum
of products of an item's number and a query's: there are no features for the filter, and what the
bound lets pass is scored by the formula.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.densities import LOG_2PI
from vaeudf.gaussian.divergences import mutual_log_likelihood
from vaeudf.gaussian.scores.score import BoxTerms, QueryTerms, Score

_Array = NDArray[np.float64]


class _MutualLikelihood(Score):
    # With v ≤ v + s the logarithms are at most those of the query's own variances, and with halves
    # on both sides the bound's -¼ t / (½ v + ½ s) is -½ t / (v + s).
    def query_terms(self, mu: _Array, log_var: _Array) -> QueryTerms:
        constant = -0.5 * (log_var + LOG_2PI).sum(axis=1)
        with np.errstate(over="ignore"):
            return QueryTerms(mu, 0.5 * np.exp(log_var), None, constant)

    def box_terms(self, log_low: _Array, log_high: _Array) -> BoxTerms:
        return BoxTerms(log_widest=log_high - math.log(2.0))


MUTUAL_LIKELIHOOD = _MutualLikelihood(
    name="mls",
    code=8,
    reference=mutual_log_likelihood,
    between_gaussians=True,
    ascending=False,
    unit="nats",
)
