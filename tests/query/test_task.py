"""A task's fold over batches of items against float64 brute force and a sort, without Spark."""

from __future__ import annotations

import math
import re

import numpy as np
import pyarrow as pa
import pytest

from tests.support.cases import each_value_once
from tests.support.folds import (
    folded,
    gaussians,
    getter,
    hits,
    make_request,
    posteriors,
)
from tests.support.reference import (
    BOUNDED,
    assert_same_score,
    assert_same_values,
    log_vars_of,
    reference_scores,
    reference_values,
)
from tests.support.tolerances import (
    assert_same_scores,
    assert_within,
    near_score,
    score_bound,
    score_rounding,
)
from vaeudf.errors import InputError
from vaeudf.gaussian.scores import SCORES
from vaeudf.numerics.boxes import Boxes
from vaeudf.numerics.kd_tree import kd_order
from vaeudf.query import request as asking
from vaeudf.query import task as folding
from vaeudf.query.request import Request
from vaeudf.query.task import SUM_MARGIN, Fold
from vaeudf.search import engine, prepared
from vaeudf.table.vectors import to_matrix


def expected_hits(request: Request, items) -> dict[int, list[tuple[str, float]]]:
    ids, mu, log_var = items
    latents, score = request.queries, request.score
    scores = reference_scores(
        score.name, latents.z, latents.log_var, mu, log_var, tolerance=request.tolerance
    )
    sign = 1 if score.ascending else -1
    return {
        q: sorted(zip(ids, row, strict=True), key=lambda pair: (sign * pair[1], pair[0].encode()))[
            : request.k
        ]
        for q, row in enumerate(scores.tolist())
    }


def assert_same(found, request, items, expected=None) -> None:
    """That these are the hits, or those that are expected in their place."""
    expected = expected_hits(request, items) if expected is None else expected
    asked = request.queries.log_var, *items[1:], request.tolerance
    assert found.keys() == expected.keys()
    for query, best in expected.items():
        assert [name for name, _ in found[query]] == [name for name, _ in best], query
        scores = [np.array([score for _, score in some]) for some in (found[query], best)]
        assert_same_score(request.score.name, *scores, *asked)


def cut(count: int, pieces: int, seed: int) -> list[np.ndarray]:
    """Some rows at a time, none of them next to another, one batch empty."""
    rng = np.random.default_rng([count, pieces, seed])
    edges = np.sort(rng.integers(0, count, size=pieces - 1))
    return [*np.split(rng.permutation(count), edges), np.empty(0, np.int64)]


@pytest.fixture(params=["directly", "filtered", "bounded"])
def way(request, monkeypatch) -> str:
    """How batches are searched: by the direct formula, by the filter alone, under bounds too."""
    monkeypatch.setattr(prepared, "_SMALL", 10**9 if request.param == "directly" else 0)
    if request.param == "bounded":
        monkeypatch.setattr(engine, "_FEWEST_FOR_BOUNDS", 1)
        monkeypatch.setattr(engine, "_WORTH_BOUNDS", 2.0)
    return request.param


def check_way(fold: Fold, way: str) -> None:
    assert fold.work.scored > 0
    assert (fold.work.rescored > 0) == (way != "directly")
    assert (fold.work.bounds > 0) == (way == "bounded")


# ---- the best of batches


@each_value_once(("name", SCORES), ("tolerance", [0.0, 0.3]))
def test_batches_in_any_order_give_the_best_of_all(name, tolerance, way):
    items = posteriors(700, 3, copies=2)
    z, log_var = gaussians(9, 3)
    for seed, k in [(0, 1), (1, 10), (2, 699), (3, 800)]:
        request = make_request(name, z, log_var, k, tolerance)
        fold = folded(request, items, cut(700, 1 + 3 * seed, seed))
        assert fold.num_items == 700
        assert_same(hits(fold), request, items)
        check_way(fold, way)


def test_one_query_takes_the_direct_path():
    items = posteriors(3000, 4, copies=3)
    request = make_request("log_likelihood", np.zeros((1, 4)), k=7)
    fold = folded(request, items, cut(3000, 3, 0))
    assert_same(hits(fold), request, items)
    assert fold.work.scored == 3000 and fold.work.rescored == 0


