"""The Bhattacharyya distance of two Gaussians.

With w = ½ (v + s) its logarithm is ½ log w - ¼ log v - ¼ log s: beside the added variances, a
constant of the query and a number of the item.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.divergences import bhattacharyya_distance
from vaeudf.gaussian.scores.added import AddedVariances
from vaeudf.gaussian.scores.score import Features

_Array = NDArray[np.float64]


class _Bhattacharyya(AddedVariances):
    def constant(self, log_var: _Array) -> _Array:
        return np.asarray((0.25 * log_var + 0.5 * math.log(2.0)).sum(axis=1))


BHATTACHARYYA = _Bhattacharyya(
    name="bhattacharyya",
    code=7,
    reference=bhattacharyya_distance,
    between_gaussians=True,
    ascending=True,
    unit="nats",
    features=Features(added=0.5, log_volume=0.25),
)
