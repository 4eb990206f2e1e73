"""Sums that no order changes, against math.fsum and fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.tolerances import UNIT_FLOAT64
from vaeudf.clustering.kernels import add_values
from vaeudf.numerics.exact_sums import anchors, totals


def summed(values, bound, parts=1, order=None, tolerance=None):
    values = np.asarray(values, np.float64)
    values = values if order is None else values[order]
    anchor = anchors(bound, 2.0**-80 * bound if tolerance is None else tolerance, len(values))
    sums = np.zeros((1, len(anchor)))
    for part in np.array_split(values, parts):
        own = np.zeros((1, len(anchor)))
        add_values(part, np.zeros(len(part), np.int32), anchor, own)
        sums = sums + own
    return totals(sums)[0]


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60),
    st.integers(1, 7),
    st.randoms(use_true_random=False),
)
def test_no_order_and_no_partition_changes_a_bit(values, parts, random):
    bound = max(map(abs, values))
    order = list(range(len(values)))
    random.shuffle(order)
    assert summed(values, bound) == summed(values, bound, parts, order)


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1.0, 1e30, 1e100])
def test_the_sum_is_right_to_the_last_place(scale):
    rng = np.random.default_rng(0)
    values = rng.normal(size=100_000) * scale
    exact = math.fsum(values)
    assert abs(summed(values, np.abs(values).max(), 13) - exact) <= 4 * UNIT_FLOAT64 * abs(exact)


def test_sums_that_cancel():
    rng = np.random.default_rng(1)
    large = rng.uniform(1e15, 1e16, 5_000)
    values = np.concatenate([large, -large, np.full(3, 0.125)])
    assert summed(values, 1e16, 7, rng.permutation(len(values))) == 0.375
    assert float(np.sum(values[rng.permutation(len(values))])) != 0.375, "which plain sums are not"


def test_numbers_far_below_the_bound():
    # 2^-60 of the bound each, of a million: what a pass over catalogs can meet at most.
    values = np.full(1_000_000, 2.0**-60)
    assert summed(values, 1.0) == 1_000_000 * 2.0**-60


def test_what_is_left_out_is_known():
    values = np.array([1.0, 1e-60])
    assert Fraction(summed(values, 1.0)) == 1
    assert abs(summed([1e-60, 0.0], 1.0, tolerance=1e-75) - 1e-60) <= 1e-75


@pytest.mark.parametrize("count", [1, 1000, 10**7, 10**9, 10**12])
@pytest.mark.parametrize("bits", [10, 40, 300])
def test_no_number_is_off_by_more_than_the_tolerance(count, bits):
    anchor = anchors(1.0, 2.0**-bits, count)
    rng = np.random.default_rng(0)
    for value in [1.0, -1.0, *rng.uniform(-1, 1, 50), *rng.uniform(-1, 1, 50) * 2.0**-bits]:
        sums = np.zeros((1, len(anchor)))
        add_values(np.array([value]), np.zeros(1, np.int32), anchor, sums)
        left = Fraction(value) - sum(map(Fraction, sums[0].tolist()))
        assert abs(left) <= Fraction(2) ** -bits
    # And as many numbers as there are at most leave every level exact.
    units = np.diff(np.append(anchor, 0.0)[:-1])
    assert len(units) == len(anchor) - 1 and (units < 0).all()
    for level, unit in enumerate(2.0**-52 * anchor / 1.5):
        largest = 1.0 if level == 0 else 2.0**-53 * anchor[level - 1] / 1.5
        assert count * largest <= 2.0**53 * unit


def test_a_bound_of_nothing():
    assert summed([0.0, -0.0, 0.0], 0.0) == 0.0


def test_anchors_of_many_kinds():
    bounds = np.array([[1.0, 1e6], [1e-6, 0.0]])
    found = anchors(bounds, np.full((2, 2), 1e-9), 1000)
    assert found.shape[1:] == (2, 2)
    assert (np.diff(found, axis=0) < 0).all()
    np.testing.assert_array_equal(found[:, 0, 1], anchors(1e6, 1e-9, 1000))
