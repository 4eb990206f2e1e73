"""The numbers that centroids are made from: sums by their definitions, and bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vaeudf.clustering import features, kernels
from vaeudf.clustering.features import (
    PRECISION,
    RELATIVE_TOLERANCE,
    SECOND_MOMENT,
    SHIFT,
    SIGMA,
    WEIGHTED_SHIFT,
    Feature,
)
from vaeudf.clustering.ranges import Ranges
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.numerics.exact_sums import anchors, totals

DEFINITIONS = {
    "shift": (SHIFT, lambda gap, s: gap),
    "second_moment": (SECOND_MOMENT, lambda gap, s: gap**2 + s),
    "sigma": (SIGMA, lambda gap, s: np.sqrt(s)),
    "precision": (PRECISION, lambda gap, s: 1 / s),
    "weighted_shift": (WEIGHTED_SHIFT, lambda gap, s: gap / s),
}


def test_every_feature_has_a_definition():
    every = {name.lower() for name, thing in vars(features).items() if isinstance(thing, Feature)}
    assert every == DEFINITIONS.keys(), "DEFINITIONS in this file needs a row for each feature"
    for name, (feature, _) in DEFINITIONS.items():
        assert feature is getattr(features, name.upper())


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("seed", range(5))
def test_sums_and_bounds(name, seed):
    feature, definition = DEFINITIONS[name]
    rng = np.random.default_rng(seed)
    mu = rng.normal(0, 10.0 ** rng.integers(-4, 5), (60, 2))
    log_var = rng.uniform(-20, 8, (60, 2))
    pivots, clusters = mu[:2].copy(), rng.integers(2, size=60).astype(np.int32)
    ranges = Ranges.of(Gaussians(mu, log_var))
    expected = definition(mu - pivots[clusters], np.exp(log_var))
    # But for rounding, for which exact sums have room: their units go by powers of 2.
    assert (np.abs(expected) <= feature.bound(ranges) * (1 + 1e-15)).all()

    tolerance = RELATIVE_TOLERANCE * feature.least(ranges)
    levels = anchors(feature.bound(ranges)[None], tolerance[None], 60)
    sums = np.zeros((2, *levels.shape))
    kernels.add_features(
        codes=np.array([feature.code]),
        mu=mu,
        dispersion=np.exp(0.5 * log_var if feature is SIGMA else log_var),
        groups=clusters,
        pivots=pivots,
        anchors=levels,
        sums=sums,
    )
    for cluster in range(2):
        for i in range(2):
            own = expected[clusters == cluster, i]
            found = totals(sums)[cluster, 0, i]
            rounding = 1e-15 * np.abs(own).sum()
            assert abs(found - math.fsum(own)) <= len(own) * tolerance[i] + rounding


def test_codes_differ():
    assert len({feature.code for feature, _ in DEFINITIONS.values()}) == len(DEFINITIONS)
