"""log q(z|x), the log density of an item's posterior at z: the score that is meant by default.

With a tolerance tau of each query's own it is the same formula, but tau² is no longer part of what
items are made ready with: it is added to their variances during the search.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.densities import LOG_2PI, log_prob
from vaeudf.gaussian.scores.added import AddedVariances
from vaeudf.gaussian.scores.lines import lines_above
from vaeudf.gaussian.scores.score import BoxTerms, Features, Score

_Array = NDArray[np.float64]


class _LogLikelihood(Score):
    def box_terms(self, log_low: _Array, log_high: _Array) -> BoxTerms:
        lines = lines_above(log_low, log_high)
        lines[:, :, ::2] -= 0.5 * LOG_2PI
        # With log s in the intercepts: ½ log 2π of each dimension, twice.
        return BoxTerms(forward=lines, cancelled=log_low.shape[1] * LOG_2PI)


LOG_LIKELIHOOD = _LogLikelihood(
    name="log_likelihood",
    code=0,
    reference=log_prob,
    between_gaussians=False,
    ascending=False,
    unit="nats",
    is_log_density=True,
    features=Features(forward=True, weighted=True, log_volume=-0.5, constant=-0.5 * LOG_2PI),
)


LOG_LIKELIHOOD_BY_QUERY = AddedVariances(
    name="log_likelihood",
    code=9,
    reference=log_prob,
    # To the search, a point with a tolerance is a Gaussian with the variance tau².
    between_gaussians=True,
    ascending=False,
    unit="nats",
    is_log_density=True,
    features=Features(added=1.0, constant=-0.5 * LOG_2PI),
)
