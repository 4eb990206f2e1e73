"""Every item that reaches a score: against brute force, and the same rows as a k without end."""

from __future__ import annotations

import math
import re
import shutil
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import vaeudf
from tests.support.cases import each_value_once, further_cases_slow
from tests.support.deletion_vectors import delete_items
from tests.support.folds import make_request
from tests.support.population import NUM_ITEMS, PAYLOAD, all_scores, points, queries_around
from tests.support.reference import (
    FORMS,
    KINDS,
    exact_values,
    items_and_queries,
    reference_values,
    rounding,
)
from vaeudf.errors import InputError
from vaeudf.gaussian.scores import SCORES
from vaeudf.query import above as scanning
from vaeudf.query import two_rounds
from vaeudf.query.above import Above
from vaeudf.query.all_above import all_above
from vaeudf.query.blends import blend
from vaeudf.query.bulk import top_k
from vaeudf.query.latents import Latents, from_rows
from vaeudf.search import prepared

# ---- in a task


class Kept:
    """Keeps the pairs, by the items' rows in all that was handed on."""

    def __init__(self) -> None:
        self.pairs: list[tuple[int, int, float]] = []
        self.largest = 0
        self.chunk: list[int] = []

    def begin(self, mu, log_var, items) -> None:
        self.chunk = items(np.arange(len(mu)))["place"].to_pylist()

    def take(self, queries, values, rows):
        self.largest = max(self.largest, len(rows))
        places = [self.chunk[row] for row in rows.tolist()]
        self.pairs += zip(queries.tolist(), places, values.tolist(), strict=True)
        yield pa.record_batch({"pairs": [len(rows)]})

    def end(self):
        yield from ()


def kept(request, mu, log_var, batches, deleted=(), **how) -> Kept:
    above, taker = Above(request), Kept()
    for rows in batches:
        table = pa.table({"place": rows})
        gone = np.flatnonzero(np.isin(rows, deleted))
        list(
            above.batches(
                taker,
                mu[rows],
                log_var[rows],
                lambda at, table=table: table.take(pa.array(at)),
                deleted=gone,
                **how,
            )
        )
    return taker


def expected_pairs(values, floors, deleted=()) -> dict[tuple[int, int], float]:
    reaching = values >= floors[:, None]
    reaching[:, list(deleted)] = False
    return {
        (int(query), int(row)): float(values[query, row]) for query, row in np.argwhere(reaching)
    }


@each_value_once(("name", SCORES), ("kind", KINDS))
def test_pairs_are_those_of_brute_force(monkeypatch, name, kind):
    # Several chunks and several groups of queries in each, some of which are asked twice, and the
    # tree of boxes.
    monkeypatch.setattr(scanning, "_ROWS_PER_CHUNK", 300)
    monkeypatch.setattr(scanning, "_PAIRS", 300 * 7)
    monkeypatch.setattr(scanning, "_FEW", 30)
    monkeypatch.setattr(prepared, "_SMALL", 0)
    monkeypatch.setattr(scanning, "QUERIES_WORTH_ORDER", 1)
    mu, log_var, z, query_log_var = items_and_queries(kind, 3, 12, 64, 20)
    spread = query_log_var if FORMS[name].between_gaussians else None
    request = make_request(name, z, spread)
    values = exact_values(name, request.prepared_queries(), mu, log_var)
    # The value of some item to the last bit, of the best, just above it, none and all.
    ordered = np.sort(values, axis=1)
    floors = ordered[np.arange(20), np.arange(20) * 37 % 768]
    floors[:4] = [ordered[0, -1], np.nextafter(ordered[1, -1], np.inf), np.inf, -np.inf]
    deleted = [3, 64, 65, 767]
    request = make_request(name, z, spread, floors=floors)
    batches = np.array_split(np.arange(768), [0, 500])
    for in_order in (True, False):
        found = kept(request, mu, log_var, batches, deleted, in_order=in_order)
        pairs = {(query, row): value for query, row, value in found.pairs}
        assert len(pairs) == len(found.pairs)
        assert pairs == expected_pairs(values, floors, deleted)
        assert found.largest <= 300 * 7
    # The same by a formula that the kernels do not share: only at the floor itself may they differ.
    others = reference_values(name, z, spread, mu, log_var)
    own = spread if FORMS[name].between_gaussians else None
    relative, absolute = rounding(name, own, mu, log_var, 0.0)
    with np.errstate(invalid="ignore"):
        clearly = np.abs(others - floors[:, None]) > 4 * (relative * np.abs(others) + absolute)
    clearly &= np.isfinite(others)
    is_pair = np.zeros(others.shape, bool)
    is_pair[tuple(zip(*pairs, strict=True))] = True
    clearly[:, deleted] = False
    assert (is_pair[clearly] == (others >= floors[:, None])[clearly]).all()


