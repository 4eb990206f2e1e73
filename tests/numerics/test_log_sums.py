"""Running log-sum-exp against scipy's of all numbers at once."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.special import logsumexp

from tests.support.tolerances import FUNCTION, assert_same_float64
from vaeudf.numerics.log_sums import LogSums

# An exp of each of 500 numbers, their sum, and its logarithm.
TERMS = 500 + 2 * FUNCTION


def assert_same_sums(found, expected) -> None:
    """A logarithm is added to the largest number, and either may be much the larger."""
    magnitude = np.abs(expected) + np.log(500)
    assert_same_float64(found, expected, terms=TERMS, magnitude=magnitude)


def numbers(seed: int) -> np.ndarray:
    """Of every size, some -inf, one sum of nothing else."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(size=(6, 500)) * 10.0 ** rng.uniform(-2, 4, size=(6, 1))
    logs[rng.uniform(size=logs.shape) < 0.1] = -np.inf
    logs[3] = -np.inf
    return logs


@pytest.mark.parametrize("seed", range(5))
def test_numbers_in_parts(seed):
    logs = numbers(seed)
    sums = LogSums(6)
    assert np.isneginf(sums.logarithms()).all()
    for part in np.split(logs, [0, 1, 70, 71, 400], axis=1):
        sums.add(part)
    expected = logsumexp(logs, axis=1)
    assert_same_sums(sums.logarithms(), expected)
    assert np.isneginf(sums.logarithms()[3])


@pytest.mark.parametrize("seed", range(5))
def test_sums_merge_in_any_order_also_those_of_other_processes(seed):
    logs = numbers(seed)
    parts = []
    for part in np.split(logs, [10, 11, 333], axis=1):
        sums = LogSums(6)
        sums.add(part)
        parts.append(pickle.loads(pickle.dumps(sums)))
    expected = logsumexp(logs, axis=1)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        merged = LogSums(6)
        for place in order:
            merged.merge(parts[place])
        assert_same_sums(merged.logarithms(), expected)


def test_some_of_the_sums():
    sums = LogSums(4)
    sums.add(np.zeros((4, 3)))
    sums.add_scaled(np.array([1.0, -np.inf]), np.array([2.0, 0.0]), np.array([2, 0]))
    expected = np.log([3.0, 3.0, 3.0 + 2 * np.e, 3.0])
    assert_same_float64(sums.logarithms(), expected, terms=3 + 2 * FUNCTION)


def test_what_would_overflow_by_itself():
    sums = LogSums(1)
    sums.add(np.array([[1000.0, 1000.0]]))
    sums.add(np.array([[-1000.0]]))
    assert_same_float64(sums.logarithms(), [1000.0 + np.log(2.0)], terms=4)