@pytest.mark.slow
def test_many_queries_over_large_batches():
    """No size is made small here: the tree of boxes, the filter and the merging as they come."""
    ids, mu, log_var = posteriors(10_000, 3, copies=2)
    order = kd_order(mu)
    items = [ids[row] for row in order], mu[order], log_var[order]
    z, query_log_var = gaussians(300, 3)
    for name in ("log_likelihood", "reverse_kl"):
        request = make_request(name, z, query_log_var, 10)
        fold = folded(request, items, np.split(np.arange(10_000), [6000]))
        assert_same(hits(fold), request, items)
        assert fold.work.bounds > 0 and fold.work.rescored > 0


@each_value_once(
    ("name", ["log_likelihood", "mahalanobis", "kl", "wasserstein2"]), ("copies", [1, 40])
)
def test_the_last_place_goes_to_the_lowest_id(name, copies, way):
    """All items are one and the same, or each of ten comes 40 times: more than k in a batch."""
    items = posteriors(400, 2, copies=copies if copies > 1 else 400)
    z, log_var = gaussians(6, 2)
    for k in (1, 3, 39, 41, 60):
        for batches in ([np.arange(400)], cut(400, 5, k), np.split(np.arange(400), 40)):
            request = make_request(name, z, log_var, k)
            found = hits(folded(request, items, batches))
            assert_same(found, request, items)


def test_a_tie_with_a_floor_counts(way):
    items = ["b", "a", "c"], np.ones((3, 1), np.float32), np.zeros((3, 1), np.float32)
    z = np.zeros((6, 1))
    value = reference_values("log_likelihood", z, None, *items[1:])[:, 0]
    at, above = make_request("log_likelihood", z, k=2, floors=value), np.nextafter(value, 0)
    found = hits(folded(at, items, [np.arange(3)]))
    assert [name for name, _ in found[5]] == ["a", "b"]
    fold = folded(make_request("log_likelihood", z, k=2, floors=above), items, [np.arange(3)])
    assert hits(fold) == {q: [] for q in range(6)}


def test_an_order_of_its_own(monkeypatch, way):
    """Rows in no order are brought into one; payload, explanations and ties stay with them."""
    monkeypatch.setattr(folding, "QUERIES_WORTH_ORDER", 1)
    orders = []

    def remembered(mu):
        orders.append(kd_order(mu))
        return orders[-1]

    monkeypatch.setattr(folding, "kd_order", remembered)
    items = posteriors(900, 3, copies=3)
    z, _ = gaussians(8, 3)
    request = make_request("log_likelihood", z, k=8, explain=True)
    batches = cut(900, 3, 0)
    fold = folded(request, items, batches, in_order=False)
    assert len(orders) == 3 and not (orders[0] == np.arange(len(orders[0]))).all()
    assert_same(hits(fold), request, items)
    check_explained(request, fold, items)
    # Each item's payload is that of its own row.
    batch_of = {items[0][row]: place for rows in batches for place, row in enumerate(rows)}
    table = fold.result()[2]
    assert table["place"].to_pylist() == [batch_of[name] for name in table["item_id"].to_pylist()]


@pytest.mark.parametrize(("num_bytes", "size"), [(64 * 4 * 3, 3), (1, 1), (2**28, 10)])
def test_groups_of_queries(monkeypatch, num_bytes, size):
    monkeypatch.setattr(asking, "_GROUP_BYTES", num_bytes)
    items = posteriors(300, 2, copies=2)
    z, log_var = gaussians(10, 2)
    request = make_request("kl", z, log_var, k=4)
    groups = request.groups()
    assert np.concatenate(groups).tolist() == list(range(10))
    assert [len(group) for group in groups[:-1]] == [size] * (len(groups) - 1)
    assert 1 <= len(groups[-1]) <= size
    found: dict = {}
    for group in groups:
        found |= hits(folded(request, items, cut(300, 4, 0), group=group))
    assert_same(found, request, items)


