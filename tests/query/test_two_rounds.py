"""The two rounds over a table's row groups, their tasks run here: many splits, many tasks."""

from __future__ import annotations

import math
import pickle
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cases import each_value_once
from tests.support.population import (
    NUM_ITEMS,
    SIZE,
    Population,
    all_scores,
    assert_hits,
    points,
    queries_around,
)
from tests.support.reference import assert_same_values, log_vars_of, reference_values
from tests.support.tolerances import near_score, score_bound
from vaeudf.gaussian.scores import SCORES
from vaeudf.numerics.boxes import Boxes
from vaeudf.query import request as asking
from vaeudf.query import two_rounds as table_search
from vaeudf.query.latents import from_rows
from vaeudf.query.request import Request
from vaeudf.query.results import LOG_SKIPPED, LOG_SUM, Columns
from vaeudf.query.two_rounds import search_table
from vaeudf.search import prepared
from vaeudf.spark.counters import Counts
from vaeudf.table.footers import BOXES_KEY, read_footers
from vaeudf.table.open import open_posteriors
from vaeudf.table.splits import spread


class Count:
    """An accumulator of this process."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, number: int) -> None:
        self.value += number


class Tasks:
    """What stands for a DataFrame: the tasks, each of which gets its number."""

    def __init__(self, num_tasks: int) -> None:
        self.num_tasks = num_tasks

    def mapInArrow(self, function, kind) -> Tasks:
        self.function = function
        return self

    def tables(self) -> list[pa.Table]:
        """What each task yields."""
        numbers = (pa.RecordBatch.from_pydict({"id": [i]}) for i in range(self.num_tasks))
        parts = [list(self.function(iter([number]))) for number in numbers]
        schema = next((part[0].schema for part in parts if part), None)
        return [pa.Table.from_batches(part, schema) for part in parts] if schema else []

    def toArrow(self) -> pa.Table:
        return pa.concat_tables(self.tables())


class LocalSpark:
    """What stands for a session: it runs tasks one after the other, here."""

    def __init__(self, cores: int) -> None:
        self.sparkContext = SimpleNamespace(defaultParallelism=cores, broadcast=self._broadcast)

    def _broadcast(self, value):
        return SimpleNamespace(value=pickle.loads(pickle.dumps(value)), destroy=lambda: None)

    def range(self, start: int, end: int, step: int, num_tasks: int) -> Tasks:
        assert (start, end, step) == (0, num_tasks, 1)
        return Tasks(num_tasks)


def rows_for_floors(monkeypatch, rows: int) -> None:
    monkeypatch.setattr(table_search, "_ROWS_FOR_FLOORS_OF_FEW", rows)
    monkeypatch.setattr(table_search, "_ROWS_FOR_FLOORS_OF_MANY", rows)


@pytest.fixture(autouse=True)
def small_splits(monkeypatch):
    """Many splits, many tasks, and floors from few rows, as a large table has them."""
    monkeypatch.setattr(table_search, "_ROWS_PER_SPLIT", 2 * SIZE)
    rows_for_floors(monkeypatch, 4 * SIZE)
    monkeypatch.setattr(table_search, "_TASKS_PER_CORE", 4)
    monkeypatch.setattr(table_search, "_COST_PER_TASK", 1.0)
    # Many queries are filtered, few asked directly.
    monkeypatch.setattr(prepared, "_SMALL", 2_000)


def groups_of(population: Population, place: str):
    return read_footers(open_posteriors(getattr(population, place)).files)


def make_request(queries, name="log_likelihood", k=10, tolerance=0.0, floors=None, **others):
    floors = np.full(len(queries), -np.inf) if floors is None else floors
    return Request(
        queries=queries, k=k, score=SCORES[name], tolerance=tolerance, floors=floors, **others
    )


def run(population, place, request, cores=4) -> tuple[list[pa.Table], Counts]:
    """What each task of the second round yields, and what all of them did."""
    counts = Counts(*(Count() for _ in Counts.__dataclass_fields__))
    columns = Columns.of(request, None)
    groups = groups_of(population, place)
    return search_table(LocalSpark(cores), groups, request, columns, counts).tables(), counts


def merged(tables: list[pa.Table], request) -> pa.Table:
    """The k best of what all tasks have yielded, ranked."""
    name, rows = request.score.name, pa.concat_tables(tables).to_pylist()
    sign = 1 if request.score.ascending else -1
    hits = [row for row in rows if row["item_id"] is not None]
    hits.sort(key=lambda row: (row["query_id"], sign * row[name], row["item_id"].encode()))
    ranks: dict[str, int] = {}
    for row in hits:
        row["rank"] = ranks[row["query_id"]] = ranks.get(row["query_id"], 0) + 1
    return pa.Table.from_pylist([row for row in hits if row["rank"] <= request.k])


@each_value_once(("name", SCORES), ("tolerance", [0.0, 0.3]), ("place", ["table", "parquet"]))
def test_every_score(population, name, tolerance, place):
    asked = [(30, 1), (30, 10), (1, 10), (1, NUM_ITEMS - 1), (1, NUM_ITEMS + 5), (100, 10)]
    for count, k in asked:
        queries = queries_around(population, count)
        if not SCORES[name].between_gaussians:
            queries = points(queries)
        request = make_request(queries, name, k, tolerance)
        tables, _ = run(population, place, request)
        assert_hits(population, merged(tables, request), queries, name, k, tolerance)


@pytest.mark.parametrize("place", ["table", "parquet"])
def test_groups_of_queries_within_a_task(population, monkeypatch, place):
    monkeypatch.setattr(asking, "_GROUP_BYTES", 64 * 10 * 7)
    queries = queries_around(population, 20)
    request = make_request(queries, "kl")
    assert [len(group) for group in request.groups()] == [7, 7, 6]
    tables, _ = run(population, place, request)
    assert_hits(population, merged(tables, request), queries, "kl", 10)


def test_a_group_reads_what_its_own_queries_need(population, monkeypatch):
    monkeypatch.setattr(asking, "_GROUP_BYTES", 1)
    monkeypatch.setattr(table_search, "_ROWS_PER_SPLIT", 0)
    queries = points(queries_around(population, 2))
    queries.z[:] = population.mu[:2]
    alone = [
        run(population, "table", make_request(queries.subset([place])))[1].row_groups.value
        for place in range(2)
    ]
    request = make_request(queries)
    assert [len(group) for group in request.groups()] == [1, 1]
    assert run(population, "table", request)[1].row_groups.value == sum(alone) < 48


def test_a_floor_that_is_given(population):
    queries = points(queries_around(population, 30))
    scores = all_scores(population, queries, "log_likelihood")
    limit = float(np.quantile(scores, 0.995))
    request = make_request(queries, floors=np.full(30, limit))
    tables, _ = run(population, "table", request)
    assert_hits(
        population, merged(tables, request), queries, "log_likelihood", 10, wanted=scores >= limit
    )
    # One that nothing reaches: nothing is read for it.
    tables, counts = run(population, "table", make_request(queries, floors=np.full(30, 1e9)))
    assert sum(table.num_rows for table in tables) == counts.row_groups.value == 0


def test_a_table_without_rows(population):
    request = make_request(queries_around(population, 3), "kl")
    groups = [group for group in groups_of(population, "parquet") if group.num_rows == 0]
    assert len(groups) == 1
    counts = Counts(*(Count() for _ in Counts.__dataclass_fields__))
    columns = Columns.of(request, None)
    assert search_table(LocalSpark(4), groups, request, columns, counts).tables() == []
    assert search_table(LocalSpark(4), [], request, columns, counts).tables() == []


# ---- floors, and what is passed over


@each_value_once(
    ("name", ["log_likelihood", "wasserstein2", "bhattacharyya"]),
    ("place", ["table", "parquet"]),
    ("rows", [SIZE, 6 * SIZE, NUM_ITEMS]),
)
def test_floors_are_not_above_what_is_wanted(population, monkeypatch, name, place, rows):
    rows_for_floors(monkeypatch, rows)
    counts = Counts(*(Count() for _ in Counts.__dataclass_fields__))
    groups = [group for group in groups_of(population, place) if group.num_rows]
    for count, k in [(5, 10), (40, 1), (40, 500)]:
        queries = queries_around(population, count)
        values = reference_values(
            name, queries.z, queries.log_var, population.mu, population.log_var
        )
        best_first = -np.sort(-values, axis=1)
        kth = best_first[:, k - 1]
        request = make_request(queries, name, k)
        floors = table_search.first_round(LocalSpark(4), groups, request, counts)
        assert (floors <= kth + 1e-13 * np.abs(kth)).all()
        assert np.isfinite(floors).all()
        if rows == NUM_ITEMS and k <= 16:
            # Lowered by 1e-12 of itself, so that no rounding puts it above what is wanted.
            lowered = kth - 1e-12 * np.abs(kth)
            items = population.mu, population.log_var
            assert_same_values(name, floors, lowered, queries.log_var, *items)
        elif rows == NUM_ITEMS:
            # Each of 16 tasks at most tells of every 32nd value alone.
            lowest = best_first[:, k + 16 * 32]
            assert (floors >= lowest - 1e-11 * np.abs(lowest)).all()
    # As many as there are, or fewer rows than are wanted, give none.
    request = make_request(queries_around(population, 2), name, NUM_ITEMS)
    floors = table_search.first_round(LocalSpark(4), groups, request, counts)
    assert np.isneginf(floors).all()


def test_each_query_looks_for_its_floor_in_splits_of_its_own(population):
    queries = queries_around(population, 30)
    groups = groups_of(population, "table")
    for count in (5, 30):
        request = make_request(queries.subset(slice(count)), "kl")
        seeds = table_search._seeds(groups, request)
        pairs = [
            (split.file, index, int(query))
            for split, asked in seeds
            for index in split.indices
            for query in asked
        ]
        assert len(pairs) == len(set(pairs))
        # All have four row groups, of which the fullest is certainly their own.
        found = np.bincount([query for _, _, query in pairs], minlength=count)
        assert found.tolist() == [4] * count if count == 5 else (found >= 4).all()


def test_a_posterior_reads_few_row_groups(population):
    for row in np.random.default_rng(0).integers(0, NUM_ITEMS, size=5):
        queries = points(queries_around(population, 1))
        queries.z[:] = population.mu[row]
        request = make_request(queries)
        tables, counts = run(population, "table", request)
        assert_hits(population, merged(tables, request), queries, "log_likelihood", 10)
        assert 0 < counts.row_groups.value < 24
        assert counts.scored.value <= 24 * SIZE
    _, counts = run(population, "parquet", request)
    assert counts.row_groups.value == 15 and counts.scored.value == NUM_ITEMS


@pytest.mark.parametrize("place", ["table", "parquet"])
def test_few_rows_leave_the_tasks(population, monkeypatch, place):
    rows_for_floors(monkeypatch, 8 * SIZE)
    k, queries = 10, points(queries_around(population, 50))
    request = make_request(queries, k=k)
    tables, counts = run(population, place, request)
    # Of plain Parquet there are 15 row groups, too large to be joined.
    assert len(tables) == (16 if place == "table" else 15)
    assert sum(table.num_rows for table in tables) == counts.rows_out.value
    assert 50 * k <= counts.rows_out.value <= 3 * k * 50
    for table in tables:
        per_query = table.group_by("query_id").aggregate([("item_id", "count")])
        assert pa.compute.max(per_query["item_id_count"]).as_py() <= k


def test_tasks_share_the_work():
    rng = np.random.default_rng(0)
    for count, num_tasks in [(1, 1), (50, 7), (1000, 16)]:
        splits, costs = list(range(count)), rng.exponential(size=count)
        tasks = spread(splits, costs, num_tasks)
        assert len(tasks) == num_tasks and all(task == sorted(task) for task in tasks)
        assert sorted(split for task in tasks for split in task) == splits
        loads = [costs[task].sum() for task in tasks]
        assert max(loads) <= costs.sum() / num_tasks + costs.max()
    assert spread([], np.empty(0), 1) == [[]]


# ---- sums


@each_value_once(
    ("count,k", [(1, 3), (300, 10), (2, NUM_ITEMS)]),
    ("place", ["table", "parquet"]),
    ("tolerance", [0.0, 0.3]),
)
def test_sums_over_all_items(population, place, tolerance, count, k):
    queries = points(queries_around(population, count))
    request = make_request(queries, k=k, tolerance=tolerance, cuts=np.full(count, -np.inf))
    tables, counts = run(population, place, request)
    assert_hits(population, merged(tables, request), queries, "log_likelihood", k, tolerance)
    rows = pa.concat_tables(tables)
    rows = rows.filter(pa.compute.is_null(rows["item_id"])).to_pylist()
    totals = np.logaddexp.reduce(
        all_scores(population, queries, "log_likelihood", tolerance), axis=1
    )
    log_vars = log_vars_of(None, population.log_var, tolerance)
    for query, total in zip(queries.ids, totals, strict=True):
        own = [row for row in rows if row["query_id"] == query]
        found = np.logaddexp.reduce([row[LOG_SUM] for row in own])
        (skipped,) = {row[LOG_SKIPPED] for row in own}
        assert found == near_score(total, *log_vars, dims=3, items=NUM_ITEMS)
        near = score_bound(total, *log_vars, dims=3, items=NUM_ITEMS)
        assert total <= np.logaddexp(found, skipped) + near
        assert math.isinf(skipped) == (k == NUM_ITEMS) and skipped < total - 29
        # A task says nothing of a query that it has nothing for.
        assert k == NUM_ITEMS or all(row[LOG_SUM] > -math.inf for row in own)
    assert counts.rows_out.value == sum(table.num_rows for table in tables)


def test_what_a_sum_leaves_out_is_no_more_than_it_says(population, monkeypatch):
    """With a margin so small that what is left out can be seen."""
    monkeypatch.setattr(table_search, "SUM_MARGIN", -3.0)
    queries = points(queries_around(population, 30))
    queries.z[:] = population.mu[:30]
    request = make_request(queries, k=2, cuts=np.full(30, -np.inf))
    tables, counts = run(population, "table", request)
    assert_hits(population, merged(tables, request), queries, "log_likelihood", 2)
    assert 0 < counts.scored.value < 0.8 * 30 * NUM_ITEMS
    # Most tasks have nothing to tell of most queries.
    assert counts.rows_out.value < 30 * (2 + len(tables) / 2)
    everything = all_scores(population, queries, "log_likelihood")
    totals = np.logaddexp.reduce(everything, axis=1)
    rows = pa.concat_tables(tables).to_pylist()
    sums = [
        [row for row in rows if row["query_id"] == query and row["item_id"] is None]
        for query in queries.ids
    ]
    found = np.array([np.logaddexp.reduce([row[LOG_SUM] for row in own]) for own in sums])
    skipped = np.array([own[0][LOG_SKIPPED] for own in sums])
    near = score_bound(totals, population.log_var, dims=3, items=NUM_ITEMS)
    assert (found <= totals + near).all() and (found < totals - 10 * near).any()
    assert (totals <= np.logaddexp(found, skipped) + near).all()


def test_a_split_with_fewer_rows_than_are_wanted_gives_no_floor(tmp_path, monkeypatch):
    """Else the query would get that of the next one, which is far above its own."""
    rows_for_floors(monkeypatch, 1)
    monkeypatch.setattr(table_search, "_ROWS_PER_SPLIT", 1)
    rng = np.random.default_rng(0)
    sizes = [100, 100, 1]
    mu = rng.normal(size=(201, 2)) + np.repeat([[0], [10], [20]], sizes, axis=0)
    mu = mu.astype(np.float32)
    log_var = np.repeat([[0.0], [-20.0], [0.0]], sizes, axis=0).repeat(2, axis=1).astype("f4")
    ids = [f"{i:03}" for i in range(201)]
    boxes = [Boxes.of_blocks(mu[i:j], log_var[i:j], 100) for i, j in [(0, 200), (200, 201)]]
    table = pa.table({"item_id": ids, "mu": list(mu), "log_var": list(log_var)})
    with pq.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        writer.write_table(table.slice(0, 200), row_group_size=100)
        writer.write_table(table.slice(200))
        writer.add_key_value_metadata({BOXES_KEY: Boxes.concatenate(boxes).to_bytes()})
    queries = from_rows([mu[200], mu[150]])
    request = make_request(queries, k=2)
    groups = read_footers([str(tmp_path / "a.parquet")])
    assert [group.num_rows for group in groups] == sizes
    counts = Counts(*(Count() for _ in Counts.__dataclass_fields__))
    floors = table_search.first_round(LocalSpark(4), groups, request, counts)
    assert np.isneginf(floors[0]) and np.isfinite(floors[1])
    columns = Columns.of(request, None)
    tables = search_table(LocalSpark(4), groups, request, columns, counts).tables()
    found = merged(tables, request).to_pylist()
    values = reference_values("log_likelihood", queries.z, None, mu, log_var)
    expected = [ids[row] for row in np.argsort(-values, axis=1)[:, :2].ravel()]
    assert [row["item_id"] for row in found] == expected
