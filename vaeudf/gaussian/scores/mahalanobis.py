"""How many of its sigma an item is away from z."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.densities import mahalanobis_distance
from vaeudf.gaussian.scores.lines import same_lines
from vaeudf.gaussian.scores.score import BoxTerms, Features, Score

_Array = NDArray[np.float64]


class _Mahalanobis(Score):
    def box_terms(self, log_low: _Array, log_high: _Array) -> BoxTerms:
        with np.errstate(over="ignore"):
            return BoxTerms(forward=same_lines(-0.5 * np.exp(-log_high)))


MAHALANOBIS = _Mahalanobis(
    name="mahalanobis",
    code=1,
    reference=mahalanobis_distance,
    between_gaussians=False,
    ascending=True,
    distance=True,
    unit="",
    features=Features(forward=True, weighted=True),
)
