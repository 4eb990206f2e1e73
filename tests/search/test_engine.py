"""What the engine passes over could not have mattered: bounds and margins against exact values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from tests.support.cases import each_value_once, further_cases_slow
from tests.support.reference import (
    BOUNDED,
    FILTERED,
    KINDS,
    LOG_2PI,
    assert_same_values,
    exact_values,
    items_and_queries,
    reference_values,
    without_filter,
)
from tests.support.tolerances import assert_same_scores
from vaeudf.gaussian.scores import SCORES, Score
from vaeudf.numerics.boxes import Boxes
from vaeudf.numerics.kd_tree import kd_order
from vaeudf.numerics.log_sums import LogSums
from vaeudf.search import engine, kernels
from vaeudf.search.kernels import BLOCK, FAN_OUT
from vaeudf.search.nodes import nodes_of_boxes
from vaeudf.search.prepared import Prepared, prepare, prepare_queries

TOLERANCES = [0.0, 1e-6, 0.1, 10.0]
# Sizes such that every number of dimensions costs about the same: runs, queries.
SIZES = {1: (90, 120), 2: (90, 120), 3: (80, 120), 10: (40, 80), 64: (16, 40), 512: (6, 20)}


def prepared_queries(name, z, query_log_var, tolerance):
    score = SCORES[name]
    log_var = query_log_var if score.between_gaussians else None
    return prepare_queries(score, z, log_var, tolerance)


def passed_over(nodes, node, queries, floors):
    """How many of the queries a node would be passed over by, were these their floors."""
    return len(floors) - kernels.count_reaching(nodes, np.array([node]), queries, floors)


def boxes_of_runs(name, mu, log_var, size, tolerance):
    """One box around every run of ``size`` items, made as for a block."""
    return nodes_of_boxes(SCORES[name], tolerance, Boxes.of_blocks(mu, log_var, size))


# ---- bounds


@each_value_once(("name", SCORES), ("n", SIZES))
def test_no_bound_is_below_an_item(name, n):
    # Some six million pairs of a box and a query in all, four items to a box.
    size = 4
    runs, count = SIZES[n]
    for place, kind in enumerate(KINDS):
        first = place % 4
        tolerances = {1: TOLERANCES[first % 2 :: 2], 2: TOLERANCES, 3: TOLERANCES[first % 2 :: 2]}
        for tolerance in tolerances.get(n, TOLERANCES[first : first + 1]):
            mu, log_var, z, query_log_var = items_and_queries(kind, n, runs, size, count)
            queries = prepared_queries(name, z, query_log_var, tolerance)
            nodes = boxes_of_runs(name, mu, log_var, size, tolerance)
            exact = exact_values(name, queries, mu, log_var, tolerance)
            assert not np.isnan(exact).any()
            best = exact.reshape(count, runs, size).max(axis=2)
            lost = [
                passed_over(nodes, node, queries, np.ascontiguousarray(best[:, node]))
                for node in range(runs)
            ]
            assert sum(lost) == 0, (kind, tolerance, int(np.argmax(lost)))


@each_value_once(("name", SCORES), ("kind", ["ordinary", "boxes", "corners", "far"]))
def test_no_bound_is_below_the_reference_form(name, kind):
    # The same against vaeudf.gaussian; where every number is far from 0, to the last digit.
    runs, count, n = 100, 80, 3
    mu, log_var, z, query_log_var = items_and_queries(kind, n, runs, 4, count, seed=1)
    for tolerance in TOLERANCES:
        queries = prepared_queries(name, z, query_log_var, tolerance)
        nodes = boxes_of_runs(name, mu, log_var, 4, tolerance)
        values = reference_values(name, z, query_log_var, mu, log_var, tolerance)
        exact = exact_values(name, queries, mu, log_var, tolerance)
        assert_same_values(name, exact, values, query_log_var, mu, log_var, tolerance)
        best = values.reshape(count, runs, 4).max(axis=2)
        for node in range(runs):
            floors = np.ascontiguousarray(best[:, node])
            assert passed_over(nodes, node, queries, floors) == 0


@each_value_once(("name", SCORES), ("kind", ["boxes", "corners", "ends", "denormal"]))
def test_every_level_of_the_tree(name, kind):
    n, count, tolerance = 2, 20, 0.0 if kind == "denormal" else 0.1
    num_blocks = FAN_OUT**2 + 3
    mu, log_var, z, query_log_var = items_and_queries(kind, n, num_blocks, BLOCK, count)
    mu, log_var = mu[:-17], log_var[:-17]
    queries = prepared_queries(name, z, query_log_var, tolerance)
    prepared = prepare(SCORES[name], mu, log_var, np.arange(len(mu)), tolerance)
    nodes = prepared.nodes
    assert np.diff(nodes.starts).tolist() == [num_blocks, FAN_OUT + 1, 2]
    exact = exact_values(name, queries, mu, log_var, tolerance)
    for level in range(3):
        width = BLOCK * FAN_OUT**level
        best = np.maximum.reduceat(exact, np.arange(0, len(mu), width), axis=1)
        for place in range(best.shape[1]):
            node = nodes.starts[level] + place
            floors = np.ascontiguousarray(best[:, place])
            assert passed_over(nodes, node, queries, floors) == 0, (level, place)


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_are_near_where_a_box_is_one_item(name):
    # Else a bound that never says anything would pass these tests.
    n, runs, count = 3, 60, 50
    mu, log_var, z, query_log_var = items_and_queries("ordinary", n, runs, 1, count)
    queries = prepared_queries(name, z, query_log_var, 0.1)
    nodes = boxes_of_runs(name, mu, log_var, 1, 0.1)
    exact = exact_values(name, queries, mu, log_var, 0.1)
    # A logarithm by the bits of a float32 is up to 0.0861 of log 2 below, and half of it counts.
    by_bits = 0.03 * n if SCORES[name].features.added else 0.0
    for node in range(runs):
        above = exact[:, node] + 1e-4 * (1 + np.abs(exact[:, node]) + np.abs(queries.constant))
        above += by_bits
        assert passed_over(nodes, node, queries, above) == count


# ---- the filter's margin


def filter_numbers(prepared, queries, parent):
    """The numbers (Q, items) of the filter and of BLAS; each query's offset and lift."""
    items = prepared.items
    count = len(queries.mu)
    everyone = np.arange(count)
    heaps = engine._new_heaps(np.arange(count), 1)
    local = kernels.new_local(items.psi.shape[1], count)
    kernels._enter_parent(items, queries, parent, everyone, count, heaps, local)
    assert np.isneginf(local.thresholds).all()  # nothing found yet: all is let through
    added = items.features.added
    blocks, products = [], []
    for block in range(parent * FAN_OUT, min((parent + 1) * FAN_OUT, len(items.base))):
        with np.errstate(over="ignore", invalid="ignore"):
            products.append(local.phi @ items.psi[block] + items.base[block])
        numbers = np.empty((count, BLOCK), np.float32)
        for at in range(0, count, 4):
            psi, base = items.psi[block], items.base[block]
            if added:
                found, hits = kernels._filter_added(
                    psi,
                    base,
                    local.phi,
                    local.thresholds,
                    everyone,
                    at,
                    count,
                    np.float32(0.5 * added),
                    local.scores,
                )
                assert found == at and min(hits[: count - at]) == BLOCK
            else:
                found, hits = kernels._filter(
                    psi, base, local.phi, local.thresholds, everyone, at, count, local.scores
                )
                assert found == at and min(hits) == BLOCK
            numbers[at : at + 4] = local.scores[: min(4, count - at)]
        blocks.append(numbers)
        if added:  # which is no product
            products[-1] = numbers
    both = [np.concatenate(parts, axis=1, dtype=np.float64) for parts in (blocks, products)]
    return *both, local.offsets, local.lifts


