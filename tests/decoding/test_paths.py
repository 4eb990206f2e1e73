"""Paths against the geodesic equation, integrated by SciPy, and against what a path must be."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from tests.support.tolerances import (
    ROOT_FLOAT64,
    SCORE,
    assert_same_float64,
    assert_within,
    near_float64,
)
from vaeudf.decoding.paths import fisher_rao_distance, fisher_rao_path, grid, linear_path
from vaeudf.errors import InputError
from vaeudf.gaussian import kl_divergence

# What SciPy's integration may be off by in a step, and in all: neighbouring geodesics part.
STEP = 1e-11
INTEGRATED = 1_000 * STEP


def geodesic(mu, sigma, mu_speed, sigma_speed, times):
    """Integrate the geodesic equation of ds² = (dmu² + 2 dsigma²) / sigma², one dimension."""

    def equation(_, state):
        _, s, v, w = state
        return [v, w, 2 * v * w / s, w * w / s - v * v / (2 * s)]

    start = [mu, sigma, mu_speed, sigma_speed]
    each_step = {"rtol": STEP, "atol": STEP / 100}
    found = solve_ivp(equation, (0, times[-1]), start, t_eval=times, method="DOP853", **each_step)
    return found.y[0], found.y[1]


@pytest.mark.parametrize("seed", range(12))
def test_the_path_solves_the_geodesic_equation(seed):
    rng = np.random.default_rng(seed)
    n, times = 5, np.linspace(0, 1, 9)
    mu, sigma = rng.normal(size=n) * 3, np.exp(rng.normal(size=n))
    mu_speed, sigma_speed = (rng.normal(size=n) * sigma * 2 for _ in range(2))
    mu_speed[0] = 0.0  # straight up
    sigma_speed[1] = 0.0
    rows = [geodesic(*each, times) for each in zip(mu, sigma, mu_speed, sigma_speed, strict=True)]
    mus, sigmas = (np.stack([row[k] for row in rows], axis=1) for k in (0, 1))
    log_vars = 2 * np.log(sigmas)
    found = fisher_rao_path(mus[0], log_vars[0], mus[-1], log_vars[-1], 9)
    assert_within(found[0], mus, INTEGRATED * (1 + np.abs(mus)), why="the integration")
    assert_within(found[1], log_vars, INTEGRATED * (1 + np.abs(log_vars)), why="the integration")
    # At a constant speed, the length is the speed.
    speed = math.sqrt(((mu_speed**2 + 2 * sigma_speed**2) / sigma**2).sum())
    length = fisher_rao_distance(mus[0], log_vars[0], mus[-1], log_vars[-1])
    assert_within(length, speed, INTEGRATED * speed, why="the integration")


def test_no_other_way_is_shorter():
    """The length of ways that leave the geodesic, by the trapezoidal rule."""
    mu, log_var = fisher_rao_path([0.0], [0.0], [3.0], [1.0], 201)
    times = np.linspace(0, 1, 201)

    def length(bump_mu, bump_sigma):
        wave = np.sin(math.pi * times)
        mus = mu[:, 0] + bump_mu * wave
        sigmas = np.exp(log_var[:, 0] / 2) + bump_sigma * wave
        speeds = (np.gradient(a, times, edge_order=2) for a in (mus, sigmas))
        dmu, dsigma = speeds
        speed = np.sqrt((dmu**2 + 2 * dsigma**2) / sigmas**2)
        return float(((speed[1:] + speed[:-1]) / 2 * np.diff(times)).sum())

    shortest = fisher_rao_distance([0.0], [0.0], [3.0], [1.0])
    assert_within(length(0, 0), shortest, 10 * shortest / 200**2, why="steps of 1/200, squared")
    for bumps in ((0.2, 0), (-0.2, 0), (0, 0.1), (0, -0.1), (0.1, 0.1)):
        assert length(*bumps) > length(0, 0) + 1e-4


def test_known_distances():
    # Straight up: √2 |log(sigma_b / sigma_a)|.
    straight = near_float64(math.sqrt(2) * math.log(5), terms=SCORE)
    assert fisher_rao_distance([1.0], [0.0], [1.0], [2 * math.log(5)]) == straight
    # Equal sigma, from the formula of Costa et al. with F = √((dmu² + 8 sigma²) dmu²) …
    dmu, s = 3.0, 0.5
    closed = math.sqrt(2) * math.log(
        (4 * s**2 + dmu**2 + dmu * math.sqrt(dmu**2 + 8 * s**2)) / (4 * s**2)
    )
    log_var = [2 * math.log(s)]
    closed = near_float64(closed, terms=SCORE)
    assert fisher_rao_distance([0.0], log_var, [dmu], log_var) == closed
    # Dimensions at right angles.
    both = near_float64(math.sqrt(2 + 8), terms=SCORE)
    assert fisher_rao_distance([0.0, 1.0], [0.0, 0.0], [0.0, 1.0], [2.0, 4.0]) == both


def test_near_by_it_is_kl():
    rng = np.random.default_rng(4)
    mu, log_var = rng.normal(size=6), rng.normal(size=6)
    for step in (1e-3, 1e-4):
        near = mu + step * rng.normal(size=6), log_var + step * rng.normal(size=6)
        kl = float(kl_divergence(mu, log_var, *(part[None] for part in near))[0, 0])
        found = fisher_rao_distance(mu, log_var, *near) ** 2
        assert_within(found, 2 * kl, 20 * step * 2 * kl, why="the next order")


gaussians = st.tuples(
    st.floats(-1e4, 1e4), st.floats(-28, 14), st.floats(-1e4, 1e4), st.floats(-28, 14)
)


@given(gaussians, st.integers(2, 12))
@settings(max_examples=300, deadline=None)
def test_what_any_path_is(ends, steps):
    mu_a, lv_a, mu_b, lv_b = ([value] for value in ends)
    mu, log_var = fisher_rao_path(mu_a, lv_a, mu_b, lv_b, steps)
    assert np.isfinite(mu).all() and np.isfinite(log_var).all()
    assert [mu[0], mu[-1], log_var[0], log_var[-1]] == [mu_a, mu_b, lv_a, lv_b]
    whole = fisher_rao_distance(mu_a, lv_a, mu_b, lv_b)
    assert whole == fisher_rao_distance(mu_b, lv_b, mu_a, lv_a)
    parts = [
        fisher_rao_distance(mu[i], log_var[i], mu[i + 1], log_var[i + 1]) for i in range(steps - 1)
    ]
    # mu is rounded to float64's 16 digits, sigma may be a millionth of it or less.
    coarse = np.spacing(max(abs(mu_a[0]), abs(mu_b[0]))) * np.exp(-0.5 * log_var.min())
    part = np.full(steps - 1, whole / (steps - 1))
    near = ROOT_FLOAT64 * (10 * part + 0.1) + 4 * coarse
    assert_within(parts, part, near, why="half of float64's digits, of a small distance")
    back = fisher_rao_path(mu_b, lv_b, mu_a, lv_a, steps)
    near = ROOT_FLOAT64 / 10 * (1 + np.abs(log_var))
    assert_within(back[1][::-1], log_var, near, why="nearly half of float64's digits")
    near = ROOT_FLOAT64 / 10 * (np.abs(mu) + 0.01 * (1 + np.abs(mu).max()))
    assert_within(back[0][::-1], mu, near, why="nearly half of float64's digits")
    low, high = sorted([mu_a[0], mu_b[0]])
    assert (mu >= low - 1e-9).all() and (mu <= high + 1e-9).all()


@pytest.mark.parametrize(
    ("mu_b", "log_var_b"),
    [
        (0.0, -20.0),  # the same Gaussian
        (1e-14, -20.0),  # nearly equal means
        (1e-300, -20.0),
        (0.0, -20.0 + 1e-13),
        (1e4, 2 * math.log(1e-6)),  # ten thousand million sigmas
        (1e30, -200.0),
        (-3.0, 80.0),
        (1.0, -1e38),  # as wide as a float32 can say
    ],
)
def test_extreme_ends(mu_b, log_var_b):
    mu, log_var = fisher_rao_path([0.0], [-20.0], [mu_b], [log_var_b], 5)
    distance = fisher_rao_distance([0.0], [-20.0], [mu_b], [log_var_b])
    assert np.isfinite([*mu.ravel(), *log_var.ravel(), distance]).all()
    assert (np.diff(mu[:, 0]) * np.sign(mu_b) >= 0).all()
    if (mu_b, log_var_b) == (0.0, -20.0):
        assert distance == 0 and (mu == 0).all() and (log_var == -20.0).all()
    else:
        assert distance > 0
    if mu_b == 1e-14:  # the Euclidean distance in units of sigma
        assert distance == near_float64(1e-14 * math.exp(10), terms=4 * SCORE)


def test_the_middle_is_as_far_from_both_ends_and_wider():
    rng = np.random.default_rng(2)
    a, b = (rng.normal(size=4), np.full(4, -5.0)), (rng.normal(size=4), np.full(4, -5.0))
    mu, log_var = fisher_rao_path(*a, *b, 3)
    halves = [fisher_rao_distance(*end, mu[1], log_var[1]) for end in (a, b)]
    half = np.full(2, fisher_rao_distance(*a, *b) / 2)
    assert_same_float64(halves, half, terms=4 * SCORE)
    largest = np.abs([a[0], b[0]]).max()
    assert_same_float64(mu[1], (a[0] + b[0]) / 2, terms=SCORE, magnitude=largest)
    assert (log_var[1] > -5.0).all()


def test_a_line():
    path = linear_path([0.0, 1.0], [0.3, -1.0], 4)
    expected = [[0, 1], [0.1, 1 / 3], [0.2, -1 / 3], [0.3, -1]]
    assert_same_float64(path, expected, terms=4, magnitude=1.0)
    assert path[0].tolist() == [0.0, 1.0] and path[-1].tolist() == [0.3, -1.0]
    assert (linear_path([0.1], [0.1], 7) == 0.1).all()


def test_grids():
    points = grid([9.0, 8.0, 7.0], (2, 0), ((-1.0, 1.0), (0.0, 4.0)), 3)
    assert points.shape == (3, 3, 3)
    assert points[0].tolist() == [[0, 8, -1], [0, 8, 0], [0, 8, 1]]
    assert points[:, 1].tolist() == [[0, 8, 0], [2, 8, 0], [4, 8, 0]]
    row = grid([9.0, 8.0], (1,), ((-1.0, 1.0),), 2)
    assert row.tolist() == [[[9, -1], [9, 1]]]


def test_refusals():
    def refused(message, call, *arguments):
        with pytest.raises(InputError, match=re.escape(message)):
            call(*arguments)

    outside = "there is no dimension {}; the model has latent_dim 3: expected 0 to 2."
    refused(outside.format(3), grid, [0, 0, 0], (0, 3), ((0, 1), (0, 1)), 2)
    refused(outside.format(-1), grid, [0, 0, 0], (-1,), ((0, 1),), 2)
    refused("steps is 1; expected at least 2: both ends.", grid, [0, 0], (0,), ((0, 1),), 1)
    refused("dimensions to traverse are [1, 1]", grid, [0, 0], (1, 1), ((0, 1), (0, 1)), 2)
    refused("steps is 1; expected at least 2", linear_path, [0], [1], 1)
    refused("ends have shapes (1,), (2,); expected the same", linear_path, [0], [1, 2], 3)
    refused(
        "ends have shapes (2,), (2,), (2,), (1,)", fisher_rao_distance, [0, 0], [0, 0], [0, 0], [0]
    )
