"""Scores and the engine's values: there and back, and which direction is nearer."""

from __future__ import annotations

import math
import pickle
import re

import numpy as np
import pytest

from tests.support.cases import each_value_once
from tests.support.jobs import ROOT
from tests.support.reference import FORMS, assert_same_score
from tests.support.tolerances import SCORE, assert_same_float64
from vaeudf.errors import InputError
from vaeudf.explore.answers import Hit
from vaeudf.gaussian.scores import (
    LOG_LIKELIHOOD_BY_QUERY,
    SCORES,
    blend_score,
    choose_score,
    score_named,
)
from vaeudf.search import kernels

NUMBERS = [0.0, 1e-300, 1e-20, 0.1, 1.0, 2.5, 1234.5, 1e150]


def test_every_score_has_a_form():
    missing = [name for name in SCORES if name not in FORMS]
    assert not missing, f"FORMS in tests/support/reference.py has no row for {', '.join(missing)}"
    assert SCORES.keys() == FORMS.keys(), "and no row for what is no score"
    for name, form in FORMS.items():
        own = not form.oracle.__module__.startswith("vaeudf")
        assert own, f"the oracle of {name} is vaeudf's; expected code that shares nothing with it"


def test_the_documentation_has_a_row_for_every_score():
    scores = (ROOT / "docs" / "queries.md").read_text().split("\n## Scores\n")[1]
    rows = re.findall(r"^\| `(\w+)`", scores.split("\n## ")[0], re.M)
    assert rows == list(SCORES), "the table of scores in docs/queries.md"


@pytest.mark.parametrize("name", SCORES)
def test_there_and_back(name):
    score, form = SCORES[name], FORMS[name]
    numbers = NUMBERS + ([-number for number in NUMBERS] if form.nearer == "higher" else [])
    if form.kind == "distance":  # whose squares stay within float64
        numbers = [number for number in numbers if number == 0 or number > 1e-150]
    values = np.array([score.to_value(number) for number in numbers])
    assert_same_float64(score.from_values(values), numbers, terms=4)


@pytest.mark.parametrize("name", SCORES)
def test_a_higher_value_is_a_nearer_score(name):
    score, form = SCORES[name], FORMS[name]
    scores = score.from_values(np.array([-0.5, -2.0, -4.5])).tolist()
    if form.nearer == "higher":
        assert scores == [-0.5, -2.0, -4.5]
    else:
        assert scores == ([1, 2, 3] if form.kind == "distance" else [0.5, 2.0, 4.5])
    values = [score.to_value(number) for number in (0.5, 1.0, 7.0)]
    assert values == sorted(values, reverse=form.nearer == "lower")


@pytest.mark.parametrize("name", [name for name in SCORES if SCORES[name].ascending])
def test_nothing_is_nearer_than_0(name):
    score = SCORES[name]
    # 0.0 and never -0.0, whichever of them the value is.
    assert score.from_values(np.array([0.0, -0.0])).tobytes() == np.zeros(2).tobytes()
    assert score.from_values(np.array([-np.inf])).tolist() == [np.inf]
    assert score.to_value(math.inf) == -math.inf
    if FORMS[name].kind == "distance":  # whose square would make it a distance again
        assert score.to_value(-1.0) == math.inf
    else:
        assert score.to_value(-1.0) > score.to_value(0.0)


def test_what_the_scores_are():
    for name, score in SCORES.items():
        form = FORMS[name]
        assert score.name == name
        assert score.between_gaussians == form.between_gaussians
        assert score.ascending == (form.nearer == "lower")
        assert score.distance == (form.kind == "distance")
        assert score.unit == ("nats" if form.kind == "nats" else "")
        assert score.sees_variance == form.sees_variance
        assert score.is_log_density == (name == "log_likelihood")
        assert score_named(name) is score
        assert pickle.loads(pickle.dumps(score)) == score  # as Spark sends it to the tasks


def test_the_compiled_loops_have_a_formula_for_every_score():
    for name, score in SCORES.items():
        code = getattr(kernels, name.upper(), None)
        assert code is not None, f"vaeudf/search/kernels.py needs {name.upper()}, the score's code"
        assert score.code == code
    others = {LOG_LIKELIHOOD_BY_QUERY.code: kernels.LOG_LIKELIHOOD_BY_QUERY}
    others[blend_score(None, gaussian=True).code] = kernels.BLEND
    assert all(code == own for code, own in others.items())
    assert len({score.code for score in SCORES.values()} | set(others)) == len(SCORES) + 2


def test_a_hit_of_the_live_page_has_a_field_for_every_score():
    missing = SCORES.keys() - set(Hit.__struct_fields__)
    assert not missing, f"Hit in vaeudf/explore/answers.py has no field for {', '.join(missing)}"


@each_value_once(("name", SCORES), ("n", [1, 3, 10, 64]), ("tolerance", [0.0, 0.5]))
def test_the_reference_equals_an_independent_formula(name, n, tolerance):
    form = FORMS[name]
    rng = np.random.default_rng(n)
    z, mu = 2 * rng.normal(size=(6, n)), rng.normal(size=(40, n))
    query_log_var, log_var = (rng.normal(-2, 1.5, size=(count, n)) for count in (6, 40))

    queries, wider = (z,), (z,)
    if form.between_gaussians:
        queries, wider = (z, query_log_var), (z, np.log(np.exp(query_log_var) + tolerance**2))
    found = SCORES[name].reference(*queries, mu, log_var, tolerance=tolerance)
    assert found.shape == (6, 40) and found.dtype == np.float64
    expected = form.oracle(*wider, mu, np.log(np.exp(log_var) + tolerance**2))
    assert_same_score(name, found, expected, query_log_var, mu, log_var, tolerance)


@pytest.mark.parametrize("name", SCORES)
def test_a_tolerance_is_added_to_variances_that_are_seen(name):
    log_vars = SCORES[name].blurred(np.zeros((2, 3), np.float32), 2.0)
    assert log_vars.dtype == np.float64
    expected = math.log(5.0) if FORMS[name].sees_variance else 0.0
    assert_same_float64(log_vars, np.full((2, 3), expected), terms=SCORE)


@pytest.mark.parametrize("name", ["cosine", "KL", ""])
def test_an_unknown_score(name):
    message = f"score is {name!r}; expected one of {', '.join(SCORES)}."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        score_named(name)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        choose_score(name, gaussian=True, remedy="")


def test_the_score_that_queries_are_ranked_by():
    assert choose_score(None, gaussian=False, remedy="").name == "log_likelihood"
    assert choose_score(None, gaussian=True, remedy="").name == "kl"
    assert choose_score("euclidean", gaussian=True, remedy="").name == "euclidean"
    message = (
        "score jeffreys is between two Gaussians, but the queries are points z; ask with "
        "Gaussians, or choose log_likelihood, mahalanobis or euclidean."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        choose_score("jeffreys", gaussian=False, remedy="ask with Gaussians")