@each_value_once(("name", FILTERED), ("n", [1, 2, 3, 10, 64, 512]))
def test_the_margin_holds_for_every_item(name, n):
    count = 15 if n <= 10 else 6
    for kind in KINDS:
        # Runs within a block, a block, and a whole parent, which has one centre.
        for size in [4, 64, 1024] if n <= 10 else [4, 64]:
            num_items = 1024 + 128 if n <= 10 else 128
            runs = -(-num_items // size)
            mu, log_var, z, query_log_var = items_and_queries(kind, n, runs, size, count)
            mu, log_var = mu[: num_items - 5], log_var[: num_items - 5]
            tolerance = {4: 0.0, 64: 0.1, 1024: 0.0}[size]
            check_margin(name, kind, mu, log_var, z, query_log_var, tolerance)


def check_margin(name, kind, mu, log_var, z, query_log_var, tolerance):
    queries = prepared_queries(name, z, query_log_var, tolerance)
    labels = np.arange(len(mu))
    prepared = prepare(SCORES[name], mu, log_var, labels, tolerance, bounds=False)
    exact = exact_values(name, queries, mu, log_var, tolerance)
    parent_items = BLOCK * FAN_OUT
    for parent in range(len(prepared.items.centres)):
        values = exact[:, parent * parent_items : (parent + 1) * parent_items]
        *both, offsets, lifts = filter_numbers(prepared, queries, parent)
        numbers, products = (part[:, : values.shape[1]] for part in both)
        filtered = offsets < np.inf
        if kind in ("ordinary", "corners"):
            assert filtered.mean() > 0.5
        assert np.isfinite(numbers[filtered]).all() and np.isfinite(products[filtered]).all()
        assert (products[filtered] + offsets[filtered, None] >= values[filtered]).all(), kind
        assert (numbers[filtered] + offsets[filtered, None] >= values[filtered]).all(), kind
        assert (numbers[filtered] + lifts[filtered, None] <= values[filtered]).all(), kind
        # As the filter compares them: a floor at the item's own value lets it through.
        for q in np.flatnonzero(filtered)[:5]:
            for j in range(0, values.shape[1], 97):
                assert not numbers[q, j] < kernels._floor32(values[q, j] - offsets[q])


def test_margins_are_small_for_ordinary_posteriors():
    mu, log_var, z, query_log_var = items_and_queries("ordinary", 10, 16, BLOCK, 40)
    for name in FILTERED:
        queries = prepared_queries(name, z, query_log_var, 0.1)
        prepared = prepare(SCORES[name], mu, log_var, np.arange(len(mu)), 0.1)
        *_, offsets, lifts = filter_numbers(prepared, queries, 0)
        exact = exact_values(name, queries, mu, log_var, 0.1)
        margin = 0.5 * (offsets - lifts)
        assert np.median(margin / np.abs(exact).max(axis=1)) < 1e-3


def test_float64_floors_rounded_to_float32_are_never_above():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=2000) * 10.0 ** rng.uniform(-60, 38, size=2000)
    for number in [*numbers.tolist(), 0.0, -0.0, 3e38, 1e300, np.inf, -3.4e38, -1e300, -np.inf]:
        assert float(kernels._floor32(number)) <= number
    assert np.isneginf(kernels._floor32(np.nan))


