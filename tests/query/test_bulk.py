"""Spark's answer against torch.distributions and a sort."""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import vaeudf
from tests.support.bulk import (
    oracle,
)
from tests.support.cases import further_cases_slow
from tests.support.population import (
    NUM_ITEMS,
    PAYLOAD,
    SIZE,
    all_scores,
    assert_hits,
    points,
    queries_around,
)
from tests.support.scene import LATENT_DIM
from tests.support.tolerances import (
    assert_same_scores,
    assert_within,
    near_score,
    score_bound,
    score_rounding,
)
from vaeudf.errors import InputError, TableError, root_cause
from vaeudf.gaussian import log_prob
from vaeudf.gaussian.scores import SCORES
from vaeudf.query import two_rounds as table_search
from vaeudf.query.bulk import plan, posteriors_of, top_k
from vaeudf.query.latents import from_rows
from vaeudf.query.options import QueryOptions
from vaeudf.table.open import open_posteriors
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

pytestmark = pytest.mark.spark


def posteriors(count: int, n: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "item_id": [f"item-{i}" for i in rng.permutation(count)],
            "mu": pa.array(list(rng.normal(size=(count, n)).astype("f4"))),
            "log_var": pa.array(list(rng.normal(-2, 1, size=(count, n)).astype("f4"))),
        }
    )


def answer(frame, queries, k: int) -> dict[str, list[tuple[str, float]]]:
    rows = top_k(frame, queries, k).collect()
    found: dict[str, list[tuple[str, float]]] = {}
    for row in sorted(rows, key=lambda row: (row.query_id, row.rank)):
        hits = found.setdefault(row.query_id, [])
        hits.append((row.item_id, row.log_likelihood))
        assert row.rank == len(hits)
    return found


def check(frame, table: pa.Table, z: np.ndarray, k: int) -> None:
    found = answer(frame, z, k)
    log_var = np.stack(table["log_var"].to_numpy())
    for number, expected in enumerate(oracle(table, z, k)):
        hits = found[str(number)]
        assert [item for item, _ in hits] == [item for item, _ in expected]
        scores = ([score for _, score in some] for some in (hits, expected))
        assert_same_scores(*scores, log_var, dims=log_var.shape[1])


@pytest.mark.parametrize("n", further_cases_slow([1, 2, 10, 64], [10]))
def test_equals_the_definition(spark, n):
    table = posteriors(300, n)
    z = np.random.default_rng(1).normal(size=(5, n))
    check(spark.createDataFrame(table.to_pandas()), table, z, 7)


@pytest.mark.parametrize("partitions", further_cases_slow([1, 4, 20], [4]))
def test_partitions_do_not_matter(spark, partitions):
    table = posteriors(50, 3)
    frame = spark.createDataFrame(table.to_pandas()).repartition(partitions)
    check(frame, table, np.array([[0.0, 0, 0], [9, 9, 9]]), 10)


def test_ties_go_by_item_id(spark):
    ids = ["b", "a", "B", "é", "z", "日本", "😀", "aa"]
    table = pa.table({"item_id": ids, "mu": [[1.0, 2.0]] * 8, "log_var": [[0.5, 0.5]] * 8})
    frame = spark.createDataFrame(table.to_pandas()).repartition(5)
    hits = answer(frame, [[0.0, 0.0]], 6)["0"]
    assert [item for item, _ in hits] == ["B", "a", "aa", "b", "z", "é"]


def test_more_asked_than_there_are(spark):
    table = posteriors(4, 2)
    check(spark.createDataFrame(table.to_pandas()), table, np.zeros((2, 2)), 10)


def test_float64_posteriors_are_not_rounded(spark):
    frame = spark.createDataFrame(
        [("a", [1.0], [0.0]), ("b", [1.0 + 1e-12], [0.0])],
        "item_id string, mu array<double>, log_var array<double>",
    )
    assert [item for item, _ in answer(frame, [[2.0]], 2)["0"]] == ["b", "a"]


def test_numeric_ids_and_names_of_queries(spark):
    frame = spark.createDataFrame(
        [(7, [0.0], [0.0])], "item_id long, mu array<float>, log_var array<float>"
    )
    found = answer(frame, from_rows([[0.0], [1.0]], ["first", "second"]), 1)
    assert found["first"] == [("7", near_score(-0.9189385332046727, dims=1))]
    assert set(found) == {"first", "second"}


