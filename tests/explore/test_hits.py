"""Answers: against float64 brute force, and against the command that each answer names."""

from __future__ import annotations

import shlex
from collections import Counter

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.support.blends import assert_best_of_blend, blend_scores
from tests.support.cases import each_value_once
from tests.support.loaded import ask, best, by_row, load
from tests.support.population import SCHEMA
from tests.support.reference import FORMS, assert_same_score, reference_scores
from tests.support.selections import distances, greedily
from tests.support.tolerances import assert_same_scores, near_score
from tests.support.versions import publish_rows
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.gaussian.scores import SCORES
from vaeudf.workflows.cli import parse
from vaeudf.workflows.query_topk import QueryTopk, query_topk

Z = [0.31, -0.75, 1.02]
FAR = [40.0, -35.0, 28.0]
LOG_VAR = [-2.0, -1.0, -3.5]


@pytest.fixture(scope="module")
def loaded(population) -> LoadedTable:
    return load(population.table)


@pytest.fixture(scope="module")
def items(population, loaded):
    return by_row(loaded, population.items)


@pytest.fixture(scope="module")
def posteriors(loaded) -> tuple[np.ndarray, np.ndarray]:
    mu, log_var = loaded.posteriors(np.arange(loaded.num_items))
    return mu.astype(float), log_var.astype(float)


def rows_of(answer) -> list[int]:
    assert [hit.rank for hit in answer.hits] == list(range(1, len(answer.hits) + 1))
    return [hit.row for hit in answer.hits]


def scores_of(answer) -> list[float]:
    return [getattr(hit, answer.score) for hit in answer.hits]


@each_value_once(
    ("tolerance", [0.0, 0.3, [0.0, 0.1, 2.0]]),
    ("z", [Z, FAR, [0.31, None, 1.02], [None, None, -2.0]]),
)
def test_points(loaded, posteriors, z, tolerance):
    answer = ask(loaded, z=z, tolerance=tolerance, k=40)
    numbers = np.array([[np.nan if one is None else one for one in z]])
    (scores,) = reference_scores("log_likelihood", numbers, None, *posteriors, tolerance)
    rows = best(scores, loaded.ids.to_pylist(), 40)
    assert rows_of(answer) == rows
    assert answer.score == "log_likelihood"
    assert_same_scores(scores_of(answer), scores[rows], posteriors[1], dims=3)


@each_value_once(("tolerance", [0.0, 0.3]), ("name", FORMS))
def test_gaussians_by_every_score(loaded, posteriors, name, tolerance):
    request = {"z": Z, "query_log_var": LOG_VAR, "score": name, "tolerance": tolerance}
    answer = ask(loaded, **request, k=20)
    z, log_var = np.array([Z]), np.array([LOG_VAR])
    (scores,) = reference_scores(name, z, log_var, *posteriors, tolerance)
    rows = best(scores, loaded.ids.to_pylist(), 20, ascending=SCORES[name].ascending)
    assert (rows_of(answer), answer.score) == (rows, name)
    assert_same_score(name, scores_of(answer), scores[rows], log_var, *posteriors, tolerance)
    assert answer.here is None


def test_items_like_one(loaded, posteriors):
    mu, log_var = posteriors
    name = loaded.ids[100].as_py()
    (scores,) = reference_scores("kl", mu[100:101], log_var[100:101], mu, log_var)
    ids = loaded.ids.to_pylist()
    rows = best(scores, ids, 30, ascending=True)
    assert rows_of(ask(loaded, like=[name], k=30)) == rows
    others = [row for row in best(scores, ids, 31, ascending=True) if row != 100]
    assert rows_of(ask(loaded, like=[name], exclude_self=True, k=30)) == others


@each_value_once(("unlike", [[], [700, 2_500]]), ("tolerance", [0.0, 0.2]))
def test_items_like_several_and_unlike_others(loaded, posteriors, unlike, tolerance):
    mu, log_var = posteriors
    likes = [5, 9, 1_000]
    names = loaded.ids.to_pylist()
    request = {"like": [names[row] for row in likes], "tolerance": tolerance, "k": 25}
    if unlike:
        request |= {"unlike": [names[row] for row in unlike], "unlike_weight": 0.3}
    answer = ask(loaded, **request)
    members = likes + unlike
    weights = [1 / 3] * 3 + [-0.15] * len(unlike)
    own = mu[members], log_var[members]
    expected, bound = blend_scores(*own, weights, mu, log_var, tolerance, "kl")
    assert answer.score == "kl"
    assert_best_of_blend(
        np.array(rows_of(answer)), np.array(scores_of(answer)), expected, bound, ascending=True
    )