# ---- results


def search_every_way(monkeypatch, name, mu, log_var, labels, queries, k, tolerance, floors=None):
    """Search directly, with the filter alone and with bounds; the same to the last bit.

    Returns:
        Values, labels and counts.
    """
    score = SCORES[name]
    directly = without_filter(name, mu, log_var, labels, tolerance)
    expected = engine.search(directly, queries, k, floors)
    prepared = prepare(score, mu, log_var, labels, tolerance)
    assert prepared.nodes is not None
    alone = Prepared(score, tolerance, prepared.items, None)
    for fewest, worth in [(1, 2.0), (engine._FEWEST_FOR_BOUNDS, engine._WORTH_BOUNDS)]:
        with monkeypatch.context() as patch:
            # Bounds for as few items as there are, whether they pay or not; then as it comes.
            patch.setattr(engine, "_FEWEST_FOR_BOUNDS", fewest)
            patch.setattr(engine, "_WORTH_BOUNDS", worth)
            for way in (prepared, alone):
                assert_same(engine.search(way, queries, k, floors), expected)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_WIDE", 1)  # multiplied by BLAS, as in many dimensions
        assert_same(engine.search(alone, queries, k, floors), expected)
    assert alone.work.bounds == 0
    return expected


def assert_same(found, expected):
    """To the last bit, as far as the counts say that there is something."""
    values, labels, counts = found
    assert (counts == expected[2]).all() and values.shape == expected[0].shape
    kept = np.arange(values.shape[1]) < counts[:, None]
    assert (values[kept] == expected[0][kept]).all()
    assert (labels[kept] == expected[1][kept]).all()


