"""Search in memory against float64 brute force, sorted by score, then id."""

from __future__ import annotations

import doctest
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import vaeudf.search.index
import vaeudf.search.once
from tests.support.cases import each_value_once
from tests.support.reference import (
    DIVERGENCES,
    KINDS,
    assert_best,
    assert_same_values,
    items_and_queries,
    reference_scores,
    reference_values,
    rounding,
    same_items,
    without_filter,
)
from tests.support.tolerances import assert_same_scores, near_score
from vaeudf.errors import InputError
from vaeudf.gaussian.scores import SCORES
from vaeudf.numerics.kd_tree import kd_order
from vaeudf.search import engine
from vaeudf.search.index import PosteriorIndex
from vaeudf.search.once import nearest
from vaeudf.search.prepared import prepare_queries

DIMS = [1, 2, 10, 64]


def torch_scores(z, mu, log_var):
    z, mu, log_var = (torch.as_tensor(np.asarray(a, np.float64)) for a in (z, mu, log_var))
    normal = torch.distributions.Normal(mu, torch.exp(log_var / 2))
    return torch.distributions.Independent(normal, 1).log_prob(z[:, None]).numpy()


def oracle(z, mu, log_var, k):
    """Every score, sorted in Python; equal items come out equal to torch's last digit only."""
    scores = torch_scores(z, mu, log_var)
    rows = [sorted(range(len(mu)), key=lambda i: (-round(row[i], 7), i))[:k] for row in scores]
    return np.array(rows), np.take_along_axis(scores, np.array(rows), axis=1)


def data(n, items=300, queries=9, seed=0):
    rng = np.random.default_rng([n, seed])
    mu = rng.normal(size=(items, n)).astype(np.float32)
    log_var = rng.normal(-2, 1, size=(items, n)).astype(np.float32)
    return rng.normal(size=(queries, n)), mu, log_var


def check(z, mu, log_var, k):
    indices, scores = nearest(z, mu, log_var, k)
    expected_indices, expected_scores = oracle(z, mu, log_var, k)
    assert indices.dtype == np.int64 and scores.dtype == np.float64
    assert indices.tolist() == expected_indices.tolist()
    assert_same_scores(scores, expected_scores, log_var, dims=np.shape(mu)[1])
    return indices, scores


# ---- nearest


@each_value_once(("n", DIMS), ("k", [1, 3, 10, 299, 300]))
def test_random_data(n, k):
    check(*data(n), k)


def test_the_default_is_ten():
    z, mu, log_var = data(4)
    assert nearest(z, mu, log_var)[0].shape == (9, 10)
    assert (nearest(z, mu, log_var)[0] == nearest(z, mu, log_var, 10)[0]).all()


@pytest.mark.parametrize("n", DIMS)
def test_wide_and_narrow_posteriors(n):
    rng = np.random.default_rng(n)
    mu = rng.uniform(-1e4, 1e4, size=(200, n)).astype(np.float32)
    log_var = (2 * np.log(10 ** rng.uniform(-6, 3, size=(200, n)))).astype(np.float32)
    z = np.concatenate([mu[:5], mu[5:9] + 1e-3, rng.uniform(-5, 5, size=(5, n))])
    # Scores reach 1e20 here, where torch's own rounding is far beyond seven decimals.
    indices, scores = nearest(z, mu, log_var, 7)
    everything = torch_scores(z, mu, log_var)
    expected = np.take_along_axis(everything, indices, axis=1)
    assert_same_scores(scores, expected, log_var, dims=n)
    assert_same_scores(scores, -np.sort(-everything, axis=1)[:, :7], log_var, dims=n)


@pytest.mark.parametrize("n", DIMS)
def test_exact_duplicates_are_ordered_by_index(n):
    z, mu, log_var = data(n, items=40)
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(40), 5))
    indices, scores = check(z, mu[order], log_var[order], 23)
    assert (scores[:, 0] == scores[:, 4]).all() and (scores[:, 20] == scores[:, 22]).all()
    assert (np.diff(indices[:, :5], axis=1) > 0).all()