def test_a_point_unlike_an_item(loaded, posteriors):
    mu, log_var = posteriors
    z = [0.31, None, 1.02]
    answer = ask(loaded, z=z, unlike=[loaded.ids[7].as_py()], exclude_self=True, k=25)
    members = np.array([[0.31, np.nan, 1.02], [mu[7, 0], np.nan, mu[7, 2]]])
    expected, bound = blend_scores(members, None, [1.0, -0.5], mu, log_var)
    # What it is unlike is far from being among the best anyway.
    assert 7 not in rows_of(answer)
    found = np.array(rows_of(answer)), np.array(scores_of(answer))
    assert_best_of_blend(*found, expected, bound)
    for hit in answer.hits:
        assert hit.misfit + hit.volume == near_score(hit.log_likelihood, log_var, dims=20)


def test_a_condition(loaded, posteriors, items):
    answer = ask(loaded, z=Z, where="stock > 1000 and brand != 'brand é 1'", k=60)
    stock, brand = (np.array(items[name].to_pylist(), object) for name in ("stock", "brand"))
    passing = [
        s is not None and s > 1_000 and b not in (None, "brand é 1")
        for s, b in zip(stock, brand, strict=True)
    ]
    (scores,) = reference_scores("log_likelihood", np.array([Z]), None, *posteriors)
    scores[~np.array(passing)] = np.nan
    assert rows_of(answer) == best(scores, loaded.ids.to_pylist(), 60)
    assert answer.matching == sum(passing)
    none = ask(loaded, z=Z, where="stock < 0")
    assert (none.hits, none.matching, none.here) == ([], 0, 0.0)
    few = ask(loaded, z=Z, where="stock < 4", k=60)
    assert 0 < len(few.hits) == few.matching < 60


@pytest.mark.parametrize("where", [None, "stock > 2000"])
def test_at_most_so_many_of_each_value(loaded, posteriors, items, where):
    (scores,) = reference_scores("log_likelihood", np.array([Z]), None, *posteriors)
    brands, stock = items["brand"].to_pylist(), items["stock"].to_pylist()
    if where is not None:
        scores[[s is None or s <= 2_000 for s in stock]] = np.nan
    for at_most, k in ((1, 12), (3, 12), (2, 5)):
        seen: Counter = Counter()
        rows = []
        for row in best(scores, loaded.ids.to_pylist(), 3_000):
            if len(rows) < k and seen[brands[row]] < at_most:
                seen[brands[row]] += 1
                rows.append(row)
        request = {"z": Z, "k": k, "per": f"brand:{at_most}"}
        assert rows_of(ask(loaded, **request, **({"where": where} if where else {}))) == rows


def test_copies_are_hidden(loaded, posteriors):
    mu, log_var = posteriors
    (scores,) = reference_scores("log_likelihood", mu[2_000:2_001], None, mu, log_var, 0.1)
    order = best(scores, loaded.ids.to_pylist(), 400)
    between = distances(mu[order], log_var[order], 0.1)
    hits, _ = greedily(between, 15, 0.3)
    answer = ask(loaded, z=mu[2_000].tolist(), distinct=0.3, tolerance=0.1, k=15)
    assert rows_of(answer) == [order[hit] for hit in hits]


def test_what_a_hit_says(loaded, posteriors, items):
    mu, log_var = posteriors
    answer = ask(loaded, z=[0.31, None, 1.02], tolerance=0.2, k=9, columns=["price", "stock"])
    for hit in answer.hits:
        item = items.slice(hit.row, 1).to_pylist()[0]
        assert hit.item_id == item["item_id"]
        price = None if item["price"] is None else float(item["price"])
        assert hit.columns == {"price": price, "stock": item["stock"]}
        assert hit.mu == mu[hit.row].tolist()
        variance = np.exp(log_var[hit.row]) + 0.04
        costs = 0.5 * (np.array([0.31, 0, 1.02]) - mu[hit.row]) ** 2 / variance
        order = sorted((0, 2), key=lambda dim: -costs[dim])
        assert [one.dimension for one in hit.costliest] == order
        expected = [costs[dim] for dim in order]
        assert_same_scores([one.nats for one in hit.costliest], expected, log_var, dims=1)
        assert hit.misfit == near_score(-sum(expected), log_var, dims=2)
        assert hit.misfit + hit.volume == near_score(hit.log_likelihood, log_var, dims=3)
    assert ask(loaded, z=Z, columns=[]).hits[0].columns == {}
    assert list(ask(loaded, z=Z).hits[0].columns) == list(loaded.names)