@each_value_once(("name", SCORES), ("kind", KINDS))
def test_hard_items_are_found_every_way(monkeypatch, name, kind):
    for n, size, runs, k, double in [
        (1, 64, 35, 10, False),
        (2, 1024, 2, 65, False),
        (3, 64, 20, 300, True),
        (10, 256, 5, 3, True),
        (40, 64, 6, 10, False),
    ]:
        mu, log_var, z, query_log_var = items_and_queries(kind, n, runs, size, 12, double=double)
        labels = np.random.default_rng(n).permutation(len(mu))
        tolerance = {1: 0.0, 2: 0.1, 3: 0.0, 10: 3.0, 40: 0.0}[n]
        queries = prepared_queries(name, z, query_log_var, tolerance)
        values, found, counts = search_every_way(
            monkeypatch, name, mu, log_var, labels, queries, k, tolerance
        )
        exact = exact_values(name, queries, mu, log_var, tolerance)
        for q in range(len(z)):
            order = np.lexsort((labels, -exact[q]))[:k]
            assert found[q].tolist() == labels[order].tolist()
            assert (values[q] == exact[q, order]).all()
        assert (counts == k).all()


def clustered(rng, num_items, n, queries=20):
    """Items around a hundred centres in k-d order, and queries among them."""
    centres = rng.normal(0, 3, size=(100, n))
    which = rng.integers(0, 100, size=num_items)
    mu = (centres[which] + rng.normal(0, 0.05, size=(num_items, n))).astype(np.float32)
    log_var = rng.normal(-5, 0.3, size=(num_items, n)).astype(np.float32)
    order = kd_order(mu)
    rows = rng.integers(0, num_items, size=queries)
    z = mu[rows].astype(np.float64) + rng.normal(0, 0.02, size=(queries, n))
    return mu[order], log_var[order], z, log_var[rows].astype(np.float64)


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_spare_most_of_the_work(monkeypatch, name):
    mu, log_var, z, query_log_var = clustered(np.random.default_rng(5), 20_000, 3)
    labels = np.random.default_rng(6).permutation(len(mu))
    queries = prepared_queries(name, z, query_log_var, 0.0)
    search_every_way(monkeypatch, name, mu, log_var, labels, queries, 10, 0.0)
    prepared = prepare(SCORES[name], mu, log_var, labels)
    assert len(prepared.nodes.starts) == 4  # 313 blocks, 20 above them, 2 above those
    engine.search(prepared, queries, 10)
    work = prepared.work
    pairs = len(z) * len(mu)
    # What the seeds of the floors took is among it.
    assert 0 < work.scored < 0.3 * pairs and work.bounds > 0
    assert work.rescored <= 0.03 * pairs


@pytest.mark.parametrize("name", BOUNDED)
def test_one_query_alone_is_spared_no_less(name):
    mu, log_var, z, query_log_var = clustered(np.random.default_rng(5), 20_000, 3)
    together, alone = (prepare(SCORES[name], mu, log_var, np.arange(len(mu))) for _ in range(2))
    engine.search(together, prepared_queries(name, z, query_log_var, 0.0), 10)
    for place in range(len(z)):
        one = slice(place, place + 1)
        engine.search(alone, prepared_queries(name, z[one], query_log_var[one], 0.0), 10)
    # Its boxes come best first, so that its floor rises sooner.
    assert 0 < alone.work.scored <= together.work.scored
    assert 0 < alone.work.bounds <= together.work.bounds


