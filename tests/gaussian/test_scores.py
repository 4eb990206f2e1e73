"""Scores and the engine's values: there and back, and which direction is nearer."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from vaeudf.errors import InputError
from vaeudf.gaussian.scores import SCORES, score_named
from vaeudf.search import kernels

BETWEEN_GAUSSIANS = {"kl", "reverse_kl", "jeffreys", "wasserstein2", "bhattacharyya"}
DISTANCES = {"mahalanobis", "euclidean", "wasserstein2"}
NUMBERS = [0.0, 1e-300, 1e-20, 0.1, 1.0, 2.5, 1234.5, 1e150]


@pytest.mark.parametrize("name", SCORES)
def test_there_and_back(name):
    score = SCORES[name]
    numbers = NUMBERS + ([-number for number in NUMBERS] if name == "log_likelihood" else [])
    if score.distance:  # whose squares stay within float64
        numbers = [number for number in numbers if number == 0 or number > 1e-150]
    values = np.array([score.to_value(number) for number in numbers])
    np.testing.assert_allclose(score.from_values(values), numbers, rtol=1e-15)


@pytest.mark.parametrize("name", SCORES)
def test_a_higher_value_is_a_nearer_score(name):
    score = SCORES[name]
    assert score.ascending == (name != "log_likelihood")
    scores = score.from_values(np.array([-0.5, -2.0, -4.5]))
    assert scores.tolist() == {
        "log_likelihood": [-0.5, -2.0, -4.5],
        "mahalanobis": [1, 2, 3],
        "euclidean": [1, 2, 3],
        "wasserstein2": [1, 2, 3],
    }.get(name, [0.5, 2.0, 4.5])
    values = [score.to_value(number) for number in (0.5, 1.0, 7.0)]
    assert values == sorted(values, reverse=score.ascending)


@pytest.mark.parametrize("name", [name for name in SCORES if name != "log_likelihood"])
def test_nothing_is_nearer_than_0(name):
    score = SCORES[name]
    # 0.0 and never -0.0, whichever of them the value is.
    assert score.from_values(np.array([0.0, -0.0])).tobytes() == np.zeros(2).tobytes()
    assert score.from_values(np.array([-np.inf])).tolist() == [np.inf]
    assert score.to_value(math.inf) == -math.inf
    if score.distance:  # whose square would make it a distance again
        assert score.to_value(-1.0) == math.inf
    else:
        assert score.to_value(-1.0) > score.to_value(0.0)


def test_what_the_scores_are():
    assert {name for name in SCORES if SCORES[name].between_gaussians} == BETWEEN_GAUSSIANS
    assert {name for name in SCORES if SCORES[name].distance} == DISTANCES
    assert {name for name in SCORES if SCORES[name].unit == ""} == DISTANCES
    assert {score.unit for score in SCORES.values()} == {"", "nats"}
    for name, score in SCORES.items():
        assert score.name == name
        assert score.code == getattr(kernels, name.upper())
        assert score_named(name) is score


@pytest.mark.parametrize("name", ["cosine", "KL", ""])
def test_an_unknown_score(name):
    message = (
        f"score is {name!r}; expected one of log_likelihood, mahalanobis, euclidean, kl, "
        "reverse_kl, jeffreys, wasserstein2, bhattacharyya."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        score_named(name)
