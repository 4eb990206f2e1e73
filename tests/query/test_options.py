"""The options of a bulk query: what is refused, and what becomes of them for some queries."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from tests.support.tolerances import assert_within
from vaeudf.errors import InputError
from vaeudf.query.latents import from_rows
from vaeudf.query.options import QueryOptions

POINTS = from_rows(np.zeros((3, 2)))
GAUSSIANS = from_rows(np.zeros((3, 2)), None, np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k is 0; expected at least 1."),
        ({"k": 2.5}, "k is 2.5; expected a whole number."),
        ({"tolerance": -1.0}, "tolerance is -1.0; expected a finite number of at least 0"),
        ({"score": "cosine"}, "score is 'cosine'; expected one of log_likelihood"),
        ({"min_score": math.nan}, "min-score is nan; expected a finite number."),
        ({"min_score": -math.inf}, "min-score is -inf; expected a finite number."),
    ],
)
def test_what_is_refused_whatever_the_queries(options, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        QueryOptions(**options)


def test_what_is_refused_for_these_queries():
    message = (
        "score kl is between two Gaussians, but the queries are points z; query with mu and "
        "log_var or with --like, or choose log_likelihood, mahalanobis or euclidean."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        QueryOptions(score="kl").score_for(POINTS)
    for name in ("explain", "responsibilities"):
        assert QueryOptions(**{name: True}).score_for(POINTS).name == "log_likelihood"
        message = f"{name} is for log_likelihood, but the score is kl."
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            QueryOptions(**{name: True}).score_for(GAUSSIANS)


def test_what_the_tasks_are_asked():
    request = QueryOptions().request_for(POINTS)
    assert (request.k, request.score.name, request.tolerance) == (10, "log_likelihood", 0.0)
    assert (request.columns, request.explain, request.cuts) == ((), False, None)
    assert np.isneginf(request.floors).all() and len(request.floors) == 3
    request = QueryOptions(k=4, exclude_self=True, tolerance=0.5, columns=("price",)).request_for(
        GAUSSIANS
    )
    # One more, because the item itself is left out only in the end.
    assert (request.k, request.score.name, request.tolerance) == (5, "kl", 0.5)
    assert request.columns == ("price",)
    request = QueryOptions(explain=True, responsibilities=True).request_for(POINTS)
    assert request.explain and np.isneginf(request.cuts).all() and len(request.cuts) == 3


@pytest.mark.parametrize(
    ("name", "limit", "value"),
    [("log_likelihood", -7.0, -7.0), ("kl", 7.0, -7.0), ("euclidean", 4.0, -8.0)],
)
def test_a_floor_is_just_below_the_value_of_the_worst_score_wanted(name, limit, value):
    request = QueryOptions(score=name, min_score=limit).request_for(GAUSSIANS)
    assert (request.floors < value).all()
    assert_within(request.floors, [value] * 3, 2e-9 * abs(value), why="twice the margin")


def test_no_item_is_at_a_distance_below_0():
    assert np.isposinf(
        QueryOptions(score="euclidean", min_score=-1.0).request_for(POINTS).floors
    ).all()