def test_public_name_is_the_function(spark):
    table = posteriors(5, 2)
    assert vaeudf.top_k(spark.createDataFrame(table.to_pandas()), [0.0, 0.0], 2).count() == 2


def refused(message: str, *arguments) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        top_k(*arguments)


def test_bad_arguments(spark, tmp_path):
    frame = spark.createDataFrame(posteriors(5, 2).to_pandas())
    refused("k is 0; expected at least 1", frame, [[0.0, 0.0]], 0)
    refused("leaves every dimension open", frame, [[np.nan, np.nan]], 1)
    refused("has inf in dimension 0", frame, [[np.inf, 0.0]], 1)
    refused("there are no queries", frame, np.empty((0, 2)), 1)
    refused("no column log_var; found item_id, mu", frame.drop("log_var"), [[0.0, 0.0]], 1)
    refused("column mu holds string", frame.withColumn("mu", frame.item_id), [[0.0, 0.0]], 1)
    with pytest.raises(TableError, match="does not exist"):
        top_k(str(tmp_path / "none"), [[0.0, 0.0]], 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", [1.0, 2.0, 3.0], [0.0, 0.0]), "item 'a' has a mu of 3 numbers"),
        (("a", [1.0, 2.0], None), "item 'a' has a log_var of 0 numbers"),
        (("a", [1.0, float("nan")], [0.0, 0.0]), "item 'a' has a mu that is null, NaN or infinite"),
        (("a", [1.0, None], [0.0, 0.0]), "item 'a' has a mu that is null, NaN or infinite"),
        ((None, [1.0, 2.0], [0.0, 0.0]), "an item_id that is null"),
    ],
)
def test_posteriors_that_do_not_fit(spark, row, message):
    frame = spark.createDataFrame([row], "item_id string, mu array<float>, log_var array<float>")
    with pytest.raises(Exception, match=re.escape(message)):
        top_k(frame, [[0.0, 0.0]], 1).collect()


@pytest.mark.parametrize("kind", ["float", "array<string>"])
def test_posteriors_that_are_no_arrays_of_numbers(spark, kind):
    row = "item_id string, mu array<float>, log_var "
    frame = spark.createDataFrame([], f"{row}{kind}")
    message = f"column log_var holds {kind}; expected an array of numbers."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        top_k(frame, [[0.0, 0.0]], 1)


@pytest.mark.slow
def test_slices_of_a_larger_batch(spark, tmp_path):
    """Arrow arrays that do not begin at the start of their buffer."""
    table = posteriors(2000, 2)
    path = str(tmp_path / "p.parquet")
    pq.write_table(table, path, row_group_size=300)
    check(
        spark.read.parquet(path).limit(1500).where("item_id != 'item-3'"),
        pa.Table.from_pandas(
            spark.read.parquet(path).limit(1500).where("item_id != 'item-3'").toPandas()
        ),
        np.zeros((1, 2)),
        5,
    )


@pytest.mark.classic
def test_root_cause_in_the_jvm_and_in_a_worker(spark):
    frame = spark.createDataFrame(posteriors(2, 2).to_pandas())
    with pytest.raises(Exception) as caught:
        frame.selectExpr("raise_error('on purpose')").collect()
    assert "on purpose" in root_cause(caught.value) and "\n" not in root_cause(caught.value)

    def fails(batches):
        raise ModuleNotFoundError("No module named 'nothing'")
        yield from batches

    with pytest.raises(Exception) as caught:
        frame.mapInArrow(fails, "x int").collect()
    assert root_cause(caught.value) == "ModuleNotFoundError: No module named 'nothing'"
    with pytest.raises(Exception) as caught:
        spark._jvm.org.apache.hadoop.fs.Path("nothing://x").getFileSystem(
            spark._jsc.hadoopConfiguration()
        )
    assert root_cause(caught.value) == 'No FileSystem for scheme "nothing"'


