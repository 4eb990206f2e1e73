"""p(value | z) against torch.distributions and SciPy's logsumexp, value by value."""

from __future__ import annotations

import re
import shutil
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.special import logsumexp

from tests.support.cases import further_cases_slow
from tests.support.deletion_vectors import delete_items
from tests.support.folds import make_request, posteriors
from tests.support.population import NUM_ITEMS, points, queries_around
from tests.support.tolerances import assert_within, score_bound
from vaeudf.errors import InputError
from vaeudf.query import above as scanning
from vaeudf.query import two_rounds, value_sums
from vaeudf.query.above import Above
from vaeudf.query.blends import blend
from vaeudf.query.latents import Latents, from_rows
from vaeudf.query.shares import shares
from vaeudf.query.value_sums import ValueSums
from vaeudf.search import prepared

SCHEMA = [("largest", pa.float64()), ("scaled", pa.float64()), ("skipped", pa.float64())]


def log_probs(z, mu, log_var, tolerance=0.0) -> np.ndarray:
    """log q(z|x) of all pairs; what is integrated out over open dimensions is 1."""
    tau2 = np.square(np.asarray(tolerance, float))
    tau2 = tau2[:, None] if tau2.ndim == 2 else np.broadcast_to(tau2, mu.shape[1:])
    sigma = torch.sqrt(torch.tensor(np.exp(log_var.astype(float)) + tau2))
    normal = torch.distributions.Normal(torch.tensor(mu.astype(float)), sigma)
    terms = normal.log_prob(torch.tensor(np.nan_to_num(z))[:, None]).numpy()
    return np.where(np.isnan(z)[:, None], 0.0, terms).sum(axis=2)


def log_sums(scores, values) -> dict[object, np.ndarray]:
    """log Σ q(z|x) of each query, (Q,), by value."""
    by_value: dict[object, list[int]] = {}
    for row, value in enumerate(values):
        by_value.setdefault(value, []).append(row)
    return {value: logsumexp(scores[:, rows], axis=1) for value, rows in by_value.items()}


VALUES = {
    "one": lambda rng, count: pa.array(["dress"] * count),
    "all different": lambda rng, count: pa.array([f"é{i}" for i in rng.permutation(count)]),
    "few, with nulls": lambda rng, count: pa.array(
        rng.choice(["a", "", "b", None], count).tolist(), pa.string()
    ),
    "all null": lambda rng, count: pa.nulls(count, pa.string()),
    "hundreds": lambda rng, count: pa.array(rng.integers(-300, 300, count)),
    "days": lambda rng, count: pa.array(
        [date(1850, 1, 1) + timedelta(days=int(i)) for i in rng.integers(0, 9, count)]
    ),
    "coded": lambda rng, count: pa.array(rng.choice(["x", "y"], count)).dictionary_encode(),
}


# ---- in a task


def summed(request, mu, log_var, batches, values) -> dict[tuple[int, object], float]:
    """The log-sums of a task, from the rows that it yields."""
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    schema = pa.schema([("query_id", pa.string()), ("kind", kind), *SCHEMA])
    above = Above(request)
    taker = ValueSums(request.queries.ids, "kind", np.zeros(len(request.queries)), schema)
    yielded = []
    for rows in batches:
        table = pa.table({"kind": values.take(pa.array(rows))})

        def items(at, table=table):
            return table.take(pa.array(at))

        yielded += above.batches(taker, mu[rows], log_var[rows], items)
    yielded += taker.end()
    found: dict[tuple[int, object], list[float]] = {}
    for batch in yielded:
        assert batch.schema == schema
        for row in batch.to_pylist():
            key = int(row["query_id"]), row["kind"]
            found.setdefault(key, []).append(row["largest"] + np.log(row["scaled"]))
    return {key: float(np.logaddexp.reduce(parts)) for key, parts in found.items()}