@each_value_once(
    ("tolerance", [0.0, (0.3, 0.0, 2.0)]), ("name", ["log_likelihood", "mahalanobis", "euclidean"])
)
def test_open_dimensions_and_tolerances(name, tolerance):
    rng = np.random.default_rng(3)
    mu, log_var, z, _ = items_and_queries("ordinary", 3, 8, 64, 30)
    z = z.copy()
    z[rng.random(z.shape) < 0.3] = np.nan
    z[np.isnan(z).all(axis=1)] = 0.0
    values = reference_values(name, z, None, mu, log_var, tolerance)
    # Between two items, and so far from both that rounding does not decide.
    floors = np.sort(values, axis=1)[:, 400:402].mean(axis=1)
    request = make_request(name, z, tolerance=tolerance, floors=floors)
    found = kept(request, mu, log_var, [np.arange(512)])
    assert {(q, row) for q, row, _ in found.pairs} == set(expected_pairs(values, floors))


# ---- on Spark

PLACES = ["table", "parquet", "frame"]


@pytest.fixture(scope="module")
def places(spark, population):
    frame = spark.read.parquet(population.parquet)
    return {"table": population.table, "parquet": population.parquet, "frame": frame}


@pytest.fixture
def several_tasks(monkeypatch):
    monkeypatch.setattr(two_rounds, "_ROWS_PER_SPLIT", 128)
    monkeypatch.setattr(two_rounds, "_COST_PER_TASK", 1.0)


def rows_of(found: pa.Table, *names) -> list[tuple]:
    return sorted(zip(*(found[name].to_pylist() for name in names), strict=True))


