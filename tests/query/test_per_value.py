"""At most N hits of each value of a column: against float64 brute force and a greedy count."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cases import each_value_once, further_cases_slow
from tests.support.folds import gaussians, hits, make_request, posteriors
from tests.support.reference import reference_scores
from vaeudf.errors import InputError
from vaeudf.gaussian.scores import SCORES
from vaeudf.query.bulk import top_k
from vaeudf.query.latents import from_rows
from vaeudf.query.merge import TopK
from vaeudf.query.options import QueryOptions
from vaeudf.query.per_value import Per
from vaeudf.query.task import Fold
from vaeudf.search import engine, prepared
from vaeudf.search.index import PosteriorIndex
from vaeudf.search.once import nearest


def greedy(pairs, value_of, k: int, at_most: int, ascending: bool = False) -> list[str]:
    """Go through all items from the best on, and count."""
    sign = 1 if ascending else -1
    seen: Counter[object] = Counter()
    kept: list[str] = []
    for name, _ in sorted(pairs, key=lambda pair: (sign * pair[1], pair[0].encode())):
        if len(kept) < k and seen[value_of[name]] < at_most:
            seen[value_of[name]] += 1
            kept.append(name)
    return kept


def fold_in_batches(request, items, values, batches, *, in_order: bool = True) -> Fold:
    ids, mu, log_var = items
    fold = Fold(request, np.arange(len(request.queries)))
    table = pa.table({"item_id": ids, "kind": values})
    for rows in batches:
        own = table.take(pa.array(rows))
        fold.add(
            mu[rows],
            log_var[rows],
            lambda at, own=own: own.take(pa.array(at)),
            in_order=in_order,
        )
    return fold


@pytest.fixture(params=["directly", "filtered", "bounded"])
def way(request, monkeypatch) -> str:
    monkeypatch.setattr(prepared, "_SMALL", 10**9 if request.param == "directly" else 0)
    if request.param == "bounded":
        monkeypatch.setattr(engine, "_FEWEST_FOR_BOUNDS", 1)
        monkeypatch.setattr(engine, "_WORTH_BOUNDS", 2.0)
    return request.param


KINDS = {
    "one value": lambda rng, count: ["dress"] * count,
    "all distinct": lambda rng, count: [f"v{i}" for i in range(count)],
    "few, with nulls": lambda rng, count: rng.choice(["a", "b", "", None], count).tolist(),
    "many": lambda rng, count: rng.integers(0, 200, count).tolist(),
    "one rules": lambda rng, count: np.where(rng.random(count) < 0.97, 7, np.arange(count) % 5),
    "all null": lambda rng, count: pa.nulls(count, pa.string()),
}


@each_value_once(("name", ["log_likelihood", "euclidean", "kl"]), ("kind", KINDS))
def test_batches_in_any_order_give_the_best_under_the_limit(name, kind, way):
    rng = np.random.default_rng(len(kind))
    # Items come in threes that score the same, so ids decide, within a value and across values.
    items = posteriors(900, 3, copies=3)
    values = pa.array(KINDS[kind](rng, 900))
    z, log_var = gaussians(9, 3)
    spreads = log_var if SCORES[name].between_gaussians else None
    scores = reference_scores(name, z, spreads, *items[1:], tolerance=0.0)
    value_of = dict(zip(items[0], values.to_pylist(), strict=True))
    for pieces, k, at_most in [(1, 10, 1), (4, 10, 2), (3, 40, 7), (2, 1, 1), (5, 1000, 3)]:
        batches = np.array_split(rng.permutation(900), pieces)
        request = make_request(name, z, spreads, k=k, columns=("kind",), per=Per("kind", at_most))
        fold = fold_in_batches(request, items, values, batches, in_order=pieces % 2 == 0)
        found = hits(fold)
        for query, row in enumerate(scores.tolist()):
            pairs = list(zip(items[0], row, strict=True))
            expected = greedy(pairs, value_of, k, at_most, SCORES[name].ascending)
            assert [name for name, _ in found[query]] == expected, (pieces, k, at_most, query)


@pytest.mark.slow
def test_large_batches_with_thousands_of_values():
    rng = np.random.default_rng(3)
    items = posteriors(9_000, 4, copies=2)
    values = pa.array(rng.integers(0, 3_000, 9_000))
    z, _ = gaussians(600, 4)
    request = make_request("log_likelihood", z, k=12, columns=("kind",), per=Per("kind", 1))
    batches = np.array_split(rng.permutation(9_000), 2)
    found = hits(fold_in_batches(request, items, values, batches, in_order=False))
    value_of = dict(zip(items[0], values.to_pylist(), strict=True))
    scores = reference_scores("log_likelihood", z, None, *items[1:], tolerance=0.0)
    for query in range(0, 600, 7):
        pairs = list(zip(items[0], scores[query].tolist(), strict=True))
        assert [name for name, _ in found[query]] == greedy(pairs, value_of, 12, 1)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from([-np.inf, -2.0, -1.0, 0.0, 3.0]),
            st.sampled_from(["a", "b", None, "c"]),
        ),
        max_size=40,
    ),
    st.integers(1, 6),
    st.integers(1, 4),
    st.lists(st.integers(0, 40), max_size=3),
)
@settings(deadline=None, max_examples=200)
def test_merging_is_greedy_counting(rows, k, at_most, cuts):
    best = TopK(k, np.full(3, -np.inf), Per("kind", at_most))
    everything = [(q, value, kind, f"é{i}") for i, (q, value, kind) in enumerate(rows)]
    edges = sorted(min(cut, len(rows)) for cut in cuts)
    for start, stop in zip([0, *edges], [*edges, len(rows)], strict=True):
        part = everything[start:stop]
        best.add(
            np.array([row[0] for row in part], np.int64),
            np.array([row[1] for row in part]),
            pa.table(
                {
                    "item_id": pa.array([row[3] for row in part], pa.string()),
                    "kind": pa.array([row[2] for row in part], pa.string()),
                }
            ),
        )
        best._merge()
    queries, _, table = best.result()
    names = [] if table is None else table["item_id"].to_pylist()
    value_of = {row[3]: row[2] for row in everything}
    for query in range(3):
        pairs = [(row[3], row[1]) for row in everything if row[0] == query]
        found = [name for q, name in zip(queries.tolist(), names, strict=True) if q == query]
        expected = greedy(pairs, value_of, k, at_most)
        assert found == expected
        # A floor says nothing of items that are still wanted.
        if len(expected) == k:
            assert best.floors[query] <= dict(pairs)[expected[-1]]


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=40),
    st.integers(1, 8),
    st.integers(1, 3),
    st.integers(0, 5),
    st.randoms(),
)
def test_what_is_asked_for_suffices_without_any_items(kinds, k, at_most, number, random):
    pairs = [(f"{i:02}", float(-i)) for i in range(len(kinds))]
    value_of = {f"{i:02}": kind for i, kind in enumerate(kinds)}
    # Those of the front are the ones that matter.
    own = set(random.sample(sorted(value_of)[: 3 * k + number], min(number, len(kinds))))
    asked_for, per = Per("kind", at_most).with_more(number, k)
    asked = greedy(pairs, value_of, asked_for, per.at_most)
    left = [(name, value) for name, value in pairs if name in asked and name not in own]
    everything = [(name, value) for name, value in pairs if name not in own]
    expected = greedy(everything, value_of, k, at_most)
    assert greedy(left, value_of, k, at_most) == expected


def test_what_is_asked_for_grows_with_what_is_left_out():
    assert Per("kind").with_more(1_000, 10) == (10_010, Per("kind", 1_001))
    assert Per("kind", 20).with_more(3, 10) == (13, Per("kind", 23))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=30),
    st.integers(1, 8),
    st.integers(1, 3),
    st.data(),
)
def test_what_is_asked_for_suffices_without_any_one_item(rows, k, at_most, data):
    pairs = [(f"{i:02}", float(value)) for i, (_, value) in enumerate(rows)]
    value_of = {f"{i:02}": kind for i, (kind, _) in enumerate(rows)}
    own = data.draw(st.sampled_from(sorted(value_of)))
    latents = from_rows(np.zeros((1, 2)), None, np.zeros((1, 2)))
    options = QueryOptions(k=k, exclude_self=True, per=Per("kind", at_most))
    request = options.request_for(latents)
    assert request.per is not None
    asked = greedy(pairs, value_of, request.k, request.per.at_most)
    left = [(name, value) for name, value in pairs if name in asked and name != own]
    everything = [(name, value) for name, value in pairs if name != own]
    expected = greedy(everything, value_of, k, at_most)
    assert greedy(left, value_of, k, at_most) == expected


@pytest.mark.parametrize(
    ("given_as", "column", "at_most"),
    [
        ("category", "category", 1),
        ("category:2", "category", 2),
        ("a:b:3", "a:b", 3),
        (("a:b", 4), "a:b", 4),
    ],
)
def test_how_it_is_written(given_as, column, at_most):
    assert Per.of(given_as) == Per(column, at_most)


@pytest.mark.parametrize(
    ("given_as", "message"),
    [
        (
            "a:b",
            "per is 'a:b'; expected COLUMN or COLUMN:N, with N at least 1, such as category:2; "
            "for the column 'a:b' say a:b:1.",
        ),
        (":2", "per is ':2'; expected COLUMN or COLUMN:N, with N at least 1, such as category:2."),
        ("", "per is ''; expected COLUMN or COLUMN:N, with N at least 1, such as category:2."),
        ("c:0", "per is 'c:0'; expected COLUMN or COLUMN:N, with N at least 1"),
        ("c:-1", "per is 'c:-1'; expected COLUMN or COLUMN:N, with N at least 1"),
        ("c:1.5", "per is 'c:1.5'; expected COLUMN or COLUMN:N, with N at least 1"),
        (("c", 0), "per is 'c' and 0; expected the name of a payload column, and how many items"),
        (("c", True), "per is 'c' and True; expected the name of a payload column"),
        (("c",), "per is ('c',); expected such as \"category:2\"."),
    ],
)
def test_what_is_refused(given_as, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        Per.of(given_as)


# ---- in memory


def test_in_memory():
    rng = np.random.default_rng(11)
    ids, mu, log_var = posteriors(3_000, 3, copies=2)
    values = rng.choice(["a", "b", "c", "d"], 3_000)
    z = rng.normal(size=(300, 3))
    scores = reference_scores("log_likelihood", z, None, mu, log_var, tolerance=0.0)
    names, _ = PosteriorIndex(mu, log_var, ids=ids).search(z, 6, per=(values, 2))
    rows, _ = nearest(z, mu, log_var, 6, per=(values, 2))
    places = [f"{row:04}" for row in range(3_000)]
    for query, row in enumerate(scores.tolist()):
        pairs, by_row = (list(zip(some, row, strict=True)) for some in (ids, places))
        value_of = dict(zip(ids, values.tolist(), strict=True))
        assert names[query].tolist() == greedy(pairs, value_of, 6, 2)
        value_of = dict(zip(places, values.tolist(), strict=True))
        assert [f"{at:04}" for at in rows[query]] == greedy(by_row, value_of, 6, 2)
    with pytest.warns(UserWarning, match="^k = 10 but per allows only 8 items: returning these"):
        assert nearest(z, mu, log_var, 10, per=(values, 2))[0].shape == (300, 8)
    message = "per has values of shape (2,); expected (3000,), one per item."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        nearest(z, mu, log_var, per=(["a", "b"], 2))
    message = "per allows 0 items of a value; expected at least 1."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        nearest(z, mu, log_var, per=(values, 0))


# ---- on Spark


def check_on_spark(posteriors_at, table, column, z, k, per, **options) -> None:
    at_most = Per.of(per).at_most
    rows = top_k(posteriors_at, z, k, per=per, **options).collect()
    assert rows[0].asDict().keys() >= {"query_id", "rank", "item_id", column}
    ids, mu, log_var = (table[name].to_pylist() for name in ("item_id", "mu", "log_var"))
    value_of = dict(zip(ids, table[column].to_pylist(), strict=True))
    means, log_vars = np.array(mu, np.float32), np.array(log_var, np.float32)
    scores = reference_scores("log_likelihood", z, None, means, log_vars, tolerance=0.0)
    for query, row in enumerate(scores.tolist()):
        own = sorted((r for r in rows if r.query_id == str(query)), key=lambda r: r["rank"])
        expected = greedy(zip(ids, row, strict=True), value_of, k, at_most)
        assert [r.item_id for r in own] == expected, query
        assert [r["rank"] for r in own] == list(range(1, len(expected) + 1))
        assert [r[column] for r in own] == [value_of[name] for name in expected]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Items in several files of several row groups, every third of which has a twin."""
    rng = np.random.default_rng(5)
    ids, mu, log_var = posteriors(4_000, 3, copies=2)
    table = pa.table(
        {
            "item_id": ids,
            "mu": pa.array(list(mu), pa.list_(pa.float32())),
            "log_var": pa.array(list(log_var), pa.list_(pa.float32())),
            "a:b": pa.array(rng.integers(0, 1500, 4_000), pa.int32()),
            "kind": rng.choice(["a", "b", "c", None], 4_000).tolist(),
            "new": pa.array(rng.random(4_000) < 0.1),
            "price": rng.random(4_000),
        }
    )
    folder = tmp_path_factory.mktemp("per")
    for part in range(4):
        own = table.slice(part * 1_000, 1_000)
        pq.write_table(own, folder / f"part-{part}.parquet", row_group_size=300)
    return str(folder), table


