"""Search in memory against torch's densities sorted by (-score, id)."""

from __future__ import annotations

import doctest
import re
import warnings

import numpy as np
import pytest
import torch
import vaeudf.index
from vaeudf.errors import InputError
from vaeudf.index import nearest

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


def test_the_docstring():
    assert doctest.testmod(vaeudf.index).attempted > 0
    assert doctest.testmod(vaeudf.index).failed == 0