def test_only_some_queries_are_asked(way):
    items = posteriors(300, 2)
    ids, mu, log_var = items
    z, _ = gaussians(12, 2)
    request = make_request("log_likelihood", z, k=3, cuts=np.full(12, -np.inf))
    group = np.array([1, 2, 4, 5, 6, 8, 11])
    fold = Fold(request, group)
    asked = np.array([0, 2, 3, 4, 6])
    fold.add(mu, log_var, getter(ids), reaching=asked)
    fold.add(mu, log_var, getter(ids), reaching=np.empty(0, np.int64))
    expected = expected_hits(request, items)
    wanted = {int(q): expected[q] if q in group[asked] else [] for q in group}
    assert_same(hits(fold), request, items, wanted)
    assert (np.isneginf(fold.sums.logarithms()) == ~np.isin(np.arange(7), asked)).all()
    assert fold.num_items == 600


def test_nothing_at_all():
    request = make_request("euclidean", np.zeros((2, 3)))
    fold = folded(request, posteriors(0, 3), [np.empty(0, np.int64)])
    queries, scores, items = fold.result()
    assert (len(queries), len(scores), items, fold.num_items) == (0, 0, None, 0)
    assert fold.best_values(np.empty((0, 3)), np.empty((0, 3))).shape == (2, 0)


def test_the_best_values_of_a_batch(way):
    _, mu, log_var = posteriors(400, 3, copies=3)
    z, query_log_var = gaussians(6, 3)
    for name in ("log_likelihood", "jeffreys", "bhattacharyya"):
        values = reference_values(name, z, query_log_var, mu, log_var, tolerance=0.3)
        for k in (1, 7, 500):
            request = make_request(name, z, query_log_var, k, 0.3, floors=np.full(6, 1e9))
            found = Fold(request, np.array([1, 4])).best_values(mu, log_var)
            expected = -np.sort(-values[[1, 4]], axis=1)[:, :k]
            assert_same_values(name, found, expected, query_log_var, mu, log_var, 0.3)


# ---- explain


def check_explained(request: Request, fold: Fold, items) -> None:
    ids, mu, log_var = items
    row_of = {name: row for row, name in enumerate(ids)}
    queries, scores, table = fold.result()
    n = mu.shape[1]
    for query, score, hit in zip(queries, scores, table.to_pylist(), strict=True):
        row = row_of[hit["item_id"]]
        variances = np.exp(log_var[row].astype(np.float64)) + request.tolerance**2
        costs = 0.5 * (request.queries.z[query] - mu[row]) ** 2 / variances
        log_vars = log_vars_of(None, log_var[row], request.tolerance)
        volume = -0.5 * np.log(2 * np.pi * variances).sum()
        for found, expected in (
            (hit["misfit"], -costs.sum()),
            (hit["volume"], volume),
            (hit["misfit"] + hit["volume"], score),
        ):
            assert found == near_score(expected, *log_vars, dims=n)
        dearest = sorted(range(n), key=lambda i: -costs[i])[:3]
        assert [part["dimension"] for part in hit["costliest"]] == dearest
        found = [part["nats"] for part in hit["costliest"]]
        near = score_rounding(n, *log_vars) * costs[dearest]
        assert_within(found, costs[dearest], near, why="one dimension's part of a score")


@each_value_once(("n", [1, 2, 3, 10]), ("tolerance", [0.0, 0.3]))
def test_explanations(n, tolerance, way):
    items = posteriors(200, n)
    z, log_var = gaussians(6, n)
    # Of Gaussians the means are asked for.
    for query_log_var in (None, log_var):
        request = make_request("log_likelihood", z, query_log_var, 6, tolerance, explain=True)
        fold = folded(request, items, cut(200, 3, n))
        assert len(fold.result()[0]) == 36
        check_explained(request, fold, items)


# ---- sums


def true_sums(request: Request, items, cuts=None) -> np.ndarray:
    """Log of the sums over all items, or over those that are not below the cuts."""
    values = reference_values(
        "log_likelihood", request.queries.z, None, *items[1:], tolerance=request.tolerance
    )
    if cuts is not None:
        values = np.where(values >= cuts[:, None], values, -np.inf)
    return np.logaddexp.reduce(values, axis=1)