def test_the_candidates_of_a_ranking_by_pictures(loaded):
    expected = ask(loaded, z=Z, k=200, tolerance=0.1).hits
    assert ask(loaded, z=Z, k=12, tolerance=0.1, rerank="picture").hits == expected
    few = ask(loaded, z=Z, k=12, tolerance=0.1, rerank="picture", candidates=30)
    assert few.hits == expected[:30]


REQUESTS = {
    "a point": {"z": Z, "k": 7},
    "open, with tolerances": {"z": [0.3, None, -1], "tolerance": [0.1, 0, 0.25], "k": 5},
    "far": {"z": FAR, "tolerance": 0.2, "k": 30},
    "a photo": {"z": Z, "query_log_var": LOG_VAR, "k": 4},
    "like one": {"like": ["b'1"], "exclude_self": True, "k": 4},
    "like several, unlike one": {"like": ["a=2", "-c"], "unlike": ["d $x"], "unlike_weight": 0.25},
    "like several": {"like": ["a=2", "-c"], "score": "log_likelihood", "k": 3},
    "a condition": {"z": Z, "where": "brand = 'brand é 3' and not price > 20.05", "k": 6},
    "one a brand": {"z": Z, "per": "brand", "k": 6},
    "no copies": {"z": Z, "distinct": 0.2, "tolerance": 0.1, "k": 6},
}


@pytest.fixture(scope="module")
def named(population, tmp_path_factory) -> str:
    """The population, some of whose items have names that a shell could misread."""
    ids = population.items["item_id"].to_pylist()
    ids[:5] = ["b'1", "a=2", "-c", "d $x", "--k"]
    rows = population.items.set_column(0, "item_id", [ids]).cast(SCHEMA)
    uri = str(tmp_path_factory.mktemp("named") / "a table")
    publish_rows(uri, "run", rows, "m")
    return uri


@pytest.mark.slow
@pytest.mark.spark
def test_the_command_of_an_answer_finds_the_same(spark, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load(named)
    for name, request in REQUESTS.items():
        answer = ask(loaded, **request, columns=["stock", "brand"])
        writes, _, command = answer.command.rpartition(" && ")
        if writes:
            echo, text, arrow, path = shlex.split(writes)
            assert (echo, arrow) == ("echo", ">")
            (tmp_path / path).write_text(text)
        program, job, *words = shlex.split(command)
        assert (program, job) == ("vaeudf", "query_topk")
        words += ["--output", "found", "--overwrite"]
        if SCORES[answer.score].is_log_density:
            words.append("--explain")
        query_topk(parse(QueryTopk, words))
        found = pq.read_table(tmp_path / "found").sort_by("rank").to_pylist()
        assert [row["item_id"] for row in found] == [hit.item_id for hit in answer.hits], name
        for row, hit in zip(found, answer.hits, strict=True):
            assert (row["rank"], row[answer.score]) == (hit.rank, getattr(hit, answer.score)), name
            assert {key: row[key] for key in ("stock", "brand")} == hit.columns, name
            if "misfit" in row:
                assert (row["misfit"], row["volume"]) == (hit.misfit, hit.volume), name
                own = [(one.dimension, one.nats) for one in hit.costliest]
                assert [tuple(one.values()) for one in row["costliest"]] == own, name


def test_ids_without_their_order(loaded):
    """The items of the population tie, and their ids are in no order that rows are in."""
    answer = ask(loaded, z=Z, k=200)
    scores = scores_of(answer)
    assert len(set(scores)) < len(scores)
    assert not pc.all(pc.equal(loaded.ids, loaded.ids.sort())).as_py()
