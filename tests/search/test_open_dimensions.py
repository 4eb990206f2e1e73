"""Dimensions that z leaves open, and a tolerance for each: exact, by every path of the search."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.cases import each_value_once
from tests.support.reference import FORMS, assert_same_score, exact_values, items_and_queries
from vaeudf.errors import InputError
from vaeudf.gaussian import log_prob
from vaeudf.gaussian.scores import LOG_LIKELIHOOD_BY_QUERY, SCORES
from vaeudf.numerics.boxes import Boxes
from vaeudf.search import engine, kernels
from vaeudf.search.index import PosteriorIndex
from vaeudf.search.kernels import BLOCK, FAN_OUT
from vaeudf.search.nodes import nodes_of_boxes
from vaeudf.search.once import nearest
from vaeudf.search.prepared import prepare, prepare_queries

POINTS = [name for name, score in SCORES.items() if not score.between_gaussians]


def brute_force(name, z, mu, log_var, tolerance, k):
    """The answer by the definition: of each query, the dimensions that it names, and no others."""
    taus = np.broadcast_to(np.asarray(tolerance, float), mu.shape[1:])
    indices, scores = [], []
    for row in np.atleast_2d(z):
        named = ~np.isnan(row)
        blurred = np.log(np.exp(np.float64(log_var[:, named])) + taus[named] ** 2)
        form = FORMS[name]
        found = form.oracle(row[None, named], np.float64(mu[:, named]), blurred)[0]
        order = np.argsort(-found if form.nearer == "higher" else found, kind="stable")[:k]
        indices.append(order)
        scores.append(found[order])
    return np.array(indices), np.array(scores)


def same(name, found, expected, mu, log_var, tolerance=0.0):
    """Assert that scores are the same, as far as two float64 formulas of one can be."""
    assert_same_score(name, found, expected, None, mu, log_var, float(np.max(tolerance)))


def masked(z, rng, part):
    found = z.copy()
    found[rng.random(z.shape) < part] = np.nan
    empty = np.isnan(found).all(axis=1)
    found[empty] = z[empty]
    return found


def population(n, count, seed=0, queries=40):
    rng = np.random.default_rng(seed)
    mu = rng.normal(size=(count, n)).astype(np.float32)
    log_var = (rng.normal(size=(count, n)) - 3).astype(np.float32)
    return rng, mu, log_var, rng.normal(size=(queries, n))


@each_value_once(
    ("n,count", [(1, 50), (3, 9000), (10, 6000), (40, 5000)]),
    ("tolerance", [0.0, 0.2, "each"]),
    ("name", POINTS),
)
def test_searches(name, tolerance, n, count):
    # Scans, trees of boxes, and in 40 dimensions products by BLAS.
    rng, mu, log_var, z = population(n, count)
    z = masked(z, rng, 0.4) if n > 1 else z
    taus = np.where(rng.random(n) < 0.3, 0.0, rng.uniform(0, 2, n)) if tolerance == "each" else 0.2
    taus = 0.0 if tolerance == 0.0 else taus
    wanted, scores = brute_force(name, z, mu, log_var, taus, 7)
    index = PosteriorIndex(mu, log_var)
    for found, values in (
        index.search(z, k=7, score=name, tolerance=taus),
        nearest(z, mu, log_var, k=7, score=name, tolerance=taus),
        nearest(z[:1], mu, log_var, k=7, score=name, tolerance=taus),
    ):
        assert found.tolist() == wanted[: len(found)].tolist()
        same(name, values, scores[: len(found)], mu, log_var, taus)


def test_an_index_is_asked_with_and_without_open_dimensions():
    rng, mu, log_var, z = population(4, 3000)
    index = PosteriorIndex(mu, log_var)
    for part, tolerance in ((0.0, 0.0), (0.5, 0.0), (0.5, (0.1, 0.0, 3.0, 0.2)), (0.0, 0.0)):
        asked = masked(z, rng, part)
        wanted, _ = brute_force("log_likelihood", asked, mu, log_var, tolerance, 5)
        assert index.search(asked, k=5, tolerance=tolerance)[0].tolist() == wanted.tolist()


numbers = st.floats(-1e3, 1e3, allow_subnormal=False)
coordinates = st.one_of(st.just(math.nan), numbers, st.sampled_from([0.0, 1.0, 1e18]))


@settings(deadline=None, max_examples=150)
@given(data=st.data(), n=st.integers(1, 4), count=st.integers(1, 90))
def test_random_masks_tolerances_and_ties(data, n, count):
    values = st.sampled_from([-2.0, 0.0, 0.5, 1.0, 30.0])  # few values: many ties
    mu = np.array(data.draw(st.lists(values, min_size=n * count, max_size=n * count)))
    log_var = np.array(
        data.draw(
            st.lists(
                st.sampled_from([-30.0, -3.0, 0.0, 4.0]), min_size=n * count, max_size=n * count
            )
        )
    )
    z = np.array(data.draw(st.lists(coordinates, min_size=2 * n, max_size=2 * n))).reshape(2, n)
    z[np.isnan(z).all(axis=1), 0] = 0.5
    tolerance = data.draw(st.lists(st.sampled_from([0.0, 1e-9, 0.3, 1e6]), min_size=n, max_size=n))
    mu, log_var = mu.reshape(count, n), log_var.reshape(count, n)
    for name in POINTS:
        found, scores = nearest(z, mu, log_var, k=count, score=name, tolerance=tolerance)
        reference = SCORES[name].reference(z, mu, log_var, tolerance)
        # The same pairs, in an order that only equal scores may change.
        assert (np.sort(found, axis=1) == np.arange(count)).all()
        same(name, scores, np.take_along_axis(reference, found, axis=1), mu, log_var, tolerance)
        steps = np.diff(scores, axis=1)
        assert (steps >= 0).all() if SCORES[name].ascending else (steps <= 0).all()


@example(z=[0.0, math.nan])
@given(z=st.lists(coordinates, min_size=2, max_size=5))
def test_the_reference_is_the_density_over_the_other_dimensions(z):
    row = np.array(z)
    if np.isnan(row).all():
        row[0] = 1.0
    rng = np.random.default_rng(0)
    mu, log_var = rng.normal(size=(2, 6, len(row)))
    named = ~np.isnan(row)
    found = log_prob(row, mu, log_var)
    alone = log_prob(row[named], mu[:, named], log_var[:, named])
    same("log_likelihood", found, alone, mu, log_var)


def test_an_open_dimension_is_the_limit_of_its_tolerance():
    _, mu, log_var, z = population(3, 500)
    z[:, 1] = np.nan
    wanted, _ = nearest(z, mu, log_var, k=20)
    z[:, 1] = 0.0
    assert nearest(z, mu, log_var, k=20, tolerance=[0, 1e7, 0])[0].tolist() == wanted.tolist()


# ---- what the engine passes over could not have mattered


@each_value_once(
    ("n", [2, 3, 10]),
    ("name", POINTS),
    ("kind", ["ordinary", "boxes", "corners", "far", "ends", "denormal"]),
)
def test_no_bound_is_below_an_item(name, kind, n):
    runs, size, count = 40, 4, 60
    mu, log_var, z, _ = items_and_queries(kind, n, runs, size, count)
    z = masked(z, np.random.default_rng(0), 0.5)
    tolerance = tuple(np.resize([0.0, 0.1, 5.0], n))
    queries = prepare_queries(SCORES[name], z, None, tolerance)
    nodes = nodes_of_boxes(SCORES[name], tolerance, Boxes.of_blocks(mu, log_var, size))
    exact = exact_values(name, queries, mu, log_var, tolerance)
    assert not np.isnan(exact).any()
    best = exact.reshape(count, runs, size).max(axis=2)
    for node in range(runs):
        floors = np.ascontiguousarray(best[:, node])
        reached = kernels.count_reaching(nodes, np.array([node]), queries, floors)
        assert reached[0] == count


@each_value_once(
    ("n", [1, 3, 10, 64]),
    ("name", POINTS),
    ("kind", ["ordinary", "boxes", "corners", "far", "ends", "denormal"]),
)
def test_the_margin_holds_for_every_item(name, kind, n):
    count, items = 12, BLOCK * FAN_OUT if n <= 10 else 128
    mu, log_var, z, _ = items_and_queries(kind, n, items // 4, 4, count)
    z = masked(z, np.random.default_rng(0), 0.4) if n > 1 else z
    if n == 1:
        z = np.vstack([z[:1]] * count)
    tolerance = tuple(np.resize([0.0, 0.1, 5.0], n))
    queries = prepare_queries(SCORES[name], z, None, tolerance)
    if queries.closed.shape[1] == 0:
        queries = queries._replace(closed=np.ones(z.shape, np.float32))
    prepared = prepare(
        SCORES[name], mu, log_var, np.arange(len(mu)), tolerance, masked=True, bounds=False
    )
    exact = exact_values(name, queries, mu, log_var, tolerance)
    everyone = np.arange(count)
    heaps = engine._new_heaps(np.arange(count), 1)
    local = kernels.new_local(prepared.items.psi.shape[1], count)
    kernels._enter_parent(prepared.items, queries, 0, everyone, count, heaps, local)
    certain = local.offsets < np.inf
    if kind == "ordinary":
        assert certain.all()
    for block in range(len(prepared.items.base)):
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = local.phi @ prepared.items.psi[block] + prepared.items.base[block]
        values = exact[:, block * BLOCK : (block + 1) * BLOCK]
        numbers = numbers[:, : values.shape[1]].astype(np.float64)
        assert (numbers[certain] + local.offsets[certain, None] >= values[certain]).all()
        assert (numbers[certain] + local.lifts[certain, None] <= values[certain]).all()


def own_tolerances(z, seed=0):
    """Log tau² of each query's own, shape (Q, n), some of them -inf, for tolerances of 0."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(z.shape) < 0.3, -np.inf, rng.uniform(-9, 5, z.shape))