@pytest.mark.parametrize("crowded", [False, True], ids=["roomy", "crowded"])
@pytest.mark.parametrize("kind", VALUES)
def test_a_tasks_sums(monkeypatch, kind, crowded):
    rng = np.random.default_rng(len(kind))
    _, mu, log_var = posteriors(900, 3, copies=2)
    values = VALUES[kind](rng, 900)
    # At items, around them, and so far away that every density is 0 in float64, in two of three
    # cases by far.
    z = rng.normal(size=(25, 3)) * rng.choice([1.0, 30.0, 1e4], size=(25, 1))
    z[0] = mu[0]
    monkeypatch.setattr(prepared, "_SMALL", 0)
    monkeypatch.setattr(scanning, "_ROWS_PER_CHUNK", 200)
    monkeypatch.setattr(scanning, "_PAIRS", 200 * 4)
    if crowded:
        monkeypatch.setattr(value_sums, "_WAITING", 50)
        monkeypatch.setattr(value_sums, "_VALUES", 20)
        monkeypatch.setattr(value_sums, "_ROWS_PER_BATCH", 7)
    scores = log_probs(z, mu, log_var)
    assert (np.exp(scores.max(axis=1)) == 0).sum() > 5
    batches = np.array_split(rng.permutation(900), 4)
    found = summed(make_request("log_likelihood", z), mu, log_var, batches, values)
    expected = log_sums(scores, values.to_pylist())
    assert set(found) == {(query, value) for query in range(25) for value in expected}
    right = np.array([expected[value][query] for query, value in found])
    near = score_bound(right, log_var, dims=3, items=900)
    assert_within(list(found.values()), right, near, why="logs of sums")


def test_items_whose_density_is_nothing_are_in_no_sum():
    mu = np.array([[0.0], [1e30]], np.float32)
    log_var = np.full((2, 1), -700, np.float32)
    values = pa.array(["here", "there"])
    found = summed(make_request("log_likelihood", np.zeros((1, 1))), mu, log_var, [[0, 1]], values)
    assert list(found) == [(0, "here")]


# ---- on Spark

PLACES = ["table", "parquet", "frame"]


@pytest.fixture(scope="module")
def places(spark, population):
    frame = spark.read.parquet(population.parquet)
    return {"table": population.table, "parquet": population.parquet, "frame": frame}


def check(found: pa.Table, queries, values, scores, column, *log_vars) -> None:
    expected = log_sums(scores, values)
    totals = logsumexp(scores, axis=1)
    rows = found.to_pylist()
    assert len({(row["query_id"], row[column]) for row in rows}) == len(rows)
    place_of = {name: place for place, name in enumerate(queries.ids)}
    at = np.array([place_of[row["query_id"]] for row in rows])
    sums = np.array([expected[row[column]][place] for place, row in zip(at, rows, strict=True)])
    right = np.exp(sums - totals[at])
    near = score_bound(sums, *log_vars, dims=3, items=NUM_ITEMS)
    near += score_bound(totals[at], *log_vars, dims=3, items=NUM_ITEMS)
    errors = found["share_error"].to_numpy()
    share = found["share"].to_numpy()
    assert ((share >= 0) & (share <= 1 + 1e-12)).all()
    # Beyond these float64 has fewer digits.
    bound = right * near + errors + np.finfo(float).tiny
    assert_within(share, right, bound, why="exp of two log-sums, and its error")
    # What has no row has no more than what was passed over.
    for query, name in enumerate(queries.ids):
        own = at == query
        missing = set(expected) - {row[column] for row in rows if row["query_id"] == name}
        left = sum(np.exp(expected[value][query] - totals[query]) for value in missing)
        slack = np.max(errors[own], initial=0.0)
        assert left <= 2 * slack, name
        assert_within(share[own].sum(), 1.0, 1e-9, why="densities by their sum")


@pytest.mark.spark
@pytest.mark.parametrize("place", further_cases_slow(PLACES, ["table"]))
def test_shares(population, places, monkeypatch, place):
    monkeypatch.setattr(two_rounds, "_ROWS_PER_SPLIT", 128)
    monkeypatch.setattr(two_rounds, "_COST_PER_TASK", 1e4)
    queries = points(queries_around(population, 12))
    z = queries.z.copy()
    z[1], z[2, 1], z[5] = 1e4, np.nan, [300, -300, 300]
    queries = Latents(queries.ids, z)
    tolerance = (0.2, 0.0, 0.1)
    scores = log_probs(z, population.mu, population.log_var, tolerance)
    assert (np.exp(scores[[1, 5]]) == 0).all()
    for column in ("brand", "stock"):
        found = shares(places[place], queries, column, tolerance=tolerance).toArrow()
        assert found.column_names == ["query_id", column, "share", "share_error"]
        logs = population.log_var, 2 * np.log(0.2)
        check(found, queries, population.items[column].to_pylist(), scores, column, *logs)
        errors = found["share_error"].to_numpy()
        if place == "frame":
            assert (errors == 0).all()
        else:
            assert (errors < 1e-12).all() and errors.max() > 0
    assert found.num_rows > 100