@pytest.mark.slow
def test_from_another_thread(spark, parquet_catalog, bundle_path, tmp_path):
    """A session is active in the thread that made it only; it must be found and left running."""
    table = str(tmp_path / "t")

    def in_a_thread() -> int:
        encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table))
        return top_k(table, np.zeros((2, LATENT_DIM)), 3).count()

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(in_a_thread).result() == 6
    assert spark.range(3).count() == 3


# ---- a table with boxes, plain Parquet without, and a DataFrame

PLACES = ["table", "parquet", "frame"]


@pytest.fixture(scope="module")
def places(spark, population) -> dict[str, Any]:
    frame = spark.read.parquet(population.parquet)
    return {"table": population.table, "parquet": population.parquet, "frame": frame}


@pytest.mark.parametrize("place", further_cases_slow(PLACES, ["table"]))
def test_every_score(population, places, place):
    """In one job; the rest of the combinations are in test_table_search."""
    queries = queries_around(population, 30)
    asked = [(name, 0.3 * (number % 2)) for number, name in enumerate(SCORES)]
    parts = []
    for name, tolerance in asked:
        hits = top_k(places[place], queries, 10, score=name, tolerance=tolerance)
        score = F.col(name).alias("found")
        parts.append(hits.select(F.lit(name).alias("score"), "query_id", "rank", "item_id", score))
    found = reduce(DataFrame.union, parts).toArrow()
    for name, tolerance in asked:
        own = found.filter(pa.compute.equal(found["score"], name))
        own = own.rename_columns(["score", "query_id", "rank", "item_id", name])
        assert_hits(population, own, queries, name, 10, tolerance)


@pytest.mark.parametrize("place", further_cases_slow(PLACES, ["table"]))
def test_as_many_as_there_are(population, places, place):
    queries = queries_around(population, 2)
    found = top_k(places[place], queries, NUM_ITEMS + 5).toArrow()
    assert_hits(population, found, queries, "kl", NUM_ITEMS + 5)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_many_queries_with_all_that_can_be_asked_for(population, places, monkeypatch, place):
    # Several tasks with several splits each.
    monkeypatch.setattr(table_search, "_ROWS_PER_SPLIT", 2 * SIZE)
    monkeypatch.setattr(table_search, "_COST_PER_TASK", 1.0)
    queries = points(queries_around(population, 400))
    found = top_k(
        places[place],
        queries,
        10,
        tolerance=0.3,
        columns=PAYLOAD.names,
        explain=True,
        responsibilities=True,
    ).toArrow()
    assert_hits(population, found, queries, "log_likelihood", 10, 0.3)
    added = ["responsibility", "log_aggregate_posterior", "log_aggregate_posterior_error"]
    explained = ["misfit", "volume", "costliest"]
    names = ["query_id", "rank", "item_id", "log_likelihood", *explained, *PAYLOAD.names, *added]
    assert found.column_names == names
    kinds = {field.name: field.type for field in found.schema}
    assert kinds["query_id"] == kinds["item_id"] == pa.string()
    assert kinds["rank"] == pa.int32() and kinds["log_likelihood"] == pa.float64()

    place_of = {name: row for row, name in enumerate(population.items["item_id"].to_pylist())}
    rows = np.array([place_of[name] for name in found["item_id"].to_pylist()])
    own = population.items.take(pa.array(rows)).select(PAYLOAD.names)
    assert found.select(PAYLOAD.names).to_pylist() == own.to_pylist()

    asked = np.array([int(name[1:]) for name in found["query_id"].to_pylist()])
    variances = np.exp(population.log_var[rows].astype(np.float64)) + 0.3**2
    costs = 0.5 * (queries.z[asked] - population.mu[rows]) ** 2 / variances
    misfit, volume, score = (
        found[name].to_numpy() for name in ("misfit", "volume", "log_likelihood")
    )
    log_vars = population.log_var, 2 * math.log(0.3)
    assert_same_scores(misfit, -costs.sum(axis=1), *log_vars, dims=3)
    assert_same_scores(misfit + volume, score, *log_vars, dims=3)
    for cost, parts in zip(costs, found["costliest"].to_pylist(), strict=True):
        order = np.argsort(-cost)
        assert [part["dimension"] for part in parts] == order.tolist()
        near = score_rounding(3, *log_vars) * cost[order]
        nats = [part["nats"] for part in parts]
        assert_within(nats, cost[order], near, why="one dimension's part of a score")

    everything = all_scores(population, queries, "log_likelihood", 0.3)
    check_responsibilities(found, everything, asked, place, *log_vars)


