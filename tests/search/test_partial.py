"""Products of the first coordinates' features: what they exclude could not have mattered."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

from tests.support.blends import blend_scores
from tests.support.cases import each_value_once
from tests.support.reference import (
    FORMS,
    KINDS,
    assert_same_values,
    exact_values,
    items_and_queries,
    reference_values,
)
from tests.support.tolerances import assert_same_scores
from vaeudf.gaussian.scores import SCORES
from vaeudf.numerics.log_sums import LogSums
from vaeudf.search import engine, partial
from vaeudf.search.once import nearest
from vaeudf.search.prepared import prepare, prepare_queries, with_labels
from vaeudf.search.records import PerValue

# Enough items for products of the first coordinates, in the last block some; and enough queries.
RUNS, SIZE, COUNT, N = 66, 64, 40, 33
PARTLY = [
    name
    for name, score in SCORES.items()
    if score.features.per_coordinate and not score.features.added
]
POINTS = [name for name in PARTLY if not FORMS[name].between_gaussians]
STAGES = ["all", "first", "whole"]


@pytest.fixture
def partly(monkeypatch):
    """Makes searches begin with products of these stages; returns what they have excluded."""
    finished = []
    finish = partial.PartialScan.finish

    def counted(scan):
        finished.append(scan)
        finish(scan)

    def use(stages):
        def chosen(shares, features, num_queries):
            last = len(shares) - 1
            return {"all": list(range(last + 1)), "first": [0, last], "whole": [last]}[stages]

        monkeypatch.setattr(partial, "cheapest", chosen)
        monkeypatch.setattr(partial.PartialScan, "finish", counted)
        # Whether bounds would pay or not.
        monkeypatch.setattr(engine, "_WORTH_BOUNDS_BESIDE", -1.0)
        return finished

    return use


def items_in_runs(kind, seed=0):
    mu, log_var, z, query_log_var = items_and_queries(kind, N, RUNS, SIZE, COUNT, seed=seed)
    return mu[:-17], log_var[:-17], z, query_log_var


def assert_found(found, exact, labels, k, floors=None):
    """Assert that a search has found the k best of these values, to the last bit and in order."""
    values, best, counts = found
    for q, row in enumerate(exact):
        order = np.lexsort((labels, -row))[:k]
        if floors is not None:
            order = order[row[order] >= floors[q]]
        assert counts[q] == len(order)
        assert best[q, : counts[q]].tolist() == labels[order].tolist(), q
        assert values[q, : counts[q]].tolist() == row[order].tolist(), q


@each_value_once(("name", PARTLY), ("kind", KINDS), ("stages", STAGES), ("tolerance", [0.0, 0.1]))
def test_every_score_on_hard_items(partly, name, kind, stages, tolerance):
    mu, log_var, z, query_log_var = items_in_runs(kind)
    finished = partly(stages)
    score, labels = SCORES[name], np.random.default_rng(0).permutation(len(mu))
    own = query_log_var if score.between_gaussians else None
    queries = prepare_queries(score, z, own, tolerance)
    prepared = prepare(score, mu, log_var, labels, tolerance)
    exact = exact_values(name, queries, mu, log_var, tolerance)
    for k in (1, 10, 200):
        assert_found(engine.search(prepared, queries, k), exact, labels, k)
    assert len(finished) == 3
    if kind == "ordinary":
        values = reference_values(name, z, query_log_var, mu, log_var, tolerance)
        assert_same_values(name, exact, values, query_log_var, mu, log_var, tolerance)


@each_value_once(("name", POINTS), ("kind", ["ordinary", "boxes", "far"]), ("part", [0.2, 0.9]))
def test_open_dimensions(partly, name, kind, part):
    mu, log_var, z, _ = items_in_runs(kind)
    finished = partly("all")
    rng = np.random.default_rng(1)
    z[rng.random(z.shape) < part] = np.nan
    z[:3, 1:] = np.nan
    z[:, 0] = mu[0, 0]
    score, labels = SCORES[name], np.arange(len(mu))
    queries = prepare_queries(score, z, None, 0.0, masked=True)
    prepared = prepare(score, mu, log_var, labels, masked=True)
    exact = exact_values(name, queries, mu, log_var)
    assert_found(engine.search(prepared, queries, 10), exact, labels, 10)
    assert len(finished) == 1


@each_value_once(("weights", [(1.0, 1.0), (1.0, -0.4)]), ("gaussian", [False, True]))
def test_blends(partly, weights, gaussian):
    mu, log_var, z, query_log_var = items_in_runs("ordinary")
    finished = partly("all")
    z = np.stack([z, np.roll(z, 1, axis=0)], axis=1).reshape(-1, N)
    own = np.repeat(query_log_var, 2, axis=0) if gaussian else None
    score = "kl" if gaussian else "log_likelihood"
    _, scores = nearest(
        z,
        mu,
        log_var,
        5,
        query_log_var=own,
        score=score,
        groups=np.repeat(np.arange(COUNT), 2),
        weights=np.tile(weights, COUNT),
    )
    assert len(finished) == 1
    for q in range(COUNT):
        members = slice(2 * q, 2 * q + 2)
        one = None if own is None else own[members]
        expected, bound = blend_scores(z[members], one, weights, mu, log_var, score=score)
        order = np.argsort(expected if gaussian else -expected)[:5]
        assert (np.abs(scores[q] - expected[order]) <= bound.max()).all()


def test_items_far_away_add_nothing_to_the_work(partly):
    mu, log_var, z, _ = items_in_runs("ordinary")
    finished = partly("all")
    score = SCORES["log_likelihood"]
    prepared = prepare(score, mu, log_var, np.arange(len(mu)))
    engine.search(prepared, prepare_queries(score, z, None, 0.0), 3)
    assert len(finished) == 1
    assert prepared.work.scored == COUNT * len(mu)
    # The others' values are not computed.
    assert prepared.work.rescored < 6 * COUNT


@pytest.mark.parametrize("k", [1, 30])
def test_floors_sums_and_restrictions(partly, k):
    mu, log_var, z, _ = items_in_runs("boxes")
    partly("all")
    score, labels = SCORES["log_likelihood"], np.arange(len(mu))
    queries = prepare_queries(score, z, None, 0.0)
    prepared = prepare(score, mu, log_var, labels)
    exact = exact_values("log_likelihood", queries, mu, log_var)
    ranked = -np.sort(-exact, axis=1)
    floors = np.ascontiguousarray(ranked[:, 20])
    floors[::3], floors[1] = -np.inf, np.inf
    assert_found(engine.search(prepared, queries, k, floors), exact, labels, k, floors)
    # Not all items are among those that are searched.
    some = np.where(np.arange(len(mu)) % 3 == 0, labels, -1)
    found = engine.search(with_labels(prepared, some), queries, k)
    assert_found(found, np.where(some < 0, -np.inf, exact), labels, k)
    # Of each value at most two.
    codes = (labels % 7).astype(np.int32)
    values, best, counts = engine.search(prepared, queries, k, per=PerValue(codes, 2))
    for q in range(0, COUNT, 8):
        order = np.lexsort((labels, -exact[q]))
        firsts = [np.flatnonzero(codes[order] == code)[:2] for code in range(7)]
        taken = order[np.sort(np.concatenate(firsts))[:k]]
        assert best[q, : counts[q]].tolist() == taken.tolist()
        assert values[q, : counts[q]].tolist() == exact[q, taken].tolist()
    # All items above a value are added up.
    sums, cuts = LogSums(COUNT), np.ascontiguousarray(ranked[:, 100])
    engine.candidates(prepared, queries, 1, np.full(COUNT, np.inf), sums=sums, cuts=cuts)
    expected = logsumexp(np.where(exact >= cuts[:, None], exact, -np.inf), axis=1)
    assert_same_scores(sums.logarithms(), expected, log_var, dims=N, items=len(mu))


def test_stages_are_those_that_take_least():
    features = np.array([8, 16, 32, 64, 128])
    # Nearly all pairs reach their floor until the end: at once all features.
    assert partial.cheapest(np.array([1.0, 1.0, 0.99, 0.9, 0.5]), features, 1000) == [4]
    # Few do: begin with some, and end with all.
    stages = partial.cheapest(np.array([0.2, 0.02, 0.003, 1e-3, 1e-4]), features, 1000)
    assert stages[0] < 2 and stages[-1] == 4
    # For few queries it does not pay to bring a block's features in another order.
    assert partial.cheapest(np.array([0.9, 0.5, 0.4, 0.3, 0.1]), features, 1) == [4]
