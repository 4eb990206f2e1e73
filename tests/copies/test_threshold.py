"""What a threshold says of near items: certified, and no more than it has to be."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.near_pairs import ORACLES
from tests.support.tolerances import score_bound
from vaeudf.copies.threshold import DIVERGENCES, Threshold
from vaeudf.errors import InputError
from vaeudf.numerics.boxes import Boxes

NATS = (0.0, 1e-12, 1e-4, 0.1, 1.0, 7.0)


@pytest.mark.parametrize("nats", [-0.1, float("nan"), float("inf")])
def test_no_threshold(nats):
    with pytest.raises(InputError) as caught:
        Threshold("jeffreys", nats)
    assert str(caught.value) == f"nats is {nats}; expected a number from 0 on, such as 0.1."


def test_no_divergence():
    with pytest.raises(InputError) as caught:
        Threshold("kl", 0.1)
    assert str(caught.value) == "divergence is 'kl'; expected one of jeffreys, bhattacharyya."


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("nats", NATS[2:])
def test_reaches_are_certified_and_tight(name, nats):
    """Over all ratios of variances, the nearest item at some distance."""
    threshold = Threshold(name, nats)
    log_vars = np.linspace(-threshold.log_var_reach - 1, threshold.log_var_reach + 1, 200_001)
    zero = np.zeros((1, 1))

    def nearest(distance: float, log_vars: np.ndarray) -> float:
        others = np.full((len(log_vars), 1), distance), log_vars[:, None]
        return ORACLES[name](zero, zero, *others).min()

    assert nearest(threshold.mu_reach * (1 + 1e-6), log_vars) > nats
    assert nearest(threshold.mu_reach * (1 - 1e-3), log_vars) < nats
    assert nearest(0.0, np.array([threshold.log_var_reach * (1 + 1e-6)])) > nats
    assert nearest(0.0, np.array([threshold.log_var_reach * (1 - 1e-6)])) < nats
    # With nothing wider than 1.5 times sigma.
    widest = np.array([2 * np.log(1.5)])
    (reach,) = threshold.reaches(np.zeros((1, 1)), widest)[0]
    assert reach <= threshold.mu_reach * (1 + 1e-9)
    assert nearest(reach * (1 + 1e-6), log_vars[log_vars <= widest]) > nats


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_tiny_threshold_still_reaches(name):
    for nats in NATS[:2]:
        threshold = Threshold(name, nats)
        assert threshold.mu_reach > 0 and threshold.log_var_reach > 0
        assert threshold.mu_reach**2 >= nats and threshold.log_var_reach**2 >= nats


@pytest.mark.parametrize("name", DIVERGENCES)
def test_no_reach_where_the_threshold_has_no_end(name):
    threshold = Threshold(name, 1e5)
    assert threshold.mu_reach > 400 and threshold.log_var_reach > 10


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("n", [1, 5])
def test_nothing_in_a_box_is_nearer_than_its_bound(name, n):
    rng = np.random.default_rng(n)
    threshold = Threshold(name, 0.1)
    for trial in range(200):
        sides = []
        for _ in range(2):
            scale = 10.0 ** rng.uniform(-3, 1)
            mu = rng.normal(0, 1, n) + scale * rng.normal(size=(30, n))
            log_var = rng.normal(-2, 2, n) + rng.choice([0.0, 0.1, 3.0]) * rng.normal(size=(30, n))
            if trial % 4 == 0:
                mu[:], log_var[:] = mu[0], log_var[0]  # a box without extent
            sides.append((mu, log_var))
        one, other = (Boxes.of_blocks(*side, 30) for side in sides)
        values = ORACLES[name](*sides[0], *sides[1])
        slack = score_bound(values, sides[0][1], sides[1][1], dims=n)
        (bound,) = threshold.between_boxes(one, other)
        assert bound == threshold.between_boxes(other, one)[0]
        assert np.all(bound <= values + slack)
        if trial % 4 == 0:
            assert np.all(bound >= values - slack), "of two points it is the divergence itself"
        near = values <= threshold.nats
        assert threshold.may_reach(one, other)[0] or not near.any()
        around = threshold.around(one)
        inside = (sides[1][0] >= around.mu_min) & (sides[1][0] <= around.mu_max)
        inside &= (sides[1][1] >= around.log_var_min) & (sides[1][1] <= around.log_var_max)
        assert not (near.any(axis=0) & ~inside.all(axis=1)).any()


def test_boxes_that_are_far_apart_are_not_read():
    threshold = Threshold("jeffreys", 0.1)
    one = Boxes.of_blocks(np.zeros((2, 3)), np.full((2, 3), -4.0), 2)
    far = Boxes.of_blocks(np.ones((2, 3)), np.full((2, 3), -4.0), 2)
    narrow = Boxes.of_blocks(np.zeros((2, 3)), np.full((2, 3), -5.0), 2)
    assert threshold.may_reach(one, one)[0]
    assert not threshold.may_reach(one, far)[0] and not threshold.may_reach(one, narrow)[0]
