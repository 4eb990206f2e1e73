"""An index in the order of its items, with one preparation for all searches."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.special import logsumexp

from tests.support.blends import assert_best_of_blend, blend_scores
from tests.support.cases import each_value_once
from tests.support.oracles import log_density_by_torch
from tests.support.reference import FORMS, assert_same_score, reference_scores
from tests.support.tolerances import assert_same_scores
from vaeudf.errors import InputError
from vaeudf.gaussian.scores import SCORES
from vaeudf.numerics.kd_tree import kd_order
from vaeudf.search import engine
from vaeudf.search import prepared as made_ready
from vaeudf.search.index import PosteriorIndex

N, DIMS = 2_500, 3


@pytest.fixture(params=["bounded", "all are looked at"])
def way(request, monkeypatch) -> None:
    if request.param == "bounded":
        monkeypatch.setattr(engine, "_FEWEST_FOR_BOUNDS", 1)
        monkeypatch.setattr(engine, "_WORTH_BOUNDS", 2.0)


def items(dims=DIMS, seed=0):
    """Items in k-d order, some of them copies; rows in an order of their own for ties."""
    rng = np.random.default_rng([dims, seed])
    mu = rng.normal(size=(N, dims)).astype(np.float32)
    log_var = rng.normal(-3, 1, size=(N, dims)).astype(np.float32)
    mu[-500:], log_var[-500:] = mu[:500], log_var[:500]
    order = kd_order(mu)
    return mu[order], log_var[order], rng.permutation(N)


def compact(mu, log_var, order) -> PosteriorIndex:
    index = PosteriorIndex.in_order(mu, log_var, order)
    index.keep_compact()
    return index


def best(scores, order, k, ascending=False):
    """The k best rows of each query; equal scores in the given order."""
    rank = np.empty(N, int)
    rank[order] = np.arange(N)
    return np.array([np.lexsort((rank, own if ascending else -own))[:k] for own in scores])


@pytest.mark.parametrize("keeps", [False, True], ids=["any preparation", "compact"])
def test_rows_are_as_given_and_ties_in_the_order_named(way, keeps, tmp_path):
    mu, log_var, order = items()
    index = PosteriorIndex.in_order(mu, log_var, order)
    assert index.ids.tolist() == list(range(N))
    index.save(str(tmp_path / "index"))
    z = mu[:40].astype(float)
    scores = reference_scores("log_likelihood", z, None, mu, log_var)
    for one in (index, PosteriorIndex.open(str(tmp_path / "index"))):
        if keeps:
            one.keep_compact()
        rows, found = one.search(z[0], k=6)
        assert rows.tolist() == best(scores[:1], order, 6).tolist()
        assert_same_scores(found, scores[:1][0][rows], log_var, dims=DIMS)
        where = np.arange(N) % 3 == 1
        rows, _ = one.search(z, k=6, where=where)
        assert rows.tolist() == best(np.where(where, scores, -np.inf), order, 6).tolist()
        assert (one.in_place[0] == mu).all() and (one.in_place[1] == log_var).all()


@each_value_once(("name", FORMS), ("dims", [1, 3, 40]))
def test_every_score_and_tolerance_in_turn(way, name, dims):
    mu, log_var, order = items(dims)
    index = compact(mu, log_var, order)
    z, own = mu[[5, 900]].astype(float), log_var[[5, 900]].astype(float)
    z[1] += 2.5
    ascending = SCORES[name].ascending
    for tolerance in (0.0, 0.3, tuple(np.linspace(0.1, 1, dims)), 0.0, 2.0, 0.1, 0.7):
        rows, found = index.search(z, 9, query_log_var=own, score=name, tolerance=tolerance)
        scores = reference_scores(name, z, own, mu, log_var, tolerance)
        assert rows.tolist() == best(scores, order, 9, ascending).tolist()
        expected = np.take_along_axis(scores, rows, axis=1)
        assert_same_score(name, found, expected, own, mu, log_var, tolerance)


def test_open_dimensions_and_other_searches_in_turn(way):
    mu, log_var, order = items()
    index = compact(mu, log_var, order)
    for place, tolerance in enumerate((0.0, 0.4, 0.0)):
        z = np.array([0.3, -1.0, 0.2])
        z[place] = np.nan
        closed = ~np.isnan(z)
        scores = reference_scores(
            "log_likelihood", z[None, closed], None, mu[:, closed], log_var[:, closed], tolerance
        )
        rows, found = index.search(z, 9, tolerance=tolerance)
        assert rows.tolist() == best(scores, order, 9).tolist()
        assert_same_scores(found[0], scores[0][rows[0]], log_var, dims=2)
        for name in ("mahalanobis", "euclidean"):
            scores = reference_scores(
                name, z[None, closed], None, mu[:, closed], log_var[:, closed], tolerance
            )
            rows, _ = index.search(z, 9, score=name, tolerance=tolerance)
            assert rows.tolist() == best(scores, order, 9, ascending=True).tolist()


@each_value_once(
    ("score", ["log_likelihood", "kl"]), ("weights", [[1, 1, 1], [1, 2, -0.5], [1, 1, -2]])
)
def test_blends(way, weights, score):
    mu, log_var, order = items()
    index = compact(mu, log_var, order)
    z, own = mu[:3].astype(float), log_var[:3].astype(float)
    for tolerance in (0.0, 0.2):
        spreads = own if score == "kl" else None
        rows, found = index.search(
            z, 12, query_log_var=spreads, score=score, weights=weights, tolerance=tolerance
        )
        expected, bound = blend_scores(z, spreads, weights, mu, log_var, tolerance, score)
        assert_best_of_blend(rows[0], found[0], expected, bound, ascending=score == "kl")


def test_rules_and_limits_are_those_of_any_index(way):
    mu, log_var, order = items()
    index, plain = compact(mu, log_var, order), PosteriorIndex.in_order(mu, log_var, order)
    colours = np.arange(N) % 7
    for asked in ({"distinct": 0.2}, {"diversify": 0.4}, {"per": (colours, 2)}):
        for tolerance in (0.0, 0.3):
            expected = plain.search(mu[7], 9, tolerance=tolerance, **asked)
            found = index.search(mu[7], 9, tolerance=tolerance, **asked)
            assert [part.tolist() for part in found] == [part.tolist() for part in expected]


def test_what_is_made_ready_is_made_once(monkeypatch):
    mu, log_var, order = items()
    made = []
    fill = made_ready.fill_features
    monkeypatch.setattr(made_ready, "fill_features", lambda items: made.append(1) or fill(items))
    index = compact(mu, log_var, order)
    z = np.array([0.1, np.nan, 0.2])
    for tolerance in (0.0, 0.1, 0.2, 0.1):
        index.search(z, tolerance=tolerance)
        index.search(mu[0], query_log_var=log_var[0], score="kl", tolerance=tolerance)
        index.search(mu[:9], tolerance=tolerance)
        index.log_sum(mu[0], -30.0, tolerance=tolerance)
    assert made == [1]
    # Nor does an index of many preparations make one anew for each open dimension.
    plain = PosteriorIndex.in_order(mu, log_var, order)
    plain.search(mu[0])
    made.clear()
    for tolerance in (0.1, 0.2, 0.3):
        plain.search(z, tolerance=tolerance)
    assert made == [1]


@pytest.mark.parametrize("dims", [1, 3, 40])
def test_what_is_made_ready_is_kept(way, dims, tmp_path, monkeypatch):
    mu, log_var, order = items(dims)
    index = compact(mu, log_var, order)
    index.save_compact(str(tmp_path / "filter"))
    again = PosteriorIndex.in_order(mu, log_var, order)
    again.keep_compact(str(tmp_path / "filter"))
    monkeypatch.setattr(made_ready, "fill_features", None)
    z = np.array([mu[3], mu[4] + 2], float)
    for tolerance in (0.0, 0.3):
        for asked in ({}, {"query_log_var": log_var[:2], "score": "kl"}):
            expected = index.search(z, 9, tolerance=tolerance, **asked)
            found = again.search(z, 9, tolerance=tolerance, **asked)
            assert [part.tolist() for part in found] == [part.tolist() for part in expected]


def test_what_is_kept_of_other_items_is_refused(tmp_path):
    mu, log_var, order = items()
    compact(mu, log_var, order).save_compact(str(tmp_path / "filter"))
    wider = np.concatenate([mu, mu], axis=1)
    for means in (wider, mu.astype(float), mu[:-100]):
        other = PosteriorIndex.in_order(means, means * 0, np.arange(len(means)))
        with pytest.raises(InputError, match="is damaged: its arrays do not fit each other; save"):
            other.keep_compact(str(tmp_path / "filter"))
    with pytest.raises(InputError, match="holds no saved index"):
        other.keep_compact(str(tmp_path))
    with pytest.raises(InputError, match="keeps no compact preparation; call keep_compact first"):
        other.save_compact(str(tmp_path / "other"))


def test_threads_share_it(way):
    mu, log_var, order = items()
    index, plain = compact(mu, log_var, order), PosteriorIndex.in_order(mu, log_var, order)
    asked = [(row, tolerance) for row in range(12) for tolerance in (0.0, 0.1, 0.3)]
    expected = [plain.search(mu[row], tolerance=tau)[0].tolist() for row, tau in asked]

    def search(one) -> list:
        index.search(mu[one[0]], query_log_var=log_var[one[0]], score="kl", tolerance=one[1])
        return index.search(mu[one[0]], tolerance=one[1])[0].tolist()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(search, asked)) == expected


@each_value_once(("keeps", [False, True]), ("least", [-np.inf, -8.0, 0.0, 4.0, 99.0]))
def test_sums_of_what_reaches_a_value(way, keeps, least):
    mu, log_var, order = items()
    index = compact(mu, log_var, order) if keeps else PosteriorIndex.in_order(mu, log_var, order)
    z = np.array([mu[3], mu[4] + 0.4, mu[5] + 9], float)
    where = np.arange(N) % 2 == 0
    for tolerance in (0.0, 0.5):
        blurred = np.log(np.exp(log_var.astype(float)) + tolerance**2)
        densities = log_density_by_torch(z, mu.astype(float), blurred)
        for mask in (None, where):
            counted = densities >= least if mask is None else (densities >= least) & mask
            expected = [
                logsumexp(own[some]) if some.any() else -np.inf
                for own, some in zip(densities, counted, strict=True)
            ]
            found = index.log_sum(z, least, tolerance=tolerance, where=mask)
            assert_same_scores(found, expected, blurred, dims=DIMS, items=N)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 1], "order has shape (2,) and type int64; expected (3,), the number of each item"),
        ([0.0, 1.0, 2.0], "order has shape (3,) and type float64; expected (3,), the number of"),
        ([0, 1, 1], "order lacks item 2; expected the number of each item once."),
        ([0, 1, 3], "order lacks item 2; expected the number of each item once."),
        ([-1, 1, 2], "order lacks item 0; expected the number of each item once."),
    ],
)
def test_orders_that_are_none(order, message):
    with pytest.raises(InputError, match=re.escape(message)):
        PosteriorIndex.in_order(np.zeros((3, 2)), np.zeros((3, 2)), order)


def test_no_items_and_one():
    index = compact(np.empty((0, 2)), np.empty((0, 2)), np.empty(0, int))
    with pytest.warns(UserWarning, match="there are only 0 items"):
        assert index.search([0.0, 0.0])[0].shape == (1, 0)
    assert index.log_sum([0.0, 0.0], -np.inf).tolist() == [-np.inf]
    alone = compact(np.zeros((1, 2)), np.zeros((1, 2)), [0])
    assert alone.search([0.0, 0.0], 1)[0].tolist() == [[0]]