@pytest.mark.parametrize("tolerance", [0.0, 0.3])
def test_sums_over_all_items(tolerance, way):
    # Far ones as well, whose densities underflow; and ties, for which items are seen twice.
    z = np.concatenate([gaussians(6, 3)[0], np.full((1, 3), 1e4)])
    items = posteriors(500, 3, copies=50)
    for batches in ([np.arange(500)], cut(500, 6, 1)):
        request = make_request("log_likelihood", z, None, 4, tolerance, cuts=np.full(7, -np.inf))
        fold = folded(request, items, batches)
        log_vars = log_vars_of(None, items[2], tolerance)
        found, expected = fold.sums.logarithms(), true_sums(request, items)
        assert_same_scores(found, expected, *log_vars, dims=3, items=500)
        assert np.isneginf(fold.log_skipped()).all()
        assert_same(hits(fold), request, items)


def test_what_is_left_out_of_a_sum_is_no_more_than_it_says(way):
    items = posteriors(2000, 2)
    z, _ = gaussians(40, 2)
    free = make_request("log_likelihood", z, k=3)
    values = np.sort(reference_values("log_likelihood", z, None, *items[1:]), axis=1)
    left_out = 0.0
    for place in (0, 3, 500, 1999):
        cuts, floors = values[:, -1 - place].copy(), values[:, -3].copy()
        request = make_request(
            "log_likelihood", z, k=3, floors=floors, cuts=cuts, log_num_items=math.log(2000)
        )
        fold = folded(request, items, cut(2000, 3, place))
        sums, total = fold.sums.logarithms(), true_sums(free, items)
        # An item at the cut itself may fall on either side of it by its last digit.
        kept = true_sums(free, items, cuts + 1e-9)
        near = score_bound(total, items[2], dims=2, items=2000)
        assert (sums >= kept - near).all() and (sums <= total + near).all()
        skipped = cuts + math.log(2000)
        assert_same_scores(fold.log_skipped(), skipped, items[2], dims=2)
        assert (total <= np.logaddexp(sums, fold.log_skipped()) + near).all()
        left_out = max(left_out, float((total - sums).max()))
        assert_same(hits(fold), free, items)
    assert left_out > 1.0


def test_with_the_margin_that_is_used_no_digit_is_lost():
    items = posteriors(2000, 2)
    z, _ = gaussians(40, 2)
    values = np.sort(reference_values("log_likelihood", z, None, *items[1:]), axis=1)
    cuts = values[:, -3] - SUM_MARGIN - math.log(2000)
    request = make_request("log_likelihood", z, k=3, cuts=cuts, log_num_items=math.log(2000))
    fold = folded(request, items, [np.arange(2000)])
    assert (values < cuts[:, None]).sum() > 1000
    total = true_sums(request, items)
    assert_same_scores(fold.sums.logarithms(), total, items[2], dims=2, items=2000)
    assert (fold.log_skipped() - total < -SUM_MARGIN + 1e-9).all()


def test_a_sum_over_nothing():
    request = make_request("log_likelihood", np.zeros((2, 3)), cuts=np.array([-np.inf, 50.0]))
    fold = folded(request, posteriors(20, 3), [np.arange(20)])
    assert np.isneginf(fold.sums.logarithms()).tolist() == [False, True]


# ---- what a box says


@pytest.mark.parametrize(
    ("name", "with_sums"), [*((name, False) for name in SCORES), ("log_likelihood", True)]
)
def test_reaching_has_every_query_that_a_row_matters_to(name, with_sums):
    _, mu, log_var = posteriors(4096, 2)
    order = kd_order(mu)
    mu, log_var = mu[order], log_var[order]
    z, query_log_var = gaussians(60, 2)
    rng = np.random.default_rng(5)
    for tolerance in (0.0, 0.3):
        values = reference_values(name, z, query_log_var, mu, log_var, tolerance)
        floors = -np.sort(-values, axis=1)[:, 9]
        cuts = floors - rng.uniform(0, 5, size=60) if with_sums else None
        request = make_request(name, z, query_log_var, 10, tolerance, floors, cuts=cuts)
        group = np.flatnonzero(rng.random(60) < 0.7)
        fold = Fold(request, group)
        boxes = request.nodes(Boxes.of_blocks(mu, log_var, 64))
        limits = floors if cuts is None else cuts
        asked = 0
        for place, best in enumerate(np.maximum.reduceat(values, np.arange(0, 4096, 64), axis=1).T):
            reaching = fold.reaching(boxes, place)
            assert (np.diff(reaching) > 0).all()
            matters = np.flatnonzero(best[group] >= limits[group])
            assert np.isin(matters, reaching).all(), (place, tolerance)
            asked += len(reaching)
        if name in BOUNDED:
            assert asked < 0.8 * 64 * len(group)


