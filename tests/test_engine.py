"""What the engine passes over could not have mattered: bounds and margins against exact values."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import KINDS, exact_values, items_and_queries, reference_values
from vaeudf import engine, kernels
from vaeudf.kernels import BLOCK, FAN_OUT
from vaeudf.scores import SCORES

TOLERANCES = [0.0, 1e-6, 0.1, 10.0]
# Sizes such that every number of dimensions costs about the same: runs, queries.
SIZES = {1: (140, 120), 2: (140, 120), 3: (100, 120), 10: (50, 80), 64: (20, 40), 512: (6, 20)}


def prepared_queries(name, z, query_log_var, tolerance):
    score = SCORES[name]
    log_var = query_log_var if score.between_gaussians else None
    return engine.prepare_queries(score, z, log_var, tolerance)


def passed_over(name, nodes, node, queries, floors):
    """How many of the queries a node would be passed over by, were these their floors."""
    everyone = np.arange(len(floors))
    blocks = np.array([node])
    return len(floors) - kernels.count_reached(
        SCORES[name].code, nodes, queries, blocks, everyone, floors
    )


def boxes_of_runs(name, mu, log_var, size, tolerance):
    """One box around every run of ``size`` items, made as for a block."""
    score = SCORES[name]
    means, log_vars = mu.astype(np.float64), log_var.astype(np.float64)
    blurred = np.logaddexp(log_vars, engine.log_tau2(tolerance))
    if name == "wasserstein2":
        means = np.concatenate([means, np.exp(0.5 * blurred)], axis=1)
        blurred = np.tile(blurred, 2)
    ends = [
        pick(array.reshape(-1, size, array.shape[1]), axis=1)
        for array in (means, blurred)
        for pick in (np.min, np.max)
    ]
    return engine.make_nodes(score, np.array([0, len(ends[0])]), *ends)


# ---- bounds


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", SCORES)
def test_no_bound_is_below_an_item(name, n):
    # Some 15 million pairs of a box and a query in all, four items to a box.
    size = 4
    runs, count = SIZES[n]
    for kind in KINDS:
        for tolerance in TOLERANCES if n <= 3 else TOLERANCES[:: 2 if n == 10 else 3]:
            mu, log_var, z, query_log_var = items_and_queries(kind, n, runs, size, count)
            queries = prepared_queries(name, z, query_log_var, tolerance)
            nodes = boxes_of_runs(name, mu, log_var, size, tolerance)
            exact = exact_values(name, queries, mu, log_var, tolerance)
            assert not np.isnan(exact).any()
            best = exact.reshape(count, runs, size).max(axis=2)
            lost = [
                passed_over(name, nodes, node, queries, np.ascontiguousarray(best[:, node]))
                for node in range(runs)
            ]
            assert sum(lost) == 0, (kind, tolerance, int(np.argmax(lost)))


@pytest.mark.parametrize("kind", ["ordinary", "boxes", "corners", "far"])
@pytest.mark.parametrize("name", SCORES)
def test_no_bound_is_below_the_reference_form(name, kind):
    # The same against vaeudf.gaussian; where every number is far from 0, to the last digit.
    runs, count, n = 100, 80, 3
    mu, log_var, z, query_log_var = items_and_queries(kind, n, runs, 4, count, seed=1)
    for tolerance in TOLERANCES:
        queries = prepared_queries(name, z, query_log_var, tolerance)
        nodes = boxes_of_runs(name, mu, log_var, 4, tolerance)
        values = reference_values(name, z, query_log_var, mu, log_var, tolerance)
        exact = exact_values(name, queries, mu, log_var, tolerance)
        np.testing.assert_allclose(exact, values, rtol=1e-11, atol=1e-13)
        best = values.reshape(count, runs, 4).max(axis=2)
        for node in range(runs):
            floors = np.ascontiguousarray(best[:, node])
            assert passed_over(name, nodes, node, queries, floors) == 0


@pytest.mark.parametrize("kind", ["boxes", "corners", "ends", "denormal"])
@pytest.mark.parametrize("name", SCORES)
def test_every_level_of_the_tree(name, kind):
    n, count, tolerance = 2, 40, 0.0 if kind == "denormal" else 0.1
    num_blocks = FAN_OUT**2 + 3
    mu, log_var, z, query_log_var = items_and_queries(kind, n, num_blocks, BLOCK, count)
    mu, log_var = mu[:-17], log_var[:-17]
    queries = prepared_queries(name, z, query_log_var, tolerance)
    prepared = engine.prepare(SCORES[name], mu, log_var, np.arange(len(mu)), tolerance)
    nodes = prepared.nodes
    assert np.diff(nodes.starts).tolist() == [num_blocks, FAN_OUT + 1, 2]
    exact = exact_values(name, queries, mu, log_var, tolerance)
    for level in range(3):
        width = BLOCK * FAN_OUT**level
        best = np.maximum.reduceat(exact, np.arange(0, len(mu), width), axis=1)
        for place in range(best.shape[1]):
            node = nodes.starts[level] + place
            floors = np.ascontiguousarray(best[:, place])
            assert passed_over(name, nodes, node, queries, floors) == 0, (level, place)


@pytest.mark.parametrize("name", SCORES)
def test_bounds_are_near_where_a_box_is_one_item(name):
    # Else a bound that never says anything would pass these tests.
    n, runs, count = 3, 60, 50
    mu, log_var, z, query_log_var = items_and_queries("ordinary", n, runs, 1, count)
    if name == "bhattacharyya":  # whose bound has the distance of the means alone
        log_var[:], query_log_var[:] = log_var[:1], log_var[:1]
    queries = prepared_queries(name, z, query_log_var, 0.1)
    nodes = boxes_of_runs(name, mu, log_var, 1, 0.1)
    exact = exact_values(name, queries, mu, log_var, 0.1)
    for node in range(runs):
        above = exact[:, node] + 1e-4 * (1 + np.abs(exact[:, node]) + np.abs(queries.constant))
        assert passed_over(name, nodes, node, queries, above) == count


# ---- the filter's margin

FILTERED = [name for name in SCORES if name != "bhattacharyya"]


def filter_numbers(name, prepared, queries, parent):
    """The filter's numbers (Q, items of a parent), and each query's offset and lift."""
    items = prepared.items
    count = len(queries.mu)
    everyone = np.arange(count)
    heaps = engine._new_heaps(count, 1, None)
    local = kernels._new_local(items.psi.shape[1], count)
    code = SCORES[name].code
    kernels._enter_parent(code, items, queries, parent, everyone, count, heaps, local)
    assert np.isneginf(local.thresholds).all()  # nothing found yet: all is let through
    blocks = []
    for block in range(parent * FAN_OUT, min((parent + 1) * FAN_OUT, len(items.base))):
        numbers = np.empty((count, BLOCK), np.float32)
        for at in range(0, count, 4):
            psi, base = items.psi[block], items.base[block]
            found, hits = kernels._filter(
                psi, base, local.phi, local.thresholds, everyone, at, count, local.scores
            )
            assert found == at and min(hits) == BLOCK
            numbers[at : at + 4] = local.scores[: count - at]
        blocks.append(numbers)
    return np.concatenate(blocks, axis=1), local.offsets, local.lifts


@pytest.mark.parametrize("n", [1, 2, 3, 10, 64, 512])
@pytest.mark.parametrize("name", FILTERED)
def test_the_margin_holds_for_every_item(name, n):
    count = 40 if n <= 10 else 8
    for kind in KINDS:
        # Runs within a block, a block, and a whole parent, which has one centre.
        for size in [4, 64, 1024] if n <= 10 else [64]:
            num_items = 1024 + 128 if n <= 10 else 128
            runs = -(-num_items // size)
            mu, log_var, z, query_log_var = items_and_queries(kind, n, runs, size, count)
            mu, log_var = mu[: num_items - 5], log_var[: num_items - 5]
            for tolerance in [0.0, 0.1]:
                check_margin(name, kind, mu, log_var, z, query_log_var, tolerance)


def check_margin(name, kind, mu, log_var, z, query_log_var, tolerance):
    queries = prepared_queries(name, z, query_log_var, tolerance)
    labels = np.arange(len(mu))
    prepared = engine.prepare(SCORES[name], mu, log_var, labels, tolerance, bounds=False)
    exact = exact_values(name, queries, mu, log_var, tolerance)
    parent_items = BLOCK * FAN_OUT
    for parent in range(len(prepared.items.centres)):
        values = exact[:, parent * parent_items : (parent + 1) * parent_items]
        numbers, offsets, lifts = filter_numbers(name, prepared, queries, parent)
        numbers = numbers[:, : values.shape[1]].astype(np.float64)
        filtered = offsets < np.inf
        if kind in ("ordinary", "corners"):
            assert filtered.mean() > 0.5
        assert np.isfinite(numbers[filtered]).all()
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
        prepared = engine.prepare(SCORES[name], mu, log_var, np.arange(len(mu)), 0.1)
        _, offsets, lifts = filter_numbers(name, prepared, queries, 0)
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
        Values, labels and counts; and the share of pairs that was filtered under bounds.
    """
    score = SCORES[name]
    expected = engine.search_directly(score, mu, log_var, labels, queries, k, tolerance, floors)
    prepared = engine.prepare(score, mu, log_var, labels, tolerance)
    assert prepared.nodes is not None
    alone = engine.Prepared(score, tolerance, prepared.items, None)
    for fewest, worth in [(1, 2.0), (engine._FEWEST_FOR_BOUNDS, engine._WORTH_BOUNDS)]:
        with monkeypatch.context() as patch:
            # Bounds for as few items as there are, whether they pay or not; then as it comes.
            patch.setattr(engine, "_FEWEST_FOR_BOUNDS", fewest)
            patch.setattr(engine, "_WORTH_BOUNDS", worth)
            for way in (prepared, alone):
                found = engine.search(way, queries, k, floors)
                for part, wanted in zip(found, expected, strict=True):
                    kept = np.arange(found[0].shape[1]) < expected[2][:, None]
                    if part.ndim == 2:
                        assert (part[kept] == wanted[kept]).all()
                    else:
                        assert (part == wanted).all()
    assert alone.work.bounds == 0 and alone.work.pairs == prepared.work.pairs
    return expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCORES)
def test_hard_items_are_found_every_way(monkeypatch, name, kind):
    for n, size, runs, k, double in [
        (1, 64, 70, 10, False),
        (2, 1024, 4, 65, False),
        (3, 64, 40, 300, True),
        (10, 256, 9, 3, True),
    ]:
        mu, log_var, z, query_log_var = items_and_queries(kind, n, runs, size, 40, double=double)
        labels = np.random.default_rng(n).permutation(len(mu))
        tolerance = {1: 0.0, 2: 0.1, 3: 0.0, 10: 3.0}[n]
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