@pytest.mark.spark
def test_the_interval_holds_where_much_is_passed_over(population, monkeypatch):
    monkeypatch.setattr(two_rounds, "SUM_MARGIN", 1.0)
    queries = points(queries_around(population, 30))
    found = shares(population.table, queries, "brand", tolerance=0.3).toArrow()
    scores = log_probs(queries.z, population.mu, population.log_var, 0.3)
    logs = population.log_var, 2 * np.log(0.3)
    check(found, queries, population.items["brand"].to_pylist(), scores, "brand", *logs)
    errors = found["share_error"].to_numpy()
    totals = logsumexp(scores, axis=1)
    expected = log_sums(scores, population.items["brand"].to_pylist())
    off = [
        abs(row["share"] - np.exp(expected[row["brand"]][int(row["query_id"][1:])] - total))
        for row in found.to_pylist()
        for total in [totals[int(row["query_id"][1:])]]
    ]
    assert max(off) > 1e-9, "something was passed over"
    assert errors.max() < 0.5 and errors.min() > 0


@pytest.mark.spark
def test_deleted_rows_have_no_share(population, tmp_path):
    uri = str(tmp_path / "table")
    shutil.copytree(population.table, uri)
    brands = population.items["brand"].to_pylist()
    ids = population.items["item_id"].to_pylist()
    gone = [row for row, brand in enumerate(brands) if brand in ("brand é 1", None)]
    delete_items(uri, [ids[row] for row in gone])
    queries = points(queries_around(population, 5))
    left = np.setdiff1d(np.arange(NUM_ITEMS), gone)
    found = shares(uri, queries, "brand").toArrow()
    scores = log_probs(queries.z, population.mu[left], population.log_var[left])
    check(found, queries, [brands[row] for row in left], scores, "brand", population.log_var)


@pytest.mark.spark
def test_each_query_with_a_tolerance_of_its_own(population):
    queries = points(queries_around(population, 5))
    taus = np.array([0.1, 0.5, 1.0, 0.1, 0.2])[:, None]
    found = shares(population.table, queries, "brand", tolerance=taus).toArrow()
    scores = log_probs(queries.z, population.mu, population.log_var, taus)
    values = population.items["brand"].to_pylist()
    check(found, queries, values, scores, "brand", population.log_var, 2 * np.log(0.1))


@pytest.mark.spark
def test_names_with_dots_and_gaussian_queries(spark, population):
    frame = spark.read.parquet(population.parquet).withColumnRenamed("brand", "a.b")
    queries = queries_around(population, 3)
    found = shares(frame, queries, "a.b").toArrow()
    scores = log_probs(queries.z, population.mu, population.log_var)
    values = population.items["brand"].to_pylist()
    check(found, queries, values, scores, "a.b", population.log_var)


@pytest.mark.spark
@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            "sizes",
            "share is the column 'sizes', which holds array<bigint>; expected text, whole numbers, "
            "decimals, booleans, dates or times.",
        ),
        (
            "colour",
            "share is of 'colour', which the posteriors have no column for; found item_id, mu, ",
        ),
        ("item_id", "share is of item_id; for each item's own part, name responsibilities."),
        ("query_id", "share is of 'query_id', a name that the result has already; rename it."),
    ],
)
def test_what_is_refused(spark, population, column, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        shares(population.table, np.zeros(3), column)


def test_blends_are_refused():
    two = from_rows(np.zeros((2, 3)), ["a", "b"])
    message = (
        "share is not for blends, which are no density of one z; leave it out, or ask without "
        "blending."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        shares("nowhere", blend(two, None, [1.0, 1.0]), "brand")
