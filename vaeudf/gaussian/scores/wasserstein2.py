"""The 2-Wasserstein distance of two Gaussians: Euclidean in (mu, sigma)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.divergences import wasserstein2_distance
from vaeudf.gaussian.scores.lines import same_lines
from vaeudf.gaussian.scores.score import BoxTerms, Features, Score

_Array = NDArray[np.float64]

# By AM-GM from float64's 2e-16, squared, and the margin's share of at least 1e-6 of the size.
_LAST_DIGIT = 1e-15


class _Wasserstein2(Score):
    def box_terms(self, log_low: _Array, log_high: _Array) -> BoxTerms:
        num_boxes, n = log_low.shape
        return BoxTerms(forward=same_lines(np.full((num_boxes, 2 * n), -0.5)))

    def rounding(self, highest: _Array) -> _Array:
        # Two ways to compute a sigma differ in its last digit.
        sigmas = highest[:, highest.shape[1] // 2 :]
        with np.errstate(over="ignore"):
            return np.asarray(_LAST_DIGIT * np.square(sigmas).sum(axis=1))


WASSERSTEIN2 = _Wasserstein2(
    name="wasserstein2",
    code=6,
    reference=wasserstein2_distance,
    between_gaussians=True,
    ascending=True,
    distance=True,
    unit="",
    features=Features(forward=True, with_sigma=True),
)
