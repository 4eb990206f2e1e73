"""The distance between z and an item's mean, whatever its variances are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.gaussian.densities import euclidean_distance
from vaeudf.gaussian.scores.lines import same_lines
from vaeudf.gaussian.scores.score import BoxTerms, Features, Score

_Array = NDArray[np.float64]


def _distance(
    z: ArrayLike, mu: ArrayLike, log_var: ArrayLike, tolerance: ArrayLike = 0.0
) -> _Array:
    return euclidean_distance(z, mu, tolerance)


class _Euclidean(Score):
    def box_terms(self, log_low: _Array, log_high: _Array) -> BoxTerms:
        return BoxTerms(forward=same_lines(np.full(log_low.shape, -0.5)))


EUCLIDEAN = _Euclidean(
    name="euclidean",
    code=2,
    reference=_distance,
    between_gaussians=False,
    ascending=True,
    distance=True,
    unit="",
    sees_variance=False,
    features=Features(forward=True),
)