def check_responsibilities(found, everything, asked, place, *log_vars) -> None:
    """Check the sums over all items; everything is log q(z|x) of all pairs, (Q, N)."""
    totals = np.logaddexp.reduce(everything, axis=1)
    errors = found["log_aggregate_posterior_error"].to_numpy()
    aggregates = found["log_aggregate_posterior"].to_numpy()
    expected = totals[asked] - math.log(everything.shape[1])
    assert_same_scores(aggregates, expected, *log_vars, dims=3, items=NUM_ITEMS)
    near = score_bound(expected, *log_vars, dims=3, items=NUM_ITEMS)
    assert (expected <= aggregates + errors + near).all()
    if place == "table":
        assert (errors > 0).all() and (errors < 1e-12).all()
    elif place == "frame":
        assert (errors == 0).all()
    scores = found["log_likelihood"].to_numpy()
    right = np.exp(scores - totals[asked])
    near = score_bound(scores, *log_vars, dims=3)
    near += score_bound(totals[asked], *log_vars, dims=3, items=NUM_ITEMS)
    assert_within(found["responsibility"], right, right * near, why="exp of a score and of a sum")


@pytest.mark.parametrize("place", further_cases_slow(["table", "frame"], ["table"]))
def test_responsibilities_of_one_and_of_all(population, places, place):
    # The rows that carry the sums are neither lost where one hit is asked for, nor taken for hits
    # where there is room for them.
    queries = points(queries_around(population, 4))
    everything = all_scores(population, queries, "log_likelihood")
    for k in (1, NUM_ITEMS + 5):
        found = top_k(places[place], queries, k, responsibilities=True).toArrow()
        assert_hits(population, found, queries, "log_likelihood", k)
        asked = np.array([int(name[1:]) for name in found["query_id"].to_pylist()])
        # As many items as are asked for give no floor, and nothing is left out.
        of_all = place if k == 1 else "frame"
        check_responsibilities(found, everything, asked, of_all, population.log_var)
        if k > NUM_ITEMS:
            sums = np.bincount(asked, found["responsibility"].to_numpy())
            totals = np.logaddexp.reduce(everything, axis=1)
            near = 2 * score_bound(totals, population.log_var, dims=3, items=NUM_ITEMS)
            assert_within(sums, np.ones(4), near, why="a sum of densities by their sum")


def test_where_every_density_is_zero(population, places):
    found = top_k(places["table"], [[1e200] * 3], 2, responsibilities=True).toArrow()
    first = sorted(population.items["item_id"].to_pylist(), key=str.encode)[:2]
    assert found["item_id"].to_pylist() == first
    assert found["log_likelihood"].to_pylist() == [-math.inf] * 2
    assert found["responsibility"].null_count == found["log_aggregate_posterior"].null_count == 2


@pytest.mark.parametrize("place", further_cases_slow(["table", "frame"], ["table"]))
def test_like_items_and_without_them(population, places, place):
    ids = population.items["item_id"].to_pylist()
    # Two of them have nine copies each, which are as near as the item itself.
    rows = [NUM_ITEMS - 1, 5, NUM_ITEMS - 15]
    queries = posteriors_of(places["frame"], [ids[row] for row in rows])
    assert queries.ids == tuple(ids[row] for row in rows)
    assert queries.z.tolist() == population.mu[rows].tolist()
    assert queries.log_var.tolist() == population.log_var[rows].tolist()
    others = np.arange(NUM_ITEMS) != np.array(rows)[:, None]
    found = top_k(places[place], queries, 6, exclude_self=True).toArrow()
    assert_hits(population, found, queries, "kl", 6, wanted=others)
    found = top_k(
        places[place], points(queries), 6, exclude_self=True, responsibilities=True
    ).toArrow()
    assert_hits(population, found, queries, "log_likelihood", 6, wanted=others)
    # The item itself still counts among those that the query may come from.
    asked = np.array([queries.ids.index(name) for name in found["query_id"].to_pylist()])
    everything = all_scores(population, queries, "log_likelihood")
    check_responsibilities(found, everything, asked, place)