@pytest.mark.parametrize("k", [1, 10, 1000, 5000, 9000, 20_000])
def test_any_k(monkeypatch, k):
    mu, log_var, z, query_log_var = clustered(np.random.default_rng(7), 9000, 2, queries=6)
    labels = np.arange(len(mu))[::-1].copy()
    for name in ("log_likelihood", "jeffreys"):
        queries = prepared_queries(name, z, query_log_var, 0.1)
        values, _, counts = search_every_way(
            monkeypatch, name, mu, log_var, labels, queries, k, 0.1
        )
        assert values.shape == (6, min(k, 9000)) and (counts == min(k, 9000)).all()
        assert (np.diff(values, axis=1) <= 0).all()


@pytest.mark.parametrize("group_size", [1, 7])
def test_groups_of_queries_do_not_matter(monkeypatch, group_size):
    mu, log_var, z, query_log_var = clustered(np.random.default_rng(8), 5000, 2)
    monkeypatch.setattr(engine, "_QUERIES_PER_GROUP", group_size)
    for name in ("log_likelihood", "reverse_kl"):
        queries = prepared_queries(name, z, query_log_var, 0.0)
        search_every_way(monkeypatch, name, mu, log_var, np.arange(5000), queries, 12, 0.0)


@pytest.mark.parametrize("name", SCORES)
def test_floors_lose_nothing_at_or_above_them(monkeypatch, name):
    mu, log_var, z, query_log_var = clustered(np.random.default_rng(9), 5000, 2)
    mu[::7], log_var[::7] = mu[0], log_var[0]  # and ties
    z[5:8], query_log_var[5:8] = mu[0], log_var[0]
    labels = np.random.default_rng(0).permutation(5000)
    queries = prepared_queries(name, z, query_log_var, 0.1)
    directly = without_filter(name, mu, log_var, labels, 0.1)
    values, found, _ = engine.search(directly, queries, 30)
    places = 2 * np.arange(len(z))
    floors = np.where(places < 30, values[np.arange(len(z)), np.minimum(places, 29)], -np.inf)
    floors[::5] = np.nextafter(floors[::5], np.inf)
    floors[3], floors[4] = np.inf, 1e300
    found_values, found_labels, counts = search_every_way(
        monkeypatch, name, mu, log_var, labels, queries, 30, 0.1, floors
    )
    for q in range(len(z)):
        reach = values[q] >= floors[q]
        assert counts[q] == reach.sum()
        assert found_labels[q, : counts[q]].tolist() == found[q, reach].tolist()
        assert found_values[q, : counts[q]].tolist() == values[q, reach].tolist()
    assert counts.min() == 0 < counts.max() == 30


COPIES = st.lists(st.integers(0, 11), min_size=1, max_size=400)


@given(COPIES, st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([*SCORES]), st.data())
@settings(max_examples=60, deadline=None)
def test_order_alignment_and_cuts_do_not_matter(copies, seed, k, name, data):
    """Permuted, moved to other places in their blocks, and split in two and merged."""
    rng = np.random.default_rng(seed)
    different = rng.normal(size=(2, 12, 2)).astype(np.float32)  # and many copies of each
    mu, log_var = different[:, copies]
    z = np.concatenate([mu[:2], rng.normal(size=(2, 2))])
    query_log_var = np.zeros_like(z)
    queries = prepared_queries(name, z, query_log_var, 0.1)
    labels = rng.permutation(len(mu))

    def search(mu, log_var, labels):
        prepared = prepare(SCORES[name], mu, log_var, labels, 0.1)
        values, found, counts = engine.search(prepared, queries, k)
        assert (counts == min(k, len(mu))).all()
        return values, found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_FEWEST_FOR_BOUNDS", 1)
        patch.setattr(engine, "_WORTH_BOUNDS", 2.0)
        values, found = search(mu, log_var, labels)
        exact = exact_values(name, queries, mu, log_var, 0.1)
        for q in range(len(z)):
            order = np.lexsort((labels, -exact[q]))[:k]
            assert found[q].tolist() == labels[order].tolist()
            assert values[q].tolist() == exact[q, order].tolist()

        order = rng.permutation(len(mu))
        permuted = search(mu[order], log_var[order], labels[order])
        assert (permuted[0] == values).all() and (permuted[1] == found).all()

        ahead = data.draw(st.integers(1, 70), label="items ahead")
        far = np.full((ahead, 2), 1e6, np.float32)
        moved = search(
            np.concatenate([far, mu]),
            np.concatenate([np.full_like(far, -3), log_var]),
            np.concatenate([np.arange(ahead) + len(mu), labels]),
        )
        count = values.shape[1]
        assert (moved[0][:, :count] == values).all() and (moved[1][:, :count] == found).all()

        cut = data.draw(st.integers(0, len(mu)), label="cut")
        parts = [
            search(mu[part], log_var[part], labels[part]) for part in (slice(cut), slice(cut, None))
        ]
        both = [np.concatenate(pair, axis=1) for pair in zip(*parts, strict=True)]
        for q in range(len(z)):
            best = np.lexsort((both[1][q], -both[0][q]))[:k]
            assert both[0][q, best].tolist() == values[q].tolist()
            assert both[1][q, best].tolist() == found[q].tolist()


