"""Distinct and diverse hits of bulk queries on Spark, against greedy loops over whole rankings."""

from __future__ import annotations

import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cases import further_cases_slow
from tests.support.oracles import log_density_by_torch
from tests.support.selections import distances, greedily, marginally
from vaeudf.errors import InputError
from vaeudf.query import choosing
from vaeudf.query.bulk import plan, top_k
from vaeudf.query.latents import from_rows
from vaeudf.query.options import QueryOptions
from vaeudf.query.per_value import Per

pytestmark = pytest.mark.spark

N = 3


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """Plain Parquet of several row groups, where 300 items are copies of one of two."""
    rng = np.random.default_rng(5)
    mu = np.vstack([rng.normal(size=(200, N)), np.zeros((200, N)), np.full((100, N), 0.5)])
    log_var = np.vstack([rng.normal(-2, 1, size=(200, N)), np.full((300, N), -2.0)])
    order = rng.permutation(500)
    mu, log_var = mu[order].astype("f4"), log_var[order].astype("f4")
    ids = [f"item-{i:03}" for i in rng.permutation(500)]
    table = pa.table(
        {
            "item_id": ids,
            "mu": pa.array(list(mu)),
            "log_var": pa.array(list(log_var)),
            "price": pa.array(rng.integers(0, 9, 500), pa.int32()),
        }
    )
    folder = tmp_path_factory.mktemp("plain")
    pq.write_table(table, folder / "a.parquet", row_group_size=90)
    return str(folder), np.array(ids), mu.astype(float), log_var.astype(float), table


# The first two meet the copies first; the third is far from them and is done in one round.
Z = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.1], [9.0, 9.0, 9.0]])


def orders(ids, scores):
    return [np.lexsort((ids, -row)) for row in scores]


def found(frame, columns=("item_id", "hidden")):
    rows = sorted(frame.collect(), key=lambda row: (row.query_id, row["rank"]))
    hits: dict[str, list] = {}
    for row in rows:
        own = hits.setdefault(row.query_id, [])
        own.append(tuple(row[name] for name in columns))
        assert row["rank"] == len(own)
    return hits


def test_hits_are_distinct_whatever_stands_in_front(spark, catalog, monkeypatch):
    path, ids, mu, log_var, _ = catalog
    between = distances(mu, log_var)
    asked = []
    search = choosing._chosen
    monkeypatch.setattr(
        choosing, "_chosen", lambda *args: asked.append(args[1].asked) or search(*args)
    )
    answer = found(top_k(path, Z, 4, distinct=0.05))
    for number, order in enumerate(orders(ids, log_density_by_torch(Z, mu, log_var))):
        hits, hidden = greedily(between[np.ix_(order, order)], 4, 0.05)
        assert answer[str(number)] == list(zip(ids[order[hits]], hidden, strict=True))
    assert sum(hidden for _, hidden in answer["0"]) >= 199
    assert len(asked) >= 3


@pytest.mark.slow
def test_distinct_among_what_passes(spark, catalog):
    path, ids, mu, log_var, table = catalog
    scores = log_density_by_torch(Z, mu, log_var)
    # As of the 250th best of the first query: copies, and then a few others.
    limit = float(np.sort(scores[0])[-250]) - 1e-9
    frame = spark.read.parquet(path)
    options = {"distinct": 0.02, "min_score": limit, "columns": ["mu", "price"]}
    price = dict(zip(ids, table["price"].to_pylist(), strict=True))
    means = dict(zip(ids, mu.tolist(), strict=True))
    for source in (path, frame):
        hits_of = top_k(source, Z, 600, **options)
        assert hits_of.columns == [
            *("query_id", "rank", "item_id", "log_likelihood", "mu", "price", "hidden")
        ]
        answer = found(hits_of, ("item_id", "hidden", "price", "mu"))
        expected = {}
        for number, order in enumerate(orders(ids, scores)):
            order = order[scores[number][order] >= limit]
            hits, hidden = greedily(distances(mu[order], log_var[order]), 600, 0.02)
            names = ids[order[hits]]
            if len(names):
                expected[str(number)] = [
                    (name, count, price[name], means[name])
                    for name, count in zip(names, hidden, strict=True)
                ]
        assert answer == expected
        assert "2" not in answer


@pytest.mark.slow
def test_items_themselves_hide_nothing_if_they_are_left_out(spark, catalog):
    path, ids, mu, log_var, _ = catalog
    place = int(np.flatnonzero((mu == 0).all(axis=1))[0])
    query = from_rows([mu[place]], [ids[place]], [log_var[place]])
    options = QueryOptions(k=3, distinct=0.01, exclude_self=True, score="bhattacharyya")
    answer = found(plan(path, query, options).hits)[ids[place]]
    row = distances(mu, log_var)[place]
    order = np.array([i for i in np.lexsort((ids, np.round(row, 12))) if i != place])
    hits, hidden = greedily(distances(mu[order], log_var[order]), 3, 0.01)
    assert answer == list(zip(ids[order[hits]], hidden, strict=True))
    assert hidden[0] == 198


@pytest.mark.parametrize("candidates", further_cases_slow([None, 220, 10_000], [220]))
def test_hits_are_diverse(spark, catalog, candidates):
    path, ids, mu, log_var, _ = catalog
    scores = log_density_by_torch(Z, mu, log_var)
    frame = top_k(path, Z, 5, diversify=0.4, candidates=candidates)
    assert frame.columns == ["query_id", "rank", "item_id", "log_likelihood"]
    answer = found(frame, ("item_id",))
    for number, order in enumerate(orders(ids, scores)):
        order = order[: candidates or 50]
        between = distances(mu[order], log_var[order])
        hits = marginally(between, scores[number][order], 5, 0.4)
        assert answer[str(number)] == [(name,) for name in ids[order[hits]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distinct": 0.0}, "distinct is 0.0; expected a number of nats above 0."),
        ({"distinct": math.nan}, "distinct is nan; expected a number of nats above 0."),
        ({"diversify": 0.0}, "diversify is 0.0; expected a number above 0 and at most 1."),
        ({"diversify": 1.5}, "diversify is 1.5; expected a number above 0 and at most 1."),
        ({"candidates": 50}, "candidates goes with diversify; name that, too."),
        (
            {"diversify": 0.5, "candidates": 9},
            "candidates is 9, but k is 10; expected at least as many.",
        ),
        (
            {"distinct": 0.5, "diversify": 0.5},
            "distinct and diversify exclude each other; name one of them.",
        ),
        (
            {"diversify": 0.5, "per": Per.of("price")},
            "diversify and per exclude each other; name one of them.",
        ),
        (
            {"distinct": 0.5, "columns": ("hidden",)},
            "column 'hidden' is in the result of distinct already; leave it out.",
        ),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        QueryOptions(**options)
