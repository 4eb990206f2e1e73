"""Distinct and diverse hits in memory, against greedy loops over whole rankings."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.support.cases import each_value_once
from tests.support.oracles import log_density_by_torch
from tests.support.selections import distances, greedily, marginally
from vaeudf.errors import InputError
from vaeudf.gaussian.scores import SCORES
from vaeudf.search import engine
from vaeudf.search.index import PosteriorIndex
from vaeudf.search.once import nearest

N = 3


@pytest.fixture(scope="module")
def items():
    """Items of which 900 are copies of one of two, and as many ids in another order."""
    rng = np.random.default_rng(5)
    mu = np.vstack([rng.normal(size=(300, N)), np.zeros((600, N)), np.full((300, N), 0.5)])
    log_var = np.vstack([rng.normal(-2, 1, size=(300, N)), np.full((900, N), -2.0)])
    order = rng.permutation(1200)
    ids = np.array([f"item-{i:04}" for i in rng.permutation(1200)])
    return mu[order], log_var[order], ids


# The first two meet the copies first; the third is far from them.
Z = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.1], [9.0, 9.0, 9.0]])


def ranking(scores, ids, mask):
    order = np.lexsort((ids, -scores))
    return order[mask[order]]


@each_value_once(("nats", [1e-6, 0.3, 2.0]), ("tolerance", [0.0, 0.4]), ("share", [1.0, 0.3]))
def test_distinct(items, nats, tolerance, share):
    mu, log_var, ids = items
    mask = np.random.default_rng(1).random(len(mu)) < share
    blurred = np.log(np.exp(log_var) + tolerance**2)
    scores = log_density_by_torch(Z, mu, blurred)
    index = PosteriorIndex(mu, log_var, ids=ids)
    found, values = index.search(Z, 6, distinct=nats, tolerance=tolerance, where=mask)
    one, _ = index.search(Z[1], 6, distinct=nats, tolerance=tolerance, where=mask)
    for q in range(3):
        order = ranking(scores[q], ids, mask)
        hits, _ = greedily(distances(mu[order], log_var[order], tolerance), 6, nats)
        rows = order[hits]
        assert found[q, : len(rows)].tolist() == ids[rows].tolist()
        assert np.isnan(values[q, len(rows) :]).all() and not np.isnan(values[q, : len(rows)]).any()
        if q == 1:
            assert one[0].tolist() == ids[rows].tolist()
    if share == 1.0:
        rows, _ = nearest(Z, mu, log_var, 6, distinct=nats, tolerance=tolerance)
        for q in range(3):
            order = np.argsort(-scores[q], kind="stable")
            hits, _ = greedily(distances(mu[order], log_var[order], tolerance), 6, nats)
            assert rows[q].tolist() == order[hits].tolist() + [-1] * (rows.shape[1] - len(hits))


@pytest.mark.parametrize(("weight", "candidates"), [(0.3, None), (0.7, 40), (1.0, 6), (0.5, 5000)])
@pytest.mark.parametrize("score", ["log_likelihood", "mahalanobis", "kl"])
def test_diverse(items, weight, candidates, score):
    mu, log_var, ids = items
    spreads = np.full(Z.shape, -1.0) if score == "kl" else None
    queries = (Z,) if spreads is None else (Z, spreads)
    scores = SCORES[score].reference(*queries, mu, log_var)
    merits = -scores if SCORES[score].ascending else scores
    found, _ = PosteriorIndex(mu, log_var, ids=ids).search(
        Z, 6, score=score, query_log_var=spreads, diversify=weight, candidates=candidates
    )
    for q in range(3):
        order = ranking(merits[q], ids, np.ones(len(mu), bool))[: candidates or 60]
        between = distances(mu[order], log_var[order])
        hits = marginally(between, merits[q][order], 6, weight)
        assert found[q].tolist() == ids[order][hits].tolist()


def test_many_queries_are_searched_in_groups(items, monkeypatch):
    mu, log_var, ids = items
    index = PosteriorIndex(mu, log_var, ids=ids)
    z = np.random.default_rng(3).normal(size=(30, N))
    expected, scores = index.search(z, 6, distinct=1.5)
    monkeypatch.setattr("vaeudf.search.chosen._PAIRS", 3000)  # two of them, if all are candidates
    most = 0

    def search(prepared, queries, k, search=engine.search):
        nonlocal most
        most = max(most, len(queries.mu) * k)
        return search(prepared, queries, k)

    monkeypatch.setattr(engine, "search", search)
    found, again = index.search(z, 6, distinct=1.5)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(again, scores)
    assert most <= 3000


def test_queries_that_have_fewer_distinct_hits():
    mu, log_var = np.zeros((50, 2)), np.zeros((50, 2))
    mu[7] = 9.0
    rows, scores = nearest([[0.0, 0.0]], mu, log_var, 5, distinct=0.5)
    assert rows.tolist() == [[0, 7]] and scores.shape == (1, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distinct": 0.0}, "distinct is 0.0; expected a number of nats above 0."),
        ({"diversify": 1.5}, "diversify is 1.5; expected a number above 0 and at most 1."),
        ({"candidates": 50}, "candidates goes with diversify; name that, too."),
        (
            {"distinct": 1.0, "diversify": 0.5},
            "distinct and diversify exclude each other; name one of them.",
        ),
        (
            {"distinct": 1.0, "per": (np.zeros(4), 1)},
            "distinct and per exclude each other; name one of them.",
        ),
        (
            {"diversify": 0.5, "tolerance": [[0.1]]},
            "diversify blurs all items by one tolerance, but the queries have tolerances of their "
            "own; leave out one of the two.",
        ),
    ],
)
def test_what_is_refused(options, message):
    mu, log_var = np.zeros((4, 2)), np.zeros((4, 2))
    for search in (
        lambda **named: nearest([[0.0, 1.0]], mu, log_var, 2, **named),
        lambda **named: PosteriorIndex(mu, log_var).search([[0.0, 1.0]], 2, **named),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            search(**options)