@pytest.mark.parametrize("place", further_cases_slow(["table", "frame"], ["table"]))
def test_scores_that_are_not_reached(population, places, place):
    queries = queries_around(population, 20)
    for name, part in [("log_likelihood", 0.995), ("euclidean", 0.005)]:
        scores = all_scores(population, queries, name)
        limit = float(np.quantile(scores, part))
        wanted = scores <= limit if SCORES[name].ascending else scores >= limit
        assert (wanted.sum(axis=1) >= 10).any() and (wanted.sum(axis=1) < 10).any()
        found = top_k(places[place], queries, 10, score=name, min_score=limit)
        assert_hits(population, found.toArrow(), queries, name, 10, wanted=wanted)


def test_a_score_that_is_just_reached(places):
    # A distance is the square root of what the engine compares.
    for name in ("log_likelihood", "mahalanobis"):
        table, z = places["table"], [[0.1, -0.2, 0.3]]
        best = top_k(table, z, 5, score=name).toArrow()[name].to_pylist()
        again = top_k(table, z, 5, score=name, min_score=best[2]).toArrow()
        assert best[2] != best[3] and again[name].to_pylist() == best[:3]


@pytest.mark.slow
def test_scores_that_nothing_reaches(places):
    table, z = places["table"], np.zeros((2, 3))
    nothing = top_k(table, z, 3, min_score=1e9, responsibilities=True).drop("log_likelihood")
    nothing = nothing.select("item_id").union(
        top_k(table, z, 3, score="mahalanobis", min_score=-1.0).select("item_id")
    )
    assert nothing.count() == 0
    assert top_k(table, z, 3, score="mahalanobis", min_score=1e200).count() == 6


# ---- what is read, and what leaves the tasks


def test_a_posterior_reads_few_row_groups(population, places):
    files = open_posteriors(places["table"]).files
    planned = plan(places["table"], population.mu[7], QueryOptions())
    assert (planned.row_groups, planned.num_queries, planned.score.name) == (
        48,
        1,
        "log_likelihood",
    )
    assert planned.hits.toArrow().num_rows == planned.counts.rows_out.value == 10
    read = planned.counts.row_groups.value
    assert 0 < read < 24
    assert 0 < planned.counts.num_bytes.value < sum(Path(file).stat().st_size for file in files)
    assert 0 < planned.counts.scored.value <= read * SIZE


def test_the_whole_of_plain_parquet_is_read(population, places):
    planned = plan(places["parquet"], population.mu[7], QueryOptions())
    planned.hits.toArrow()
    # The empty file has one, without rows.
    assert planned.row_groups == 10 + 4 + 1 + 1
    assert planned.counts.row_groups.value == 10 + 4 + 1
    assert planned.counts.scored.value == NUM_ITEMS
    planned = plan(places["frame"], population.mu[7], QueryOptions())
    planned.hits.toArrow()
    assert planned.row_groups == planned.counts.row_groups.value == 0
    assert planned.counts.scored.value == NUM_ITEMS


# ---- files that are not like each other


@pytest.mark.slow
def test_files_of_a_folder_that_differ(spark, tmp_path):
    """Widths of numbers, ids, nulls, categories, and a column that one file lacks, in one task."""
    near = 1.0 + 1e-12
    floats, doubles = pa.list_(pa.float32()), pa.list_(pa.float64())
    parts = [
        (pa.array([1, 2]), floats, pa.array([1, 2], pa.int32()), ["x", "y"], {}),
        (pa.array([10, 3]), doubles, pa.array([3, 4], pa.int64()), ["z", "x"], {}),
        (pa.array(["é", "-1"]), doubles, None, ["y", "y"], {}),
    ]
    for number, (ids, kind, stock, kinds, _) in enumerate(parts):
        values = [[1.0], [1.0]] if kind == floats else [[near], [1.0]]
        columns = {
            "item_id": ids,
            "mu": pa.array(values, kind),
            "log_var": pa.array([[0.0], [0.0]], floats),
            "category": pa.array(kinds).dictionary_encode(),
        }
        if stock is not None:
            columns["stock"] = stock
        table = pa.table(columns)
        table = table.cast(
            pa.schema([pa.field(f.name, f.type, nullable=number != 1) for f in table.schema])
        )
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=1)
    found = top_k(str(tmp_path), [[2.0]], 10, columns=["stock", "category"])
    hits = [(row.item_id, row.stock, row.category) for row in found.orderBy("rank").collect()]
    assert hits == [
        *[("10", 3, "z"), ("é", None, "y")],
        *[("-1", None, "y"), ("1", 1, "x"), ("2", 2, "y"), ("3", 4, "x")],
    ]


