"""One query at a time finds what many find together, which other tests compare with oracles."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.reference import KINDS, items_and_queries
from vaeudf.gaussian.scores import SCORES
from vaeudf.search.index import PosteriorIndex

# Enough for a tree of boxes of two levels, whose last node is not full.
RUNS, SIZE, COUNT = 75, 64, 10


def assert_same_alone(index, z, k, **asked):
    """Assert that each query alone gets what it gets among all."""
    own = asked.pop("query_log_var", None)
    together = index.search(z, k, query_log_var=own, **asked)
    for place in range(len(z)):
        one = None if own is None else own[place : place + 1]
        rows, scores = index.search(z[place : place + 1], k, query_log_var=one, **asked)
        np.testing.assert_array_equal(rows[0], together[0][place])
        np.testing.assert_array_equal(scores[0], together[1][place])


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_score(kind, compact):
    mu, log_var, z, query_log_var = items_and_queries(kind, 5, RUNS, SIZE, COUNT)
    index = PosteriorIndex(mu, log_var)
    if compact:
        index.keep_compact()
    for name, score in SCORES.items():
        own = query_log_var if score.between_gaussians else None
        assert_same_alone(index, z, 24, query_log_var=own, score=name, tolerance=0.3)
    assert_same_alone(index, z, 1)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("kind", ["ordinary", "boxes", "far", "ends"])
def test_open_dimensions(kind, compact):
    mu, log_var, z, _ = items_and_queries(kind, 6, RUNS, SIZE, COUNT)
    z = np.where(np.random.default_rng(1).random(z.shape) < 0.4, np.nan, z)
    z[:, 0] = np.nan_to_num(z[:, 0])
    index = PosteriorIndex(mu, log_var)
    if compact:
        index.keep_compact()
    for tolerance in (0.0, 0.3):
        assert_same_alone(index, z, 24, tolerance=tolerance)


@pytest.mark.parametrize("compact", [False, True])
def test_some_items_and_some_of_each_value(compact):
    mu, log_var, z, _ = items_and_queries("ordinary", 4, RUNS, SIZE, COUNT)
    index = PosteriorIndex(mu, log_var)
    if compact:
        index.keep_compact()
    rng = np.random.default_rng(2)
    where = rng.random(len(mu)) < 0.3
    values = rng.integers(0, 5, len(mu)).astype(np.int32)
    assert_same_alone(index, z, 24, where=where)
    assert_same_alone(index, z, 12, per=(values, 3))
    assert_same_alone(index, z, 12, per=(values, 3), where=where)


@pytest.mark.parametrize("kind", ["ordinary", "boxes", "far"])
def test_blends(kind):
    mu, log_var, z, _ = items_and_queries(kind, 4, RUNS, SIZE, 2 * COUNT)
    index = PosteriorIndex(mu, log_var)
    groups = np.repeat(np.arange(COUNT), 2)
    weights = np.tile([1.0, -0.4], COUNT)
    together = index.search(z, 24, groups=groups, weights=weights)
    for place in range(COUNT):
        some = slice(2 * place, 2 * place + 2)
        rows, scores = index.search(z[some], 24, groups=[0, 0], weights=weights[some])
        np.testing.assert_array_equal(rows[0], together[0][place])
        np.testing.assert_array_equal(scores[0], together[1][place])