@pytest.mark.spark
@pytest.mark.parametrize("place", further_cases_slow(PLACES, ["table"]))
def test_every_score_to_the_last_bit(population, places, place):
    """S is the score of an item that has nine copies: all ten are hits, and none a bit above."""
    queries = queries_around(population, 12)
    ids = np.array(population.items["item_id"].to_pylist())
    copies = np.flatnonzero((population.mu == population.mu[-1]).all(axis=1))
    assert len(copies) >= 10
    parts, asked = [], []
    for number, name in enumerate(SCORES):
        tolerance = (0.0, 0.3, (0.1, 0.0, 0.7))[number % 3]
        gaussian = FORMS[name].between_gaussians
        own = queries if gaussian else points(queries)
        spread = queries.log_var if gaussian else None
        rows, scores = vaeudf.nearest(
            queries.z,
            population.mu,
            population.log_var,
            k=NUM_ITEMS,
            score=name,
            tolerance=tolerance,
            query_log_var=spread,
        )
        query = 5
        least = float(scores[query][rows[query] == copies[0]][0])
        worse = math.inf if SCORES[name].ascending else -math.inf
        for bits, limit in ((0, least), (1, math.nextafter(least, -worse))):
            hits = all_above(places[place], own, limit, score=name, tolerance=tolerance)
            score = F.col(name).alias("score")
            key = f"{name} {bits}"
            parts.append(hits.select(F.lit(key).alias("asked"), "query_id", "item_id", score))
            keep = scores <= limit if SCORES[name].ascending else scores >= limit
            expected = sorted(
                (queries.ids[q], ids[row], score)
                for q, row, score in zip(
                    np.nonzero(keep)[0], rows[keep], scores[keep].tolist(), strict=True
                )
            )
            at_limit = [item for query_id, item, _ in expected if query_id == f"q{query}"]
            assert set(ids[copies]) <= set(at_limit) or bits
            assert not set(ids[copies]) & set(at_limit) or not bits
            asked.append((key, name, tolerance, limit, expected))
    found = reduce(DataFrame.union, parts).toArrow()
    for key, name, tolerance, limit, expected in asked:
        own = found.filter(pa.compute.equal(found["asked"], key))
        assert rows_of(own, "query_id", "item_id", "score") == expected, key
        # And by the reference formula: whatever is clearly beyond the limit is not among them.
        others = all_scores(population, queries, name, tolerance)
        spread = queries.log_var if FORMS[name].between_gaussians else None
        relative, absolute = rounding(
            name, spread, population.mu, population.log_var, max(np.atleast_1d(tolerance))
        )
        clearly = np.abs(others - limit) > relative * abs(limit) + absolute + 1e-9 * abs(limit)
        is_hit = np.zeros(others.shape, bool)
        place_of = {name: row for row, name in enumerate(ids.tolist())}
        for query_id, item, _ in expected:
            is_hit[int(query_id[1:]), place_of[item]] = True
        right = others <= limit if SCORES[name].ascending else others >= limit
        assert (is_hit[clearly] == right[clearly]).all()


@pytest.mark.spark
def test_a_payload_column_named_rank(population, places):
    frame = places["frame"].withColumnRenamed("stock", "rank")
    (z,) = queries_around(population, 1).z
    hits = all_above(frame, z, -6.0, columns=["rank"]).toArrow()
    assert hits.column_names == ["query_id", "item_id", "log_likelihood", "rank"]
    ids, stock = (population.items[name].to_pylist() for name in ("item_id", "stock"))
    stock_of = dict(zip(ids, stock, strict=True))
    assert hits.num_rows
    assert hits["rank"].to_pylist() == [stock_of[name] for name in hits["item_id"].to_pylist()]


@pytest.mark.spark
@pytest.mark.parametrize("place", further_cases_slow(PLACES, ["table"]))
def test_the_same_rows_as_a_k_without_end(population, places, several_tasks, place):
    queries = points(queries_around(population, 40))
    z = queries.z.copy()
    z[3, 1] = z[7, 0] = np.nan
    queries = Latents(queries.ids, z)
    taus = np.random.default_rng(1).choice([0.1, 0.3, 0.5], (40, 3))
    asked = {"tolerance": taus, "columns": PAYLOAD.names, "explain": True}
    hits = all_above(places[place], queries, -6.0, **asked)
    expected = top_k(places[place], queries, NUM_ITEMS, min_score=-6.0, **asked)
    assert hits.columns == [name for name in expected.columns if name != "rank"]
    assert dict(hits.dtypes) == {name: kind for name, kind in expected.dtypes if name != "rank"}
    found, expected = (
        frame.toArrow().sort_by([("query_id", "ascending"), ("item_id", "ascending")])
        for frame in (hits, expected.drop("rank"))
    )
    assert 1_000 < found.num_rows < 40 * NUM_ITEMS
    assert found.to_pylist() == expected.to_pylist()