def test_columns_of_any_name_and_type(spark, tmp_path):
    """As Spark writes them, and in another time zone than they were written in."""
    expressions = [
        "'a' as item_id",
        "array(1f, 2f) as mu",
        "array(0f, 0f) as log_var",
        "named_struct('a b', 1, 'x:y', array('é', null)) as deep",
        "map('k', 1.5d) as `a map`",
        "1 as `with.dot`",
        "timestamp'9999-12-31 23:00:00' as until",
        "timestamp_ntz'0001-01-01 00:00:00' as local",
        "date'2020-02-29' as day",
        "cast('x' as binary) as bytes",
        "interval '1' day as span",
        "cast(null as double) as nothing",
        "true as `tick``ed`",
    ]
    frame = spark.sql(f"select {', '.join(expressions)}")
    path = str(tmp_path / "p")
    frame.coalesce(1).write.parquet(path)
    wanted = frame.columns[1:]
    zone = spark.conf.get("spark.sql.session.timeZone")
    written = spark.read.parquet(path)
    try:
        spark.conf.set("spark.sql.session.timeZone", "America/New_York")
        expected = written.select(*(F.col(f"`{n.replace('`', '``')}`") for n in wanted)).toArrow()
        for source in (path, written):
            found = top_k(source, [[1.0, 2.0]], 1, columns=wanted, explain=True).toArrow()
            assert found.select(wanted).to_pylist() == expected.to_pylist()
            for name in wanted:
                assert found.schema.field(name).type == expected.schema.field(name).type
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)


# ---- what is refused


def refuse(kind: type[Exception], message: str, *arguments, **options) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}"):
        top_k(*arguments, **options)


@pytest.mark.parametrize("place", PLACES)
def test_what_does_not_fit_the_posteriors(population, places, place):
    source, z = places[place], [[0.0, 0.0, 0.0]]
    message = "the posteriors have no column 'colour' to carry into the result; found item_id, mu,"
    refuse(InputError, message, source, z, columns=["brand", "colour"])
    message = "column 'Rank' is in the result already; leave it out."
    refuse(InputError, message, source, z, columns=["Rank"])
    message = "column 'brand' is in the result already; leave it out."
    refuse(InputError, message, source, z, columns=["brand", "brand"])
    message = "score kl is between two Gaussians, but the queries are points z; query with mu and "
    refuse(InputError, message, source, z, score="kl")
    message = "score is 'cosine'; expected one of log_likelihood, mahalanobis, euclidean, kl, rev"
    refuse(InputError, message, source, z, score="cosine")
    gaussian = from_rows(z, None, z)
    message = "explain is for log_likelihood, but the score is kl."
    refuse(InputError, message, source, gaussian, explain=True)
    message = "responsibilities is for log_likelihood, but the score is euclidean."
    refuse(InputError, message, source, z, score="euclidean", responsibilities=True)
    for limit in (math.nan, math.inf):
        message = f"min-score is {limit}; expected a finite number."
        refuse(InputError, message, source, z, min_score=limit)
    message = "tolerance is -0.1; expected a finite number of at least 0, in units of z (0 takes z"
    refuse(InputError, message, source, z, tolerance=-0.1)
    refuse(InputError, "queries are not an array of shape (Q, n): ", source, [[1.0], [1.0, 2.0]])
    if place != "frame":
        message = "query '0' has 2 dimensions, but the posteriors have latent_dim 3."
        refuse(InputError, message, source, [[0.0, 0.0]])