def test_ties_at_the_last_place_go_to_the_lower_index():
    mu = np.array([[2.0], [1.0], [-1.0], [0.0], [1.0], [-1.0]])
    indices, _ = nearest([[0.0]], mu, np.zeros((6, 1)), k=3)
    assert indices.tolist() == [[3, 1, 2]]
    assert nearest([[0.0]], mu[::-1], np.zeros((6, 1)), k=3)[0].tolist() == [[2, 0, 1]]


def test_all_items_equal():
    z, mu, log_var = data(10, items=1)
    indices, scores = nearest(z, mu.repeat(500, axis=0), log_var.repeat(500, axis=0), 12)
    assert (indices == np.arange(12)).all() and (scores == scores[:, :1]).all()


def test_one_item_and_one_query():
    indices, scores = nearest([0.0, 0.0], [[3.0, 4.0]], [[0.0, 0.0]], k=1)
    assert indices.tolist() == [[0]]
    assert scores[0, 0] == near_score(-12.5 - np.log(2 * np.pi), dims=2)


def test_more_than_there_are():
    z, mu, log_var = data(2, items=4)
    with pytest.warns(UserWarning, match=r"^k = 9 but there are only 4 items: returning all\.$"):
        indices, scores = nearest(z, mu, log_var, 9)
    assert indices.tolist() == oracle(z, mu, log_var, 4)[0].tolist() and scores.shape == (9, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nearest(z, mu, log_var, 4)


def test_no_items_and_no_queries():
    with pytest.warns(UserWarning, match="only 0 items"):
        indices, scores = nearest(np.ones((3, 2)), np.empty((0, 2)), np.empty((0, 2)))
    assert indices.shape == scores.shape == (3, 0)
    indices, scores = nearest(np.empty((0, 2)), np.ones((20, 2)), np.ones((20, 2)))
    assert indices.shape == scores.shape == (0, 10)


def test_infinitely_far_items_still_come_back():
    mu = [[1e200], [0.0], [-1e200], [1e200]]
    indices, scores = nearest([[0.0], [1e200]], mu, np.zeros((4, 1)), k=4)
    assert indices.tolist() == [[1, 0, 2, 3], [0, 3, 1, 2]]
    assert np.isneginf(scores[0, 1:]).all() and np.isneginf(scores[1, 2:]).all()


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one(k):
    message = f"^k is {k}; expected at least 1\\.$"
    with pytest.raises(InputError, match=message):
        nearest([[0.0]], [[0.0]], [[0.0]], k=k)


@pytest.mark.parametrize("k", [2.5, "3", None])
def test_k_is_a_whole_number(k):
    with pytest.raises(InputError, match=f"^k is {k!r}; expected a whole number\\.$"):
        nearest([[0.0]], [[0.0]], [[0.0]], k=k)
    assert nearest([[0.0]], [[0.0]], [[0.0]], k=np.int32(1))[0].tolist() == [[0]]


@pytest.mark.parametrize("name", ["mu", "log_var"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(name, value):
    arguments = dict(zip(("z", "mu", "log_var"), data(3, items=20), strict=True))
    arguments[name][4, 1] = arguments[name][7, 0] = value
    count = len(arguments[name])
    message = (
        f"{name} has a NaN or infinite value in row 4 (2 such rows of {count}); "
        "expected finite numbers only."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        nearest(**arguments, k=2)


@pytest.mark.parametrize(
    ("z", "mu", "log_var", "message"),
    [
        ((2, 3), (5, 4), (5, 4), r"z has shape \(2, 3\); expected \(Q, 4\)"),
        ((2, 3), (5, 3), (5, 2), r"mu has shape \(5, 3\) and log_var \(5, 2\); expected the same"),
        ((2, 3), (3,), (3,), r"mu has shape \(3,\)"),
    ],
)
def test_shapes_that_do_not_fit(z, mu, log_var, message):
    with pytest.raises(InputError, match=message):
        nearest(np.ones(z), np.ones(mu), np.ones(log_var))


# ---- every score, against the forms of vaeudf.gaussian

TOLERANCES = [0.0, 0.1, 3.0]
NUM_ITEMS = {1: 20_000, 2: 12_000, 3: 12_000, 7: 6000, 10: 6000}
FEWER = {33: 1500, 64: 1000, 256: 300, 512: 200}


def scattered(rng, num_items, n):
    mu = rng.normal(size=(num_items, n))
    return mu.astype(np.float32), rng.normal(-2, 1, size=mu.shape).astype(np.float32)


def clustered(rng, num_items, n):
    centres = rng.normal(0, 2, size=(50, n))
    mu = centres[rng.integers(0, 50, size=num_items)] + rng.normal(0, 0.05, size=(num_items, n))
    return mu.astype(np.float32), rng.normal(-5, 0.5, size=mu.shape).astype(np.float32)


def ordered(rng, num_items, n):
    mu, log_var = clustered(rng, num_items, n)
    order = kd_order(mu)
    return mu[order], log_var[order]


ARRANGED = {0.0: ordered, 0.1: clustered, 3.0: scattered}
PLACES = {0.0: (1, 1000), 0.1: (10, 5000), 3.0: (65, 30_000)}


def check_score(name, z, query_log_var, mu, log_var, k, tolerance, ids=None):
    """Compare nearest, an index and the engine with brute force."""
    score = SCORES[name]
    gaussian = query_log_var if score.between_gaussians else None
    expected = reference_scores(name, z, query_log_var, mu, log_var, tolerance)
    wide = mu.astype(np.float64), log_var.astype(np.float64)
    near = rounding(name, query_log_var, *wide, tolerance)
    same = same_items(name, *wide)
    arguments = {"query_log_var": gaussian, "score": name, "tolerance": tolerance}
    rows = np.arange(len(mu))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if k > len(mu) else "error")
        found, scores = nearest(z, mu, log_var, k, **arguments)
        assert_best(name, found, scores, expected, rows, same, k, *near)
        indexed, their_scores = PosteriorIndex(mu, log_var, ids).search(z, k, **arguments)
    # The same direct formula: to the last bit.
    if ids is None:
        assert (indexed == found).all() and (their_scores == scores).all()
    else:
        ranks = np.empty(len(mu), np.int64)
        ranks[np.argsort(ids)] = rows
        labels = ranks[np.argsort(ids)][np.searchsorted(np.sort(ids), indexed)]
        assert_best(name, labels, their_scores, expected, ranks, same, k, *near)
    queries = prepare_queries(score, z, gaussian, tolerance)
    alone = without_filter(name, mu, log_var, rows, tolerance)
    values, direct, counts = engine.search(alone, queries, k)
    assert (direct == found).all() and (score.from_values(values) == scores).all()
    assert (counts == min(k, len(mu))).all()
    return found, scores


@each_value_once(("name", SCORES), ("n", [*NUM_ITEMS, *FEWER]))
def test_every_score(name, n):
    rng = np.random.default_rng([n, list(SCORES).index(name)])
    for tolerance in TOLERANCES:
        mu, log_var = ARRANGED[tolerance](rng, (NUM_ITEMS | FEWER)[n], n)
        count = 6 if n <= 10 else 3 if n == 512 else 4
        rows = rng.integers(0, len(mu), size=count)
        z = mu[rows] + rng.normal(0, 0.1, size=(count, n))
        query_log_var = log_var[rows] + rng.normal(0, 0.3, size=(count, n))
        for k in PLACES[tolerance] if n in (1, 3, 10) else PLACES[tolerance][:1]:
            check_score(name, z, query_log_var, mu, log_var, k, tolerance)


@each_value_once(("name", SCORES), ("kind", [kind for kind in KINDS if kind != "beyond"]))
def test_hard_items(name, kind):
    # sigma from 1e-6 to 1e3 and beyond, mu to 1e4, denormals, copies, items float32 cannot tell
    # apart, log_var to ±700.
    for n, double, tolerance in [(1, False, 0.0), (3, True, 0.1), (10, True, 0.0)]:
        mu, log_var, z, query_log_var = items_and_queries(kind, n, 24, 64, 12, double=double)
        ids = np.array([f"{place * 7919 % len(mu)}-é" for place in range(len(mu))])
        check_score(name, z, query_log_var, mu, log_var, 30, tolerance, ids)


@pytest.mark.parametrize("name", SCORES)
def test_far_outside(name):
    mu, log_var = ordered(np.random.default_rng(3), 6000, 3)
    z = np.array([[1e7, 0.0, 0.0], [-1e7, 1e7, 3e6], [1e9, 1e9, 1e9], [3e12, 0.0, 1.0]])
    _, scores = check_score(name, z, np.full((4, 3), -5.0), mu, log_var, 100, 0.0)
    if name == "log_likelihood":
        assert (scores < -1e12).all()


@pytest.mark.parametrize("name", SCORES)
def test_hundreds_of_copies_and_ties_at_the_last_place(name):
    mu, log_var = ordered(np.random.default_rng(4), 6000, 2)
    order = np.random.default_rng(5).permutation(np.repeat(np.arange(20), 300))
    mu, log_var = mu[order], log_var[order]
    z, query_log_var = mu[:8].astype(np.float64), log_var[:8].astype(np.float64)
    for k in (1, 299, 300, 301, 450):
        found, scores = check_score(name, z, query_log_var, mu, log_var, k, 0.0)
        copies = np.flatnonzero(order == order[0])[: min(k, 300)]
        if SCORES[name].ascending:  # the queries are items
            assert found[0, : len(copies)].tolist() == copies.tolist()
        if name in DIVERGENCES:
            # Exactly 0, and not -0.0 either.
            assert scores[:, 0].tobytes() == np.zeros(8).tobytes()


@each_value_once(("name", DIVERGENCES), ("tolerance", [0.0, 0.1, 3.0]))
def test_an_item_is_its_own_nearest(name, tolerance):
    rng = np.random.default_rng(8)
    mu = rng.normal(size=(3000, 5))
    log_var = 2 * np.log(10 ** rng.uniform(-6, 3, size=(3000, 5)))
    index = PosteriorIndex(mu, log_var)
    found, scores = index.search(
        mu[:200], 2, query_log_var=log_var[:200], score=name, tolerance=tolerance
    )
    assert found[:, 0].tolist() == list(range(200))
    assert (scores[:, 0] == 0).all() and (scores[:, 1] > 0).all()


def test_likelihoods_of_torch():
    mu, log_var = ordered(np.random.default_rng(6), 20_000, 3)
    z = mu[::1000] + np.random.default_rng(7).normal(0, 0.05, size=(20, 3))
    rows, expected = np.arange(20_000), torch_scores(z, mu, log_var)
    same = same_items("log_likelihood", mu, log_var)
    near = rounding("log_likelihood", None, mu, log_var, 0.0)
    for k in (1, 10, 1000):
        for search in (PosteriorIndex(mu, log_var).search, lambda z, k: nearest(z, mu, log_var, k)):
            found, scores = search(z, k)
            assert_best("log_likelihood", found, scores, expected, rows, same, k, *near)


def test_values_are_those_of_the_direct_formula():
    z, mu, log_var = data(7)
    for name in SCORES:
        queries = prepare_queries(
            SCORES[name], z, z / 3 if SCORES[name].between_gaussians else None, 0.1
        )
        labels = np.arange(len(mu))
        alone = without_filter(name, mu, log_var, labels, 0.1)
        values, found, _ = engine.search(alone, queries, 300)
        expected = np.take_along_axis(
            reference_values(name, z, z / 3, mu, log_var, 0.1), found, axis=1
        )
        assert_same_values(name, values, expected, z / 3, mu, log_var, 0.1)


# ---- an index


def test_an_index_looks_at_fewer_items_than_there_are():
    rng = np.random.default_rng(9)
    mu, log_var = clustered(rng, 20_000, 3)  # in no order
    index = PosteriorIndex(mu, log_var)
    index.search(mu[:50], 10)
    work = index._prepared.work
    assert 0 < work.scored < 0.3 * 50 * 20_000
    nearest_rows, _ = nearest(mu[:50], mu, log_var, 10)
    assert (index.search(mu[:50], 10)[0] == nearest_rows).all()


def test_an_index_prepares_anew_for_another_score_or_tolerance():
    mu, log_var = scattered(np.random.default_rng(10), 2000, 2)
    index = PosteriorIndex(mu, log_var)
    z = mu[:40].astype(np.float64)
    for name in ("log_likelihood", "euclidean", "log_likelihood", "mahalanobis"):
        for tolerance in (0.0, 0.5, 0.5, 0.0):
            found, scores = index.search(z, 5, score=name, tolerance=tolerance)
            expected, wanted = nearest(z, mu, log_var, 5, score=name, tolerance=tolerance)
            assert (found == expected).all() and (scores == wanted).all()
    prepared = index._prepared
    index.search(z, 5, score="mahalanobis")
    assert index._prepared is prepared


def test_one_index_for_several_threads():
    mu, log_var = scattered(np.random.default_rng(11), 5000, 3)
    index = PosteriorIndex(mu, log_var)
    z = mu[:40].astype(np.float64)
    cases = [(name, tolerance) for name in ("log_likelihood", "euclidean") for tolerance in (0, 1)]
    expected = [nearest(z, mu, log_var, 7, score=s, tolerance=t)[0].tolist() for s, t in cases]

    def search(case):
        return index.search(z, 7, score=case[0], tolerance=case[1])[0].tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(search, cases * 8)) == expected * 8


@pytest.mark.parametrize("dtype", [object, np.str_])
def test_string_ids_tie_in_the_order_of_their_utf8_bytes(dtype):
    names = ["👕", "ｚ", "é", "z", "e", "Z", "a\u0301", "\u00e1", "ab", "a", "10", "9", "한"]
    names = np.array(names, dtype)
    index = PosteriorIndex(np.ones((13, 2)), np.zeros((13, 2)), names)
    ids, scores = index.search([[0.0, 0.0], [1.0, 1.0]], k=13)
    assert ids.tolist() == [sorted(names.tolist(), key=str.encode)] * 2
    assert (scores == scores[:, :1]).all()
    assert index.search([0.0, 0.0], k=3)[0].tolist() == [["10", "9", "Z"]]


def test_number_ids():
    ids = [2**62, -5, 0]
    index = PosteriorIndex([[1.0], [-1.0], [5.0]], np.zeros((3, 1)), ids)
    assert index.search([0.0], k=3)[0].tolist() == [[-5, 2**62, 0]]
    assert (len(index), index.latent_dim) == (3, 1)


def test_an_index_does_not_change_with_its_input():
    mu, log_var = scattered(np.random.default_rng(12), 500, 2)
    index = PosteriorIndex(mu, log_var)
    before = index.search([0.0, 0.0], k=500)
    mu[:], log_var[:] = 9.0, 9.0
    after = index.search([0.0, 0.0], k=500, score="log_likelihood")
    assert (before[0] == after[0]).all() and (before[1] == after[1]).all()


def test_arrays_that_cannot_be_written_to():
    z, mu, log_var = data(3)
    expected = nearest(z, mu, log_var)
    for array in (z, mu, log_var):
        array.setflags(write=False)
    assert (nearest(z, mu, log_var)[0] == expected[0]).all()
    assert (PosteriorIndex(mu, log_var).search(z)[0] == expected[0]).all()


@pytest.mark.parametrize("dtype", [np.int64, np.float16, ">f4", np.float64])
def test_other_types_of_numbers(dtype):
    z, mu, log_var = data(3)
    mu, log_var = (4 * mu).astype(dtype), log_var.astype(dtype)
    wide = mu.astype(np.float64), log_var.astype(np.float64)
    expected = nearest(z, *wide)[0]
    assert (nearest(z, mu, log_var)[0] == expected).all()
    assert (nearest(z, np.asfortranarray(mu), log_var[:, ::-1][:, ::-1])[0] == expected).all()
    assert (PosteriorIndex(mu, log_var).search(z)[0] == expected).all()


def test_an_index_of_nothing_and_no_queries():
    index = PosteriorIndex(np.empty((0, 3)), np.empty((0, 3)), [])
    with pytest.warns(UserWarning, match=r"^k = 10 but there are only 0 items: returning all\.$"):
        ids, scores = index.search(np.zeros((2, 3)))
    assert ids.shape == scores.shape == (2, 0)
    ids, scores = PosteriorIndex(np.ones((12, 3)), np.ones((12, 3))).search(np.empty((0, 3)))
    assert ids.shape == scores.shape == (0, 10)


@pytest.mark.parametrize("value", [-1500.0, -1000.0, 1000.0, 1500.0])
def test_variances_whose_squares_leave_float64(value):
    mu, log_var = np.arange(100.0)[:, None], np.full((100, 1), value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, _ = PosteriorIndex(mu, log_var).search([3.1], 3, query_log_var=[value], score="kl")
    assert found.tolist() == [[0, 1, 2]]  # all 0, or all infinite


# ---- what an index or a search refuses


def search_index(z, mu, log_var, **arguments):
    return PosteriorIndex(mu, log_var).search(z, **arguments)


POINTS = np.zeros((2, 3)), np.zeros((5, 3)), np.zeros((5, 3))
NAMES = ", ".join(SCORES)


@each_value_once(
    (
        "arguments,message",
        [
            ({"score": "cosine"}, f"score is 'cosine'; expected one of {NAMES}."),
            (
                {"score": "kl"},
                "score kl is between two Gaussians, but the queries are points z; "
                "give query_log_var, or choose log_likelihood, mahalanobis or euclidean.",
            ),
            (
                {"score": "kl", "query_log_var": np.zeros((2, 4))},
                "query_log_var has shape (2, 4); expected that of z, (2, 3).",
            ),
            (
                {"score": "kl", "query_log_var": np.zeros(3)},
                "query_log_var has shape (3,); expected that of z, (2, 3).",
            ),
            (
                {"score": "kl", "query_log_var": [[0, 0, 0], [0, np.nan, 0]]},
                "query_log_var has a NaN or infinite value in row 1 (1 such rows of 2); "
                "expected finite numbers only.",
            ),
            (
                {"tolerance": -0.5},
                "tolerance is -0.5; expected a finite number of at least 0, in units of z "
                "(0 takes z exactly as it stands).",
            ),
            (
                {"tolerance": np.inf},
                "tolerance is inf; expected a finite number of at least 0, in units of z "
                "(0 takes z exactly as it stands).",
            ),
            ({"k": 0}, "k is 0; expected at least 1."),
            ({"k": True}, "k is True; expected a whole number."),
        ],
    ),
    ("search", [nearest, search_index]),
)
def test_arguments_that_do_not_fit(search, arguments, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        search(*POINTS, **({"k": 2} | arguments))


@pytest.mark.parametrize(
    ("mu", "log_var", "ids", "message"),
    [
        ((5, 3), (5, 2), None, "mu has shape (5, 3) and log_var (5, 2); expected the same shape"),
        ((3,), (3,), None, "mu has shape (3,) and log_var (3,); expected the same shape (N, n)"),
        ((4, 0), (4, 0), None, "mu has shape (4, 0) and log_var (4, 0); expected the same shape"),
        ((3, 1), (3, 1), ["a", "b"], "ids have shape (2,); expected (3,), one per item."),
        ((2, 1), (2, 1), [["a"], ["b"]], "ids have shape (2, 1); expected (2,), one per item."),
        ((3, 1), (3, 1), ["b", "a", "b"], "id 'b' occurs more than once; expected unique ids."),
        ((3, 1), (3, 1), [7, 1, 7], "id 7 occurs more than once; expected unique ids."),
    ],
)
def test_items_that_do_not_fit(mu, log_var, ids, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        PosteriorIndex(np.zeros(mu), np.zeros(log_var), ids)


@pytest.mark.parametrize("shape", [(2, 4), (4,), (1, 1, 3)])
def test_queries_that_do_not_fit_an_index(shape):
    index = PosteriorIndex(np.zeros((5, 3)), np.zeros((5, 3)))
    message = f"z has shape {shape}; expected (Q, 3), because mu and log_var have 3 latent"
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        index.search(np.zeros(shape))


def test_the_docstring():
    for module in (vaeudf.search.index, vaeudf.search.once):
        assert doctest.testmod(module).attempted > 0
        assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("count", [1, 600])
def test_equal_distances_tie_whatever_their_squares_are(count):
    """The sums of the same squares in another order differ in the last digit; the roots do not."""
    base = np.array([-0.9949907064437866, -0.016976285725831985, -0.5427259802818298], np.float32)
    mu = np.stack([base[list(order)] for order in ([0, 2, 1], [2, 0, 1], [1, 2, 0], [0, 1, 2])])
    squares = (mu.astype(np.float64) ** 2).cumsum(axis=1)[:, -1]
    assert len(set(squares)) > 1 and len(set(np.sqrt(squares))) == 1
    names = PosteriorIndex(mu[::-1], np.zeros((4, 3), np.float32), list("dcba"))
    found, scores = names.search(np.zeros((count, 3)), 4, score="euclidean")
    assert (found == list("abcd")).all() and len(np.unique(scores)) == 1