@each_value_once(
    ("n", [2, 3, 10]), ("kind", ["ordinary", "boxes", "corners", "far", "ends", "denormal"])
)
def test_no_bound_is_below_an_item_where_tolerances_are_the_queries_own(kind, n):
    score, runs, size, count = LOG_LIKELIHOOD_BY_QUERY, 40, 4, 60
    mu, log_var, z, _ = items_and_queries(kind, n, runs, size, count)
    z = masked(z, np.random.default_rng(0), 0.5)
    queries = prepare_queries(score, z, own_tolerances(z), 0.0)
    nodes = nodes_of_boxes(score, 0.0, Boxes.of_blocks(mu, log_var, size))
    exact = values_by_query(queries, mu, log_var)
    best = exact.reshape(count, runs, size).max(axis=2)
    for node in range(runs):
        floors = np.ascontiguousarray(best[:, node])
        reached = kernels.count_reaching(nodes, np.array([node]), queries, floors)
        assert reached[0] == count


@each_value_once(
    ("n", [2, 3, 10, 64]), ("kind", ["ordinary", "boxes", "corners", "far", "ends", "denormal"])
)
def test_the_margin_holds_where_tolerances_are_the_queries_own(kind, n):
    score, count, items = LOG_LIKELIHOOD_BY_QUERY, 12, BLOCK * FAN_OUT if n <= 10 else 128
    mu, log_var, z, _ = items_and_queries(kind, n, items // 4, 4, count)
    z = masked(z, np.random.default_rng(0), 0.4)
    queries = prepare_queries(score, z, own_tolerances(z), 0.0)
    prepared = prepare(score, mu, log_var, np.arange(len(mu)), bounds=False)
    exact = values_by_query(queries, mu, log_var)
    heaps = engine._new_heaps(np.arange(count), 1)
    local = kernels.new_local(prepared.items.psi.shape[1], count)
    kernels._enter_parent(prepared.items, queries, 0, np.arange(count), count, heaps, local)
    certain = np.flatnonzero(local.offsets < np.inf)
    if kind == "ordinary":
        assert len(certain)
    numbers, factors = np.empty((2, BLOCK), np.float32)
    for block in range(len(prepared.items.base)):
        psi, base = prepared.items.psi[block], prepared.items.base[block]
        for q in certain:
            kernels._score_added(psi, base, local.phi[q], np.float32(0.5), numbers, factors)
            values = exact[q, block * BLOCK : (block + 1) * BLOCK]
            found = numbers[: len(values)].astype(np.float64)
            assert (found + local.offsets[q] >= values).all()
            assert (found + local.lifts[q] <= values).all()


def values_by_query(queries, mu, log_var):
    """The compiled formula of all pairs, which the next test compares with another one."""
    log_tau2 = np.full(mu.shape[1], -np.inf)
    code = LOG_LIKELIHOOD_BY_QUERY.code
    return np.array(
        [
            [
                kernels.exact_value(code, z, own, *item, log_tau2)
                for item in zip(mu, log_var, strict=True)
            ]
            for z, own in zip(queries.mu, queries.log_var, strict=True)
        ]
    )


def test_the_compiled_formula_with_tolerances_of_the_queries_own():
    mu, log_var, z, _ = items_and_queries("ordinary", 5, 30, 4, 25)
    z = masked(z, np.random.default_rng(1), 0.5)
    logs = own_tolerances(z)
    exact = values_by_query(prepare_queries(LOG_LIKELIHOOD_BY_QUERY, z, logs, 0.0), mu, log_var)
    for q, one in enumerate(z):
        taus = np.exp(0.5 * logs[q])
        _, expected = brute_force("log_likelihood", one, mu, log_var, taus, len(mu))
        same("log_likelihood", np.sort(exact[q])[::-1], expected[0], mu, log_var, taus)


@pytest.mark.parametrize("name", POINTS)
def test_the_compiled_formula_is_the_reference(name):
    mu, log_var, z, _ = items_and_queries("ordinary", 5, 30, 4, 25)
    z = masked(z, np.random.default_rng(1), 0.5)
    tolerance = (0.0, 0.1, 0.0, 2.0, 0.5)
    queries = prepare_queries(SCORES[name], z, None, tolerance)
    exact = exact_values(name, queries, mu, log_var, tolerance)
    reference = SCORES[name].reference(z, mu, log_var, tolerance)
    same(name, SCORES[name].from_values(exact), reference, mu, log_var, tolerance)


# ---- what is refused


def refusal(*arguments, **named):
    with pytest.raises(InputError) as caught:
        nearest(*arguments, **named)
    return str(caught.value)


def test_points_and_tolerances_that_are_refused():
    mu = log_var = np.zeros((4, 3))
    z = np.zeros((2, 3))
    z[1] = np.nan
    assert refusal(z, mu, log_var) == (
        "z leaves every dimension open in row 1 (1 such rows of 2); expected a finite number in "
        "at least one dimension."
    )
    z[1] = [0, np.inf, np.nan]
    assert refusal(z, mu, log_var) == (
        "z has an infinite value in row 1 (1 such rows of 2); expected finite numbers, or NaN in "
        "dimensions that are left open."
    )
    z[1] = [0, 0, np.nan]
    assert "query_log_var" in refusal(z, mu, log_var, score="kl")
    assert refusal(z, mu, log_var, query_log_var=np.zeros((2, 3)), score="kl").startswith(
        "z has a NaN or infinite value in row 1"
    )
    z[:] = 0
    assert refusal(z, mu, log_var, tolerance=[0.1, 0.2]) == (
        "tolerance has 2 numbers, but there are 3 latent dimensions; expected one number, or one "
        "for each dimension."
    )
    for bad in (-0.1, [0.1, -1, 0], [0, np.nan, 0], np.inf, [[[0.1] * 3]]):
        found = refusal(z, mu, log_var, tolerance=bad)
        assert re.match(r"^tolerance is .*; expected a finite number", found)


def test_between_gaussians_a_tolerance_for_each_dimension_blurs_both_sides():
    rng, mu, log_var, z = population(4, 700)
    spreads = rng.normal(size=z.shape) - 2
    tolerance = (0.0, 0.3, 1.0, 0.0)
    for name, score in SCORES.items():
        if score.between_gaussians:
            found, values = nearest(
                z, mu, log_var, k=5, query_log_var=spreads, score=name, tolerance=tolerance
            )
            taus2 = np.square(tolerance)
            reference = score.reference(
                z,
                np.log(np.exp(spreads) + taus2),
                np.float64(mu),
                np.log(np.exp(np.float64(log_var)) + taus2),
            )
            farther = reference if score.ascending else -reference
            wanted = np.argsort(farther, axis=1, kind="stable")[:, :5]
            expected = np.take_along_axis(reference, wanted, axis=1)
            assert_same_score(name, values, expected, spreads, mu, log_var, max(tolerance))
            assert found.tolist() == wanted.tolist()