@pytest.mark.spark
@pytest.mark.parametrize(
    ("column", "per", "k"),
    further_cases_slow(
        [("a:b", "a:b:1", 10), ("kind", "kind:2", 10), ("new", "new:3", 4)],
        [("kind", "kind:2", 10)],
        several=True,
    ),
)
def test_spark_counts_greedily(spark, many, column, per, k):
    folder, table = many
    z = np.random.default_rng(1).normal(size=(7, 3))
    check_on_spark(folder, table, column, z, k, per)
    frame = spark.read.parquet(folder).repartition(5)
    check_on_spark(frame, table, column, z, k, per)


@pytest.mark.spark
def test_other_types_are_refused(spark, many):
    message = (
        "per is the column 'price', which holds double; expected text, whole numbers, decimals, "
        "booleans, dates or times."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        top_k(many[0], np.zeros(3), per="price")
    message = "the posteriors have no column 'colour' to carry into the result; found "
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        top_k(many[0], np.zeros(3), per="colour")


@pytest.mark.spark
def test_the_item_itself_takes_no_place_of_its_value(spark, many):
    folder, table = many
    ids = table["item_id"].to_pylist()
    mu, log_var = (np.array(table[name].to_pylist()) for name in ("mu", "log_var"))
    value_of = dict(zip(ids, table["kind"].to_pylist(), strict=True))
    asked = [3, 1_500, 3_999]
    latents = from_rows(mu[asked], [ids[row] for row in asked], log_var[asked])
    rows = top_k(folder, latents, 5, per=("kind", 2), exclude_self=True).collect()
    scores = reference_scores("kl", mu[asked], log_var[asked], mu, log_var, tolerance=0.0)
    for place, row in enumerate(asked):
        own = sorted((r for r in rows if r.query_id == ids[row]), key=lambda r: r["rank"])
        pairs = [p for p in zip(ids, scores[place].tolist(), strict=True) if p[0] != ids[row]]
        assert [r.item_id for r in own] == greedy(pairs, value_of, 5, 2, ascending=True)