@pytest.mark.parametrize("name", SCORES)
def test_candidates(monkeypatch, name):
    rng = np.random.default_rng(11)
    mu, log_var, z, query_log_var = clustered(rng, 3000, 2)
    labels = rng.permutation(3000)
    queries = prepared_queries(name, z, query_log_var, 0.0)
    monkeypatch.setattr(engine, "_FEWEST_FOR_BOUNDS", 1)
    monkeypatch.setattr(engine, "_QUERIES_PER_GROUP", 6)
    for copies in (False, True):
        if copies:
            mu[:], log_var[:] = mu[labels % 300], log_var[labels % 300]
        prepared = prepare(SCORES[name], mu, log_var, labels)
        directly = without_filter(name, mu, log_var, labels)
        values, found, _ = engine.search(directly, queries, 26)
        for floors in (np.full(len(z), -np.inf), values[:, 12].copy(), values[:, 25].copy()):
            answers = [
                engine.candidates(prepared, queries, 25, floors),
                engine.candidates(directly, queries, 25, floors),
            ]
            for places, their_values, their_labels, tied in answers:
                for q in range(len(z)):
                    own = places == q
                    best = np.lexsort((their_labels[own], -their_values[own]))
                    wanted = values[q, :25] >= floors[q]
                    assert their_values[own][best].tolist() == values[q, :25][wanted].tolist()
                    assert their_labels[own][best].tolist() == found[q, :25][wanted].tolist()
                # Ten copies of each: labels have decided which of some to keep.
                decided = (values[:, 24] == values[:, 25]) & (floors <= values[:, 24])
                assert tied or not decided.any()
                assert copies or not tied


@pytest.mark.parametrize("order", [[0, 1, 1], [1, 0, 1], [1, 1, 0]])
def test_labels_decide_in_whatever_order_ties_come(order):
    # The second place has two items to choose from; with a third there is nothing to choose.
    queries = prepared_queries("euclidean", np.zeros((1, 1)), None, 0.0)
    mu, labels = np.array(order, float)[:, None], np.arange(3)
    prepared = prepare(SCORES["euclidean"], mu, mu, labels)
    floors = np.full(1, -np.inf)
    for k in (2, 3):
        for way in (without_filter("euclidean", mu, mu, labels), prepared):
            _, values, found, tied = engine.candidates(way, queries, k, floors)
            assert tied == (k == 2)
            assert sorted(found.tolist()) == sorted(np.argsort(order, kind="stable")[:k].tolist())
            assert sorted(values.tolist()) == [-0.5] * (k - 1) + [0.0]


@pytest.mark.parametrize(("n", "count"), [(2, 65), (2, 5000), (40, 65), (40, 1025)])
def test_no_pair_counts_twice(n, count):
    rng = np.random.default_rng(0)
    mu, log_var = rng.normal(size=(count, n)), rng.normal(-3, 0.3, size=(count, n))
    queries = prepared_queries("log_likelihood", rng.normal(size=(3000, n)), None, 0.0)
    prepared = prepare(SCORES["log_likelihood"], mu, log_var, np.arange(count))
    engine.search(prepared, queries, 5)
    assert 0 < prepared.work.scored <= 3000 * count