def test_items_that_are_not_there(population, places):
    frame, known = places["frame"], population.items["item_id"][0].as_py()
    message = (
        "there is no item 'none' in the table; expected item_ids as this version of the table has "
        "them."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        posteriors_of(frame, [known, "none"])
    with pytest.raises(
        InputError, match=r"^there is no item 'x' in the table \(nor 1 more\); expected"
    ):
        posteriors_of(frame, ["x", known, "y"])
    with pytest.raises(InputError, match="occurs more than once; expected unique ids"):
        posteriors_of(frame, [known, known])


def test_parquet_that_holds_no_posteriors(population, places, tmp_path):
    def refused(message: str, table: pa.Table) -> None:
        pq.write_table(table, tmp_path / "a.parquet")
        refuse(TableError, f"{tmp_path}{message}", str(tmp_path), [[0.0]])

    plain = places["parquet"]
    message = f"{plain} is plain Parquet, which has no versions; leave out the version 3."
    with pytest.raises(TableError, match=f"^{re.escape(message)}$"):
        open_posteriors(plain, 3)
    refused(
        "/a.parquet has no column item_id, log_var; found mu, x, expected item_id, mu and log_var.",
        pa.table({"mu": [[1.0]], "x": [1]}),
    )
    good = {"item_id": ["a"], "mu": [[1.0]], "log_var": [[1.0]]}
    for column, kind in [
        ([1.0], "double"),
        (["abc"], "string"),
        ([["a"]], "list<element: string>"),
    ]:
        for name in ("mu", "log_var"):
            refused(
                f"/a.parquet has a column {name} of type {kind}; expected lists of numbers.",
                pa.table(good | {name: column}),
            )
    refused(" has no posteriors: 0 rows, the first without a mu.", pa.table(good).slice(0, 0))
    (tmp_path / "a.parquet").write_text("no Parquet at all")
    refuse(TableError, f"{tmp_path}/a.parquet cannot be read as Parquet (", str(tmp_path), [[0.0]])


@pytest.mark.slow
def test_a_posterior_of_another_length(spark, tmp_path):
    """In a file that says nothing of its boxes, where nobody sees it before it is read."""
    lists = pa.list_(pa.float32())
    rows = [[1.0, 2.0]] * 5 + [[1.0, 2.0, 3.0]]
    table = pa.table(
        {
            "item_id": [f"i{place}" for place in range(6)],
            "mu": pa.array(rows, lists),
            "log_var": pa.array([[0.0, 0.0]] * 6, lists),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    # Read in the first round, and in the second, where both row groups are read together.
    for k in (1, 10):
        with pytest.raises(Exception) as caught:
            top_k(str(tmp_path), [[0.0, 0.0]], k).collect()
        assert root_cause(caught.value) == (
            "vaeudf.errors.InputError: item 'i5' has a mu of 3 numbers, "
            "but the queries have 2 dimensions."
        )


@pytest.mark.parametrize(
    "tolerance", further_cases_slow([0.0, (0.3, 0.0, 2.0, 0.1)], [(0.3, 0.0, 2.0, 0.1)])
)
def test_dimensions_that_are_left_open(spark, tmp_path, tolerance):
    table = posteriors(3000, 4)
    z = np.random.default_rng(3).normal(size=(30, 4))
    z[::2, 1] = z[::3, 0] = z[7:9, 2:] = np.nan
    path = str(tmp_path / "plain.parquet")
    pq.write_table(table, path, row_group_size=500)
    mu, log_var = (np.stack(table[name].to_numpy()) for name in ("mu", "log_var"))
    reference = log_prob(z, mu, log_var, tolerance)
    ids = table["item_id"].to_pylist()
    for source in (path, spark.read.parquet(path)):
        rows = top_k(source, z, 4, tolerance=tolerance, explain=True).collect()
        assert len(rows) == 4 * len(z)
        for number, scores in enumerate(reference):
            own = sorted(
                (row for row in rows if row.query_id == str(number)), key=lambda row: row.rank
            )
            best = sorted(range(len(ids)), key=lambda i: (-scores[i], ids[i]))[:4]
            assert [row.item_id for row in own] == [ids[i] for i in best]
            for row in own:
                named = {cost.dimension for cost in row.costliest}
                assert named <= set(np.flatnonzero(~np.isnan(z[number])))
                assert len(named) == min(3, (~np.isnan(z[number])).sum())
                assert row.misfit + row.volume == near_score(row.log_likelihood, log_var, dims=4)
