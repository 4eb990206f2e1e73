"""The mutual likelihood of two Gaussians: the log density of their difference at zero."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.densities import LOG_2PI
from vaeudf.gaussian.divergences import mutual_log_likelihood
from vaeudf.gaussian.scores.score import BoxTerms, Features, QueryTerms, Score

_Array = NDArray[np.float64]


class _MutualLikelihood(Score):
    def query_terms(self, mu: _Array, log_var: _Array) -> QueryTerms:
        constant = np.full(len(mu), -0.5 * LOG_2PI * mu.shape[1])
        with np.errstate(over="ignore"):
            return QueryTerms(mu, np.exp(log_var), None, constant)

    def box_terms(self, log_low: _Array, log_high: _Array) -> BoxTerms:
        return BoxTerms(log_variances=(log_low, log_high))


MUTUAL_LIKELIHOOD = _MutualLikelihood(
    name="mls",
    code=8,
    reference=mutual_log_likelihood,
    between_gaussians=True,
    ascending=False,
    unit="nats",
    features=Features(added=1.0),
)