def test_no_candidates():
    queries = prepared_queries("euclidean", np.zeros((2, 1)), None, 0.0)
    nothing = np.empty((0, 1))
    prepared = prepare(SCORES["euclidean"], nothing, nothing, np.empty(0, np.int64))
    places, values, labels, tied = engine.candidates(prepared, queries, 3, np.full(2, -np.inf))
    assert len(places) == len(values) == len(labels) == 0 and not tied
    values, labels, counts = engine.search(prepared, queries, 3)
    assert values.shape == labels.shape == (2, 0) and counts.tolist() == [0, 0]


@each_value_once(("name", SCORES), ("kind", ["ordinary", "boxes", "ends", "denormal"]))
def test_boxes_of_row_groups_pass_over_nothing_that_matters(name, kind):
    runs, size, count = 50, 5, 60
    mu, log_var, z, query_log_var = items_and_queries(kind, 2, runs, size, count)
    boxes = Boxes.of_blocks(mu, log_var, size)
    for tolerance in (0.0, 0.1):
        queries = prepared_queries(name, z, query_log_var, tolerance)
        nodes = nodes_of_boxes(SCORES[name], tolerance, boxes)
        best = exact_values(name, queries, mu, log_var, tolerance)
        best = best.reshape(count, runs, size).max(axis=2)
        for node in range(runs):
            floors = np.ascontiguousarray(best[:, node])
            reaching = kernels.reaching(nodes, node, queries, floors)
            assert reaching.tolist() == list(range(count))
            above = np.maximum(floors, -1e30) + 1e30
            above[::3] = floors[::3]
            reaching = kernels.reaching(nodes, node, queries, above)
            assert set(range(0, count, 3)) <= set(reaching.tolist())


@pytest.mark.parametrize("bounds", [False, True])
def test_running_sums_of_likelihoods(monkeypatch, bounds):
    mu, log_var, z, _ = clustered(np.random.default_rng(12), 3000, 2)
    monkeypatch.setattr(engine, "_FEWEST_FOR_BOUNDS", 1)
    monkeypatch.setattr(engine, "_WORTH_BOUNDS", 2.0 if bounds else 0.0)
    monkeypatch.setattr(engine, "_QUERIES_PER_GROUP", 6)
    queries = prepared_queries("log_likelihood", z, None, 0.1)
    exact = exact_values("log_likelihood", queries, mu, log_var, 0.1)
    cuts = np.sort(exact, axis=1)[:, -200]
    cuts[0], cuts[1] = -np.inf, np.inf
    sums = LogSums(len(z))
    floors = np.full(len(z), -np.inf)
    for rows in (slice(1000), slice(1000, 3000)):
        labels = np.arange(len(mu[rows]))
        arguments = mu[rows], log_var[rows], labels
        prepared = prepare(SCORES["log_likelihood"], *arguments, 0.1)
        engine.candidates(prepared, queries, 5, floors, sums=sums, cuts=cuts)
    alone = LogSums(len(z))
    directly = without_filter("log_likelihood", mu, log_var, np.arange(3000), 0.1)
    engine.candidates(directly, queries, 5, floors, sums=alone, cuts=cuts)
    expected = logsumexp(np.where(exact >= cuts[:, None], exact, -np.inf), axis=1)
    for found in (sums.logarithms(), alone.logarithms()):
        assert_same_scores(found, expected, log_var, 2 * np.log(0.1), dims=2, items=len(mu))
    assert np.isneginf(expected[1]) and np.isfinite(expected[2:]).all()