def test_queries_die_as_the_best_are_found():
    ids, mu, log_var = posteriors(4096, 2)
    order = kd_order(mu)
    mu, log_var, ids = mu[order], log_var[order], [ids[row] for row in order]
    z, _ = gaussians(20, 2)
    request = make_request("log_likelihood", z, k=5)
    fold = Fold(request, np.arange(20))
    boxes = request.nodes(Boxes.of_blocks(mu, log_var, 64))
    assert sum(len(fold.reaching(boxes, place)) for place in range(64)) == 20 * 64
    fold.add(mu, log_var, getter(ids))
    best = hits(fold)
    left = [fold.reaching(boxes, place) for place in range(64)]
    assert sum(map(len, left)) < 20 * 64 / 2
    # Whoever has a hit there is still asked.
    block_of = {name: row // 64 for row, name in enumerate(ids)}
    assert all(q in left[block_of[name]] for q, pairs in best.items() for name, _ in pairs)


# ---- columns of lists


FLOATS = pa.list_(pa.float32())


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.int32()])
@pytest.mark.parametrize("lists", [pa.list_, pa.large_list, lambda kind: pa.list_(kind, 2)])
def test_a_column_of_lists_as_a_matrix(lists, kind):
    numbers = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], kind.to_pandas_dtype())
    column = pa.array([list(row) for row in numbers], lists(kind))
    table = pa.table({"mu": pa.chunked_array([column.slice(1, 1), column.slice(2)])})
    matrix = to_matrix(table, "mu", 2)
    assert matrix.dtype == (np.float32 if kind == pa.float32() else np.float64)
    assert matrix.tolist() == numbers[1:].tolist()
    assert to_matrix(table.slice(0, 0), "mu", 2).shape == (0, 2)
    batch = pa.RecordBatch.from_arrays([column.slice(2)], ["mu"])
    assert to_matrix(batch, "mu", 2).tolist() == numbers[2:].tolist()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 2], [3]], "item 'i1' has a mu of 1 numbers, but the queries have 2 dimensions."),
        # As many in all as there should be.
        ([[1, 2], [3], [4, 5, 6]], "item 'i1' has a mu of 1 numbers, but the queries have 2"),
        ([None, [1, 2]], "item 'i0' has a mu of 0 numbers, but the queries have 2 dimensions."),
        ([[1, 2], []], "item 'i1' has a mu of 0 numbers, but the queries have 2 dimensions."),
        ([[1, 2], [3, None]], "item 'i1' has a mu that is null, NaN or infinite."),
        ([[1, 2], [np.nan, 3]], "item 'i1' has a mu that is null, NaN or infinite."),
        ([[1, -np.inf]], "item 'i0' has a mu that is null, NaN or infinite."),
    ],
)
@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_a_posterior_that_does_not_fit(rows, message, kind):
    ids = [f"i{place}" for place in range(len(rows))]
    table = pa.table({"item_id": ids, "mu": pa.array(rows, pa.list_(kind))})
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        to_matrix(table, "mu", 2)
    unnamed = message.replace("item 'i", "row ").replace("' has", " of a row group has")
    with pytest.raises(InputError, match=f"^{re.escape(unnamed)}"):
        to_matrix(table.select(["mu"]), "mu", 2)


def test_a_posterior_of_fixed_length_that_does_not_fit():
    table = pa.table({"mu": pa.array([[1, 2], None], pa.list_(pa.float32(), 2))})
    with pytest.raises(InputError, match="row 1 of a row group has a mu"):
        to_matrix(table, "mu", 2)