@pytest.mark.spark
@pytest.mark.parametrize("name", further_cases_slow(["log_likelihood", "kl"], ["kl"]))
def test_blends_without_their_members(population, name):
    """Weighted means with dislikes: the same rows as a k without end."""
    ids = population.items["item_id"].to_pylist()
    members = [7, 2_990, 31, 500, 8, 9]
    likes = from_rows(
        population.mu[members], [ids[row] for row in members], population.log_var[members]
    )
    queries = blend(likes, ["a", "a", "a", "b", "b", "b"], [1.0, 0.5, -0.3, 1.0, 1.0, 2.0])
    asked = {"score": name, "tolerance": 0.3, "exclude_self": True}
    asked["explain"] = name == "log_likelihood"
    limit = 30.0 if name == "kl" else -30.0
    hits = all_above(population.table, queries, limit, **asked)
    expected = top_k(population.table, queries, NUM_ITEMS, min_score=limit, **asked)
    found, right = (
        frame.toArrow().sort_by([("query_id", "ascending"), ("item_id", "ascending")])
        for frame in (hits, expected.drop("rank"))
    )
    assert found.num_rows > 10
    assert found.to_pylist() == right.to_pylist()


@pytest.mark.spark
def test_items_like_items_without_themselves(population):
    ids = population.items["item_id"].to_pylist()
    asked = [5, 900, 2_990]  # the last one has copies
    latents = from_rows(
        population.mu[asked], [ids[row] for row in asked], population.log_var[asked]
    )
    hits = all_above(population.table, latents, 0.0, exclude_self=True).toArrow()
    same = [
        (ids[row], ids[other])
        for row in asked
        for other in np.flatnonzero((population.mu == population.mu[row]).all(axis=1))
        if other != row
    ]
    assert rows_of(hits, "query_id", "item_id") == sorted(same) and len(same) >= 9
    assert set(hits["kl"].to_pylist()) == {0.0}


@pytest.mark.spark
def test_deleted_rows_are_no_items(spark, population, tmp_path):
    uri = str(tmp_path / "table")
    shutil.copytree(population.table, uri)
    ids = np.array(population.items["item_id"].to_pylist())
    gone = np.random.default_rng(1).random(len(ids)) < 0.3
    delete_items(uri, ids[gone].tolist())
    queries = points(queries_around(population, 8))
    found = all_above(uri, queries, -10.0, tolerance=0.2).toArrow()
    scores = all_scores(population, queries, "log_likelihood", 0.2)
    assert np.abs(scores + 10).min() > 1e-9
    expected = [
        (f"q{query}", ids[row]) for query, row in np.argwhere((scores >= -10) & ~gone).tolist()
    ]
    assert rows_of(found, "query_id", "item_id") == sorted(expected) and len(expected) > 100


@pytest.mark.spark
def test_one_row_group_of_any_size_is_searched_in_chunks(spark, population, tmp_path, monkeypatch):
    """Plain Parquet of others; and what reaches no query is not read."""
    pq.write_table(population.items, tmp_path / "one.parquet", row_group_size=NUM_ITEMS)
    monkeypatch.setattr(scanning, "_ROWS_PER_CHUNK", 100)
    queries = points(queries_around(population, 3))
    found = all_above(str(tmp_path), queries, -1e9).toArrow()
    assert found.num_rows == 3 * NUM_ITEMS
    assert len(set(rows_of(found, "query_id", "item_id"))) == 3 * NUM_ITEMS
    assert all_above(population.table, queries, 1e9).toArrow().num_rows == 0


@pytest.mark.spark
def test_what_is_refused(spark, population):
    for limit in (math.nan, math.inf):
        message = f"min-score is {limit}; expected a finite number."
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            all_above(population.table, np.zeros(3), limit)
    with pytest.raises(InputError, match=r"^explain is for log_likelihood, but the score is eucl"):
        all_above(population.table, np.zeros(3), 1.0, score="euclidean", explain=True)
    with pytest.raises(InputError, match=r"^query '0' has 2 dimensions, but the posteriors have"):
        all_above(population.table, np.zeros(2), 1.0)
    with pytest.raises(InputError, match=r"^the posteriors have no column 'colour' to carry"):
        all_above(population.table, np.zeros(3), 1.0, columns=["colour"])
