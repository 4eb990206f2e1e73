"""Top-k against torch's densities sorted by (-score, id)."""

from __future__ import annotations

import doctest
import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vaeudf.topk
from vaeudf.errors import InputError
from vaeudf.topk import TopK, nearest, score_into

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
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-11, atol=1e-11)
    return indices, scores


# ---- nearest


@pytest.mark.parametrize("k", [1, 3, 10, 299, 300])
@pytest.mark.parametrize("n", DIMS)
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
    np.testing.assert_allclose(
        scores, np.take_along_axis(everything, indices, axis=1), rtol=1e-11, atol=1e-10
    )
    np.testing.assert_allclose(scores, -np.sort(-everything, axis=1)[:, :7], rtol=1e-11, atol=1e-10)


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
    assert scores[0, 0] == pytest.approx(-12.5 - np.log(2 * np.pi))


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
    with pytest.raises(InputError, match=message):
        TopK(1, k)


@pytest.mark.parametrize("k", [2.5, "3", None])
def test_k_is_a_whole_number(k):
    with pytest.raises(InputError, match=f"^k is {k!r}; expected a whole number\\.$"):
        nearest([[0.0]], [[0.0]], [[0.0]], k=k)
    assert nearest([[0.0]], [[0.0]], [[0.0]], k=np.int32(1))[0].tolist() == [[0]]


@pytest.mark.parametrize("name", ["z", "mu", "log_var"])
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


@pytest.mark.parametrize("pairs", [1, 7, 64, 2**21])
@pytest.mark.parametrize("group", [1, 4, 256])
def test_block_sizes_do_not_matter(monkeypatch, pairs, group):
    z, mu, log_var = data(10, items=60, queries=9)
    mu[30:], log_var[30:] = mu[:30], log_var[:30]  # ties across blocks
    expected = nearest(z, mu, log_var, 8)
    largest = []

    def spy(*arguments):
        scores = log_prob(*arguments)
        largest.append(scores.size)
        return scores

    log_prob = vaeudf.topk.log_prob
    monkeypatch.setattr(vaeudf.topk, "_PAIRS_PER_BLOCK", pairs)
    monkeypatch.setattr(vaeudf.topk, "_QUERIES_PER_BLOCK", group)
    monkeypatch.setattr(vaeudf.topk, "log_prob", spy)
    indices, scores = nearest(z, mu, log_var, 8)
    assert indices.tolist() == expected[0].tolist()
    assert scores.tobytes() == expected[1].tobytes()
    # One item at a time is the least that can be scored.
    assert max(largest) <= max(pairs, min(group, 9))


def test_the_docstring():
    assert doctest.testmod(vaeudf.topk).attempted > 0
    assert doctest.testmod(vaeudf.topk).failed == 0


# ---- the running top-k


def by_hand(ids, scores, k, key=lambda name: name):
    """Per query [(id, score)], sorted in Python."""
    return [
        sorted(zip(ids, row, strict=True), key=lambda pair: (-pair[1], key(pair[0])))[:k]
        for row in scores.tolist()
    ]


def contents(running):
    return [
        list(zip(ids, scores, strict=True))
        for ids, scores in zip(running.ids.tolist(), running.scores.tolist(), strict=True)
    ]


SCORES = st.sampled_from([-np.inf, -1e300, -2.0, -1.0, 0.0, -0.0, 0.5, 7.0])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@st.composite
def running_cases(draw):
    ids = draw(
        st.one_of(
            st.lists(st.integers(-(2**62), 2**62), unique=True, max_size=25),
            st.lists(TEXT, unique=True, max_size=25),
        )
    )
    num_queries = draw(st.integers(1, 3))
    row = st.lists(SCORES, min_size=len(ids), max_size=len(ids))
    scores = np.array([draw(row) for _ in range(num_queries)]).reshape(num_queries, len(ids))
    order = draw(st.permutations(range(len(ids))))
    cuts = sorted(draw(st.sets(st.integers(0, len(ids)), max_size=5)))
    blocks = [part.astype(int) for part in np.split(np.array(order, dtype=int), cuts)]
    dtype = object if ids and isinstance(ids[0], str) else np.int64
    return np.array(ids, dtype=dtype), scores, blocks, draw(st.integers(1, 12))


def sort_key(name):
    return name.encode() if isinstance(name, str) else name


@given(running_cases())
@settings(max_examples=150, deadline=None)
def test_any_blocks_in_any_order(case):
    ids, scores, blocks, k = case
    running = TopK(len(scores), k, ids.dtype.type)
    for block in blocks:
        running.update(ids[block], scores[:, block])
        assert running.ids.shape == running.scores.shape
        assert running.ids.shape[1] <= k
    assert contents(running) == by_hand(ids.tolist(), scores, k, sort_key)


@given(running_cases(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_any_tree_of_merges(case, random):
    ids, scores, blocks, k = case
    parts = []
    for block in blocks:
        part = TopK(len(scores), k, ids.dtype.type)
        part.update(ids[block], scores[:, block])
        parts.append(part)
    while len(parts) > 1:
        random.shuffle(parts)
        source = parts.pop()
        parts[-1].merge(source.ids, source.scores)
    assert contents(parts[0]) == by_hand(ids.tolist(), scores, k, sort_key)


def test_string_ids_tie_in_the_order_of_their_utf8_bytes():
    # UTF-16, as Java and JavaScript compare, puts 👕 before ｚ; a locale puts é next to e.
    names = ["👕", "ｚ", "é", "z", "e", "Z", "", "a\u0301", "á", "ab", "a", "10", "9", "한"]
    running = TopK(1, 14, object)
    for name in names:
        running.update(np.array([name], object), np.zeros((1, 1)))
    assert running.ids[0].tolist() == sorted(names, key=str.encode)
    assert running.ids.dtype == object
    running = TopK(1, 3, object)
    running.update(np.array(names, object), np.zeros((1, 14)))
    assert running.ids[0].tolist() == ["", "10", "9"]


@pytest.mark.parametrize("pairs", [1, 13, 2**21])
def test_scoring_items_with_string_ids(monkeypatch, pairs):
    monkeypatch.setattr(vaeudf.topk, "_PAIRS_PER_BLOCK", pairs)
    z, mu, log_var = data(10, items=50)
    mu[25:], log_var[25:] = mu[:25], log_var[:25]
    ids = np.array([f"{place * 7919 % 50:02d}-é" for place in range(50)], object)
    running = TopK(len(z), 6, object)
    score_into(running, z, ids, mu, log_var)
    scores = torch_scores(z, mu, log_var).round(7)
    expected = [[name for name, _ in row] for row in by_hand(ids.tolist(), scores, 6, str.encode)]
    assert running.ids.tolist() == expected


def test_nothing_seen_yet():
    running = TopK(2, 5)
    assert running.ids.shape == running.scores.shape == (2, 0)
    running.update(np.empty(0, np.int64), np.empty((2, 0)))
    assert running.ids.shape == (2, 0)
    running.update(np.array([4]), np.array([[1.0], [2.0]]))
    assert contents(running) == [[(4, 1.0)], [(4, 2.0)]]
    TopK(0, 5).update(np.array([4]), np.empty((0, 1)))
