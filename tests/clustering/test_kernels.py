"""The compiled loops refuse codes that they do not know; other tests say what they compute."""

from __future__ import annotations

import numpy as np
import pytest

from vaeudf.clustering import kernels
from vaeudf.clustering.assignment import nearest_centroids
from vaeudf.clustering.divergences import KL
from vaeudf.gaussian.arrays import Gaussians


def test_an_unknown_divergence_raises():
    items = Gaussians(np.zeros((1, 1)), np.zeros((1, 1)))

    class Unknown(type(KL)):
        code = 99

    with pytest.raises(ValueError, match=r"^no divergence has this code$"):
        nearest_centroids(KL.prepare(items), items, Unknown())


def test_an_unknown_feature_raises():
    one, anchors = np.zeros((1, 1)), np.zeros((1, 1, 1))
    with pytest.raises(ValueError, match=r"^no feature has this code$"):
        kernels.add_features(
            codes=np.array([99]),
            mu=one,
            dispersion=one,
            groups=np.zeros(1, np.int32),
            pivots=one,
            anchors=anchors,
            sums=np.zeros((1, 1, 1, 1)),
        )