# ---- where float32 ends: (score, mu, log_var, query's mu, query's log_var), all items equal
ENDS = [
    pytest.param("log_likelihood", 0.0, -200.0, 0.0, 0.0, id="precision beyond float32"),
    pytest.param("log_likelihood", 0.0, 200.0, 1e30, 0.0, id="no precision and a far query"),
    pytest.param("bhattacharyya", 0.0, 0.0, 0.0, 200.0, id="query's variance beyond float32"),
    pytest.param("mahalanobis", 0.0, -27.6, 1e-23, 0.0, id="the query's square vanishes"),
    pytest.param("mahalanobis", 0.0, -27.6, 2.9e-23, 0.0, id="the square of the gap is rounded up"),
    pytest.param("bhattacharyya", 0.0, -102.0, 1e-18, -102.0, id="variances are denormal"),
    pytest.param("reverse_kl", 0.0, 100.0, 0.0, 34.0, id="squares beyond float32"),
    pytest.param("kl", 0.0, -100.0, 0.0, -34.0, id="ratios beyond float32"),
    pytest.param("kl", 0.0, 0.0, 0.0, -27.6, id="floor and constant cancel"),
    pytest.param("log_likelihood", 0.0, -LOG_2PI, 0.0, 0.0, id="intercepts cancel"),
    pytest.param("wasserstein2", 0.0, 1500.0, 0.0, 1500.0, id="sigma beyond float64"),
    pytest.param("wasserstein2", 0.0, -2.1, 0.0, -2.1, id="two ways to compute sigma"),
    pytest.param("wasserstein2", 3.0, 5.7, 3.0, 5.7, id="two ways to compute a wide sigma"),
]


@pytest.mark.parametrize(("name", "mu", "log_var", "z", "query_log_var"), ENDS)
@pytest.mark.parametrize("n", further_cases_slow([1, 3, 30], [3]))
def test_equal_items_tie_at_the_ends_of_float32(
    monkeypatch, name, mu, log_var, z, query_log_var, n
):
    count = 1200
    labels = np.random.default_rng(0).permutation(count)
    # Query by query a last digit of log sigma² apart, which changes sigma's, or not.
    log_vars = np.nextafter(query_log_var, query_log_var + np.arange(8.0) - 3.5)[:, None]
    spreads = np.broadcast_to(log_vars + 0.1 * np.arange(8)[:, None], (8, n)).copy()
    for spread in (np.full((8, n), query_log_var), spreads):
        queries = prepared_queries(name, np.full((8, n), z), spread, 0.0)
        items = np.full((count, n), mu), np.full((count, n), log_var)
        if spread is spreads and name == "wasserstein2":
            items = items[0], np.broadcast_to(spread[5:6], (count, n)).copy()
        _, found, counts = search_every_way(monkeypatch, name, *items, labels, queries, 7, 0.0)
        assert (found == np.arange(7)).all() and (counts == 7).all()


# ---- scores that the loops know less of, or nothing


@pytest.mark.parametrize("name", SCORES)
def test_a_score_without_features_and_bounds_finds_the_same(name):
    mu, log_var, z, query_log_var = items_and_queries("ordinary", 3, 80, 64, 20)
    labels = np.arange(len(mu))

    class Bare(Score):
        """All that a score must say."""

    own = SCORES[name]
    bare = Bare(
        name=own.name,
        code=own.code,
        reference=own.reference,
        between_gaussians=own.between_gaussians,
        ascending=own.ascending,
        distance=own.distance,
        unit=own.unit,
    )
    found = []
    for score in (own, bare):
        queries = prepare_queries(score, z, query_log_var, 0.1)
        prepared = prepare(score, mu, log_var, labels, 0.1)
        assert prepared.nodes is not None
        found.append(engine.search(prepared, queries, 7))
        nodes = nodes_of_boxes(score, 0.1, Boxes.of_blocks(mu, log_var, 64))
        floors = found[0][0][:, -1].copy()
        best = found[0][1][:, 0] // 64
        for q in range(len(z)):
            assert q in kernels.reaching(nodes, best[q], queries, floors).tolist()
    assert_same(*found)


@pytest.mark.parametrize("num_queries", [1, None])
@pytest.mark.parametrize("code", [-1, 99])
def test_a_code_without_a_formula_is_refused(code, num_queries):
    mu, log_var, z, query_log_var = items_and_queries("ordinary", 3, 80, 64, 20)
    score = replace(SCORES["kl"], code=code)
    queries = prepare_queries(score, z, query_log_var, 0.0)
    prepared = prepare(score, mu, log_var, np.arange(len(mu)), num_queries=num_queries)
    with pytest.raises(ValueError, match="a code without a formula"):
        engine.search(prepared, queries, 7)
