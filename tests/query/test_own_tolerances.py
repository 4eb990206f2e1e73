"""Bulk queries each of which is meant with a tolerance of its own."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.support.cases import further_cases_slow
from tests.support.population import SIZE, points, queries_around
from tests.support.reference import assert_same_score
from tests.support.tolerances import assert_same_scores, assert_within, score_bound
from vaeudf.errors import InputError
from vaeudf.gaussian import log_prob
from vaeudf.query.bulk import top_k
from vaeudf.query.latents import Latents, from_rows
from vaeudf.query.options import QueryOptions


def asked(population, count=60):
    """Points, some dimensions of them open, and tolerances from 0 to far beyond the items."""
    rng = np.random.default_rng(5)
    z = points(queries_around(population, count)).z.copy()
    z[:, 1:][rng.random((count, 2)) < 0.3] = np.nan
    taus = 10.0 ** rng.uniform(-4, 2, size=z.shape)
    taus[rng.random(z.shape) < 0.2] = 0.0
    return Latents(tuple(f"q{i}" for i in range(count)), z, tolerance=taus)


def brute_force(population, queries, default=0.0):
    """All scores, (Q, N): each query alone, over the dimensions that it names."""
    found = []
    for z, own in zip(queries.z, queries.tolerance, strict=True):
        named = ~np.isnan(z)
        tau = np.where(np.isnan(own), default, own)[named]
        mu, log_var = population.mu[:, named], population.log_var[:, named]
        found.append(log_prob(z[named], mu, log_var, tau)[0])
    return np.array(found)


@pytest.mark.spark
@pytest.mark.parametrize("place", further_cases_slow(["table", "parquet", "frame"], ["table"]))
def test_each_is_searched_with_its_own(spark, population, place):
    source = {"table": population.table, "parquet": population.parquet}.get(place)
    if source is None:
        source = spark.read.parquet(population.parquet).where("stock is null or stock >= 0")
    queries = asked(population)
    queries.tolerance[::7] = np.nan
    found = top_k(source, queries, 8, tolerance=0.5, explain=True, responsibilities=True)
    rows = found.toArrow().to_pylist()
    scores = brute_force(population, queries, 0.5)
    names = population.items["item_id"].to_pylist()
    place_of = {name: row for row, name in enumerate(names)}
    by_name = np.argsort(np.argsort([name.encode() for name in names]))
    for q, query_id in enumerate(queries.ids):
        own = sorted((r for r in rows if r["query_id"] == query_id), key=lambda r: r["rank"])
        order = np.lexsort((by_name, -scores[q]))[:8]
        assert [row["item_id"] for row in own] == [names[i] for i in order]
        values = [row["log_likelihood"] for row in own]
        widest = np.nanmax(queries.tolerance)
        assert_same_score(
            "log_likelihood", values, scores[q, order], None, population.mu, population.log_var,
            widest,
        )  # fmt: skip
        sums = [row["misfit"] + row["volume"] for row in own]
        log_vars = population.log_var, 2 * np.log(widest)
        assert_same_scores(sums, values, *log_vars, dims=3)
        total = np.logaddexp.reduce(scores[q])
        right = np.exp(scores[q] - total)[[place_of[row["item_id"]] for row in own]]
        near = right * score_bound(values, *log_vars, dims=3, items=len(names)) * 4
        shares = [row["responsibility"] for row in own]
        assert_within(shares, right, near, why="exp of a score and of a sum")


@pytest.mark.spark
def test_arrays_of_tolerances(population):
    queries = asked(population, 8)
    by_array = top_k(population.table, queries.z, 5, tolerance=queries.tolerance).toArrow()
    named = Latents(tuple(map(str, range(8))), queries.z, tolerance=queries.tolerance)
    by_query = top_k(population.table, named, 5).toArrow()
    order = [("query_id", "ascending"), ("rank", "ascending")]
    assert by_array.sort_by(order) == by_query.sort_by(order)


@pytest.mark.spark
def test_boxes_still_pass_over_row_groups(population):
    from vaeudf.query.bulk import plan

    taus = np.array([[1e-3], [1e-2]])
    queries = from_rows(population.mu[[7, 8]]).with_tolerance(taus)
    planned = plan(population.table, queries, QueryOptions(k=3))
    planned.hits.toArrow()
    assert 0 < planned.counts.row_groups.value < planned.row_groups
    assert planned.counts.scored.value <= planned.counts.row_groups.value * SIZE * 2


def test_one_tolerance_for_all_is_that_of_the_run():
    queries = from_rows(np.zeros((3, 2))).with_tolerance([[0.2, 0.5]] * 3)
    request = QueryOptions().request_for(queries)
    assert (request.tolerance, request.queries.tolerance) == ((0.2, 0.5), None)
    plain = QueryOptions(tolerance=(0.2, 0.5)).request_for(from_rows(np.zeros((3, 2))))
    assert request.score is plain.score
    some = from_rows(np.zeros((2, 2))).with_tolerance([[0.3], [np.nan]])
    assert QueryOptions(tolerance=0.3).request_for(some).tolerance == (0.3, 0.3)


def test_parts_of_the_queries_keep_their_tolerances():
    queries = from_rows(np.zeros((3, 2))).with_tolerance([[0.1], [0.2], [0.3]])
    assert queries.subset([2, 0]).tolerance.tolist() == [[0.3, 0.3], [0.1, 0.1]]
    assert queries.leaving_open([1]).tolerance.tolist() == queries.tolerance.tolist()
    request = QueryOptions().request_for(queries).of_queries(np.array([1]))
    assert request.queries.tolerance.tolist() == [[0.2, 0.2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"score": "mahalanobis"},
            "a tolerance for each query is for log_likelihood, but the score is mahalanobis.",
        ),
        (
            {"distinct": 1.0},
            "distinct blurs all items by one tolerance, but the queries have tolerances of their "
            "own; leave out one of the two.",
        ),
        ({"diversify": 0.5}, "diversify blurs all items by one tolerance, but the queries have"),
    ],
)
def test_what_does_not_go_together(options, message):
    queries = from_rows(np.zeros((2, 2))).with_tolerance([[0.1], [0.2]])
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        QueryOptions(**options).score_for(queries)


def test_tolerances_of_other_shapes_and_values():
    queries = from_rows(np.zeros((2, 3)))
    for bad, message in (
        (np.zeros((3, 1)), "tolerance has shape (3, 1); expected (Q, n) = (2, 3) or (Q, 1)"),
        ([[0.1], [-0.5]], "query '1' has tolerance = -0.5; expected a finite number of at least 0"),
        ([[0.1], [np.inf]], "query '1' has tolerance = inf; expected a finite number of at least"),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(message)}"):
            queries.with_tolerance(bad)
    message = "the queries are Gaussians with tolerances of their own; these are for points z"
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        from_rows(np.zeros((1, 2)), None, np.zeros((1, 2))).with_tolerance([[0.1]])
