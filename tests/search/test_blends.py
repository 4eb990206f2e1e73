"""Blends: weighted sums of log densities and of divergences, exact by every path of the search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.blends import assert_best_of_blend, blend_scores, score_in_fifty_digits
from tests.support.cases import each_value_once
from tests.support.reference import items_and_queries
from tests.support.selections import distances, greedily
from tests.support.tolerances import assert_stated, assert_within, score_rounding
from vaeudf.errors import InputError
from vaeudf.gaussian.blends import members_of
from vaeudf.gaussian.scores import SCORES, blend_score
from vaeudf.numerics.boxes import Boxes
from vaeudf.numerics.kd_tree import kd_order
from vaeudf.search import engine, kernels
from vaeudf.search.index import PosteriorIndex
from vaeudf.search.kernels import BLOCK, FAN_OUT
from vaeudf.search.nodes import nodes_of_boxes
from vaeudf.search.once import nearest
from vaeudf.search.prepared import prepare, prepare_queries

WEIGHTS = [
    (1.0, 1.0, 1.0, 1.0),
    (3.0, 1.0, 0.5, 0.0),
    (1.0, 1.0, -0.5, -0.5),
    (1.0, 1.0, -0.9, -0.95),  # little is left
    (1.0, 1.0, -0.99, -0.99),  # too little to divide by
    (1.0, 1.0, -1.0, -1.0 + 1e-8),
    (1.0, 1.0, -1.0, -1.0),
    (1.0, 0.0, -2.0, -3.0),
    (-1.0, -1.0, -1.0, -2.0),
]
ASKED = (("log_likelihood", False), ("log_likelihood", True), ("kl", True))


def population(n, count, seed=0):
    rng = np.random.default_rng(seed)
    mu = rng.normal(size=(count, n)).astype(np.float32)
    log_var = (rng.normal(size=(count, n)) - 3).astype(np.float32)
    return rng, mu, log_var, rng.normal(size=(4, n))


@each_value_once(
    ("n,count", [(1, 60), (4, 9000), (40, 2500)]), ("tolerance", [0.0, 0.3]), ("weights", WEIGHTS)
)
def test_searches(weights, tolerance, n, count):
    rng, mu, log_var, z = population(n, count)
    index = PosteriorIndex(mu, log_var)
    spreads = rng.normal(size=z.shape) - 3
    for score, gaussian in ASKED:
        own = spreads if gaussian else None
        expected, bound = blend_scores(z, own, weights, mu, log_var, tolerance, score)
        named = {"score": score, "tolerance": tolerance, "k": 7}
        asked = named | {"query_log_var": own, "weights": weights}
        back = named | {"weights": weights[::-1]}
        back |= {"query_log_var": None if own is None else own[::-1]}
        twice = {"query_log_var": None if own is None else np.tile(own, (2, 1))}
        twice |= {"weights": weights * 2, "groups": [0] * 4 + [1] * 4}
        for found, scores in (
            index.search(z, **asked),
            nearest(z, mu, log_var, **asked),  # by the formula alone, as for any single query
            nearest(z[::-1], mu, log_var, **back),
            nearest(np.tile(z, (2, 1)), mu, log_var, **named, **twice),
        ):
            for best, values in zip(found, scores, strict=True):
                assert_best_of_blend(best, values, expected, bound, ascending=score == "kl")


def test_groups_are_asked_together_and_come_in_the_order_they_first_occur():
    rng, mu, log_var, _ = population(3, 6000)
    z = rng.normal(size=(300, 3))
    z[:150, 1] = np.nan
    groups = np.array([f"{99 - i % 50 + (i >= 150) * 100:03}" for i in range(300)])
    # Some have likes that prevail, some do not, some have none.
    weights = rng.uniform(0.1, 1, 300) * np.where(rng.random(300) < 0.4, -1.0, 1)
    members = members_of(z, None, groups, weights)
    assert 10 < members.by_formula.sum() < len(members) - 10
    index = PosteriorIndex(mu, log_var)
    for found, scores in (
        index.search(z, k=5, groups=groups, weights=weights),
        nearest(z, mu, log_var, k=5, groups=groups, weights=weights),
    ):
        for place, group in enumerate(dict.fromkeys(groups.tolist())):
            own = groups == group
            expected, bound = blend_scores(z[own], None, weights[own], mu, log_var)
            assert_best_of_blend(found[place], scores[place], expected, bound)


numbers = st.sampled_from([-2.0, 0.0, 0.5, 1.0, 30.0])  # few values: many ties
shares = st.one_of(st.floats(-3, 3), st.sampled_from([1.0, -1.0, 0.999]))


@settings(deadline=None, max_examples=100)
@given(data=st.data(), n=st.integers(1, 3), count=st.integers(1, 80), members=st.integers(1, 4))
def test_random_weights_masks_and_ties(data, n, count, members):
    def draw(values, rows):
        found = data.draw(st.lists(values, min_size=rows * n, max_size=rows * n))
        return np.array(found).reshape(rows, n)

    mu, log_var = draw(numbers, count), draw(st.sampled_from([-6.0, 0.0, 3.0]), count)
    z = draw(st.floats(-50, 50), members)
    opened = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    z[:, opened & (np.arange(n) > 0)] = np.nan
    weights = np.array(data.draw(st.lists(shares, min_size=members, max_size=members)))
    weights[np.abs(weights) < 1e-10] = 0.0
    if not weights.any():
        weights[0] = 1.0
    tolerance = data.draw(st.sampled_from([0.0, 0.3, 1e4]))
    by = data.draw(st.sampled_from([1.0, 1e-290, 1e307]))  # which changes nothing
    found, scores = nearest(z, mu, log_var, k=count, weights=weights * by, tolerance=tolerance)
    expected, bound = blend_scores(z, None, weights, mu, log_var, tolerance)
    assert_best_of_blend(found[0], scores[0], expected, bound)
    # Equal items stand in the order of their numbers.
    for first, second in zip(found[0][:-1], found[0][1:], strict=True):
        if (mu[first] == mu[second]).all() and (log_var[first] == log_var[second]).all():
            assert first < second


@each_value_once(
    ("kind", ["boxes", "corners", "far", "repeated"]),
    ("score", ["log_likelihood", "kl"]),
    ("weights", [(1, 1, 1), (1, 0.5, -0.5), (1, 1, -1.9), (1, 1, -2), (1, 1, -9)]),
)
def test_fifty_digits(kind, score, weights):
    # sigma from 1e-6 to 1e3, mu to 1e4, and several times the same item.
    n, k = 3, 12
    mu, log_var, z, own = items_and_queries(kind, n, 100, 4, 3)
    tolerance = (0.0, 0.1, 3.0)
    found, scores = nearest(
        z, mu, log_var, k, query_log_var=own, score=score, weights=weights, tolerance=tolerance
    )
    exact = np.array(
        [
            score_in_fifty_digits(z, own, weights, *item, tolerance, score)
            for item in zip(mu, log_var, strict=True)
        ]
    )
    rounding = score_rounding(n, own, log_var, np.log(9)) / 0.05
    # Items differ from the blend's centre by as much as its members do from each other.
    bound = rounding * (exact[:, 1] + n)
    assert_best_of_blend(found[0], scores[0], exact[:, 0], bound, ascending=score == "kl")


def test_one_member_and_equal_members_are_the_plain_query():
    rng, mu, log_var, z = population(4, 5000)
    index = PosteriorIndex(mu, log_var)
    own = rng.normal(size=z.shape)
    plain = index.search(z[0], k=50)
    for weights, count in (([2.0], 1), ([1.0, 5.0, 0.3], 3)):
        asked = np.tile(z[:1], (count, 1))
        found, scores = index.search(asked, k=50, weights=weights)
        assert found.tolist() == plain[0].tolist()
        assert scores.tolist() == plain[1].tolist()
        # Ranked by log_likelihood, a Gaussian stands for its mean, in a blend as alone.
        spreads = np.tile(own[:1], (count, 1))
        found, scores = index.search(asked, k=50, weights=weights, query_log_var=spreads)
        assert scores.tolist() == plain[1].tolist()


def test_the_table_in_the_docs():
    mu, log_var = np.array([[-1.0], [0.0], [0.5], [1.0]]), np.zeros((4, 1))
    for z, weights, order, expected in (
        ([[0.0]], None, [1, 2, 0, 3], [-0.919, -1.044, -1.419, -1.419]),
        ([[0.0], [1.0]], [1, 1], [2, 1, 3, 0], [-1.044, -1.169, -1.169, -2.169]),
        ([[0.0], [1.0]], [1, -0.5], [0, 1, 2, 3], [0.041, -0.209, -0.522, -0.959]),
        ([[0.0], [1.0]], [1, -1], [0, 1, 2, 3], [1.5, 0.5, 0.0, -0.5]),
    ):
        found, scores = nearest(z, mu, log_var, 4, weights=weights)
        assert found[0].tolist() == order
        assert_stated(expected, scores[0], decimals=3)


def test_an_item_is_at_zero_from_itself_and_no_divergence_of_likes_is_below():
    _, mu, log_var, _ = population(5, 300)
    found, scores = nearest(
        mu, mu, log_var, 1, query_log_var=log_var, score="kl", groups=range(300)
    )
    assert found[:, 0].tolist() == list(range(300))
    assert (scores >= 0).all()
    assert_within(scores, 0 * scores, score_rounding(5, log_var) * 50, why="entropies that cancel")


# ---- one index, asked in many ways


def test_an_index_is_asked_for_points_and_blends_by_turns():
    _, mu, log_var, z = population(4, 7000)
    index = PosteriorIndex(mu, log_var)
    weights = (1.0, 1.0, -0.5, -0.3)
    for tolerance in (0.0, 0.2, 0.2, 0.5, 0.0, (0.1, 0.0, 3.0, 0.2)):
        for opened in (False, True):
            asked = z.copy()
            asked[:, 2] = np.nan if opened else asked[:, 2]
            plain, _ = index.search(asked, k=5, tolerance=tolerance)
            assert plain.tolist() == nearest(asked, mu, log_var, 5, tolerance=tolerance)[0].tolist()
            expected, bound = blend_scores(asked, None, weights, mu, log_var, tolerance)
            found, scores = index.search(asked, k=5, tolerance=tolerance, weights=weights)
            assert_best_of_blend(found[0], scores[0], expected, bound)


@pytest.mark.parametrize("weights", [(1.0, 1.0, -0.5, -0.5), (1.0, 1.0, -1.0, -1.0)])
def test_where_and_per_value(weights):
    rng, mu, log_var, z = population(3, 5000)
    ids = rng.permutation(5000)
    index = PosteriorIndex(mu, log_var, ids=ids)
    where, colours = rng.random(5000) < 0.3, rng.integers(0, 4, 5000)
    expected, _ = blend_scores(z, None, weights, mu, log_var)
    order = [i for i in np.argsort(-expected, kind="stable") if where[i]]
    allowed = [i for at, i in enumerate(order) if (colours[order[:at]] == colours[i]).sum() < 2]
    found, _ = index.search(z, k=8, weights=weights, where=where, per=(colours, 2))
    assert found[0].tolist() == ids[allowed].tolist()
    found, _ = nearest(z, mu[order], log_var[order], 8, weights=weights, per=(colours[order], 2))
    assert np.array(order)[found[0]].tolist() == allowed


@each_value_once(
    ("score", ["log_likelihood", "kl"]),
    ("weights", [(1.0, 1.0, -0.5, -0.5), (1.0, 1.0, -1.0, -1.0)]),
)
def test_distinct_and_diverse_hits(weights, score):
    rng, mu, log_var, z = population(2, 400)
    own = rng.normal(size=z.shape) - 3
    expected, _ = blend_scores(z, own, weights, mu, log_var, 0.0, score)
    order = np.argsort(expected if score == "kl" else -expected, kind="stable")
    between = distances(mu[order].astype(float), log_var[order].astype(float))
    hits, _ = greedily(between, 6, 1.0)
    named = {"weights": weights, "score": score, "query_log_var": own}
    for found, scores in (
        PosteriorIndex(mu, log_var).search(z, 6, distinct=1.0, **named),
        nearest(z, mu, log_var, 6, distinct=1.0, **named),
    ):
        assert found[0].tolist() == order[hits].tolist()
        assert np.argsort(expected[found[0]] * (1 if score == "kl" else -1)).tolist() == [*range(6)]
        assert np.isfinite(scores).all()
    diverse, _ = nearest(z, mu, log_var, 6, diversify=0.5, candidates=30, **named)
    assert diverse[0, 0] == order[0] and set(diverse[0]) <= set(order[:30])


def test_an_index_from_a_folder(tmp_path):
    _, mu, log_var, z = population(3, 5000)
    PosteriorIndex(mu, log_var).save(str(tmp_path / "index"))
    index = PosteriorIndex.open(str(tmp_path / "index"))
    expected, bound = blend_scores(z, None, np.ones(4), mu, log_var)
    found, scores = index.search(z, k=6, groups=["all"] * 4)
    assert_best_of_blend(found[0], scores[0], expected, bound)


def test_blends_with_a_mean_are_filtered():
    # Scored by the formula alone, the answers would be right as well.
    _, mu, log_var, z = population(4, 20_000)
    order = kd_order(mu)
    score = blend_score("log_likelihood", gaussian=False)
    rescored = []
    for weights in ((1, 1, -0.5, -0.5), (1, 1, -1, -1)):
        members = members_of(np.tile(z, (5, 1)), None, np.arange(20) // 4, weights * 5)
        blended = members.blended(0.0, divergence=False)
        prepared = prepare(score, mu[order], log_var[order], order)
        engine.search(prepared, prepare_queries(score, blended.mu, blended.terms, 0.0), 10)
        rescored.append(prepared.work.rescored / (5 * len(mu)))
    assert rescored[0] < 0.05
    assert rescored[1] >= 1


# ---- what the engine passes over could not have mattered

KINDS = ["ordinary", "boxes", "corners", "far", "ends", "denormal"]


def hard_blends(kind, n, runs, size, count):
    """Blends of negative, positive and no spread, and of no mean."""
    mu, log_var, z, _ = items_and_queries(kind, n, runs, size, 3 * count)
    rng = np.random.default_rng(0)
    groups = np.arange(3 * count) // 3
    z[rng.random(len(z)) < 0.1] *= 1 + 1e-6
    z[1::9] = z[::9]  # nearly nothing between them
    weights = np.tile([1.0, 0.5, -0.7], count)
    weights[::5] *= 1.7
    weights[2::21] *= 3
    members = members_of(z, None, groups, weights)
    assert members.by_formula.any() and not members.by_formula.all()
    tolerance = tuple(np.resize([0.0, 0.1, 5.0], n))
    blended = members.blended(tolerance, divergence=False)
    score = blend_score("log_likelihood", gaussian=False)
    return mu, log_var, blended, score, tolerance


def values_of(score, queries, mu, log_var, tolerance):
    alone = prepare(score, mu, log_var, np.arange(len(mu)), tolerance, num_queries=1)
    values, found, _ = engine.search(alone, queries, len(mu))
    exact = np.empty_like(values)
    np.put_along_axis(exact, found, values, axis=1)
    return exact


@each_value_once(("masked", [False, True]), ("n", [2, 3, 10]), ("kind", KINDS))
def test_no_bound_is_below_an_item(kind, n, masked):
    runs, size, count = 40, 4, 60
    mu, log_var, blended, score, tolerance = hard_blends(kind, n, runs, size, count)
    if masked:
        blended.mu[::2, 0] = np.nan
    queries = prepare_queries(score, blended.mu, blended.terms, tolerance)
    spreads = queries.spread[np.isfinite(queries.spread)]
    assert (spreads < 0).any() and (spreads > 0).any()
    nodes = nodes_of_boxes(score, tolerance, Boxes.of_blocks(mu, log_var, size))
    exact = values_of(score, queries, mu, log_var, tolerance)
    best = exact.reshape(count, runs, size).max(axis=2)
    for node in range(runs):
        floors = np.ascontiguousarray(best[:, node])
        assert kernels.count_reaching(nodes, np.array([node]), queries, floors)[0] == count


@pytest.mark.parametrize("half", [1, 5, 4096])
def test_no_bound_is_below_an_item_where_all_but_cancels(half):
    # Half the terms are some 1e8 nats, the others as much below 0, and added up a few hundred.
    rng, count, n = np.random.default_rng(half), 50, 2 * half
    mu = np.tile(rng.uniform(0.9, 1.1, size=(count, half)), 2).astype(np.float32)
    log_var = np.full((count, n), -20, np.float32)
    spreads = np.hstack([-2 * np.square(mu[:, :half].astype(float)), np.zeros((count, half))])
    zeros, ones = np.zeros((count, n)), np.ones((count, n))
    score = blend_score("log_likelihood", gaussian=False)
    queries = prepare_queries(score, np.hstack([zeros, zeros]), np.hstack([spreads, ones]), 0.0)
    nodes = nodes_of_boxes(score, 0.0, Boxes.of_blocks(mu, log_var, 1))
    exact = values_of(score, queries, mu, log_var, 0.0)
    for node in range(count):
        floors = np.full(count, np.inf)
        floors[node] = exact[node, node]
        assert kernels.reaching(nodes, node, queries, floors).tolist() == [node]


def test_bounds_are_near_where_a_box_is_one_item():
    # Else a bound that never says anything would pass these tests.
    mu, log_var, blended, score, tolerance = hard_blends("ordinary", 3, 60, 1, 50)
    queries = prepare_queries(score, blended.mu, blended.terms, tolerance)
    nodes = nodes_of_boxes(score, tolerance, Boxes.of_blocks(mu, log_var, 1))
    exact = values_of(score, queries, mu, log_var, tolerance)
    with_mean = np.isfinite(queries.spread).all(axis=1)
    spreads = np.where(with_mean[:, None], np.abs(queries.spread), 0).sum(axis=1)
    for node in range(60):
        size = 1 + np.abs(exact[:, node]) + spreads * np.exp(-log_var[node].min())
        reached = kernels.count_reaching(
            nodes, np.array([node]), queries, exact[:, node] + 1e-4 * size
        )
        assert reached[0] == (~with_mean).sum()


@each_value_once(("masked", [False, True]), ("n", [1, 3, 10]), ("kind", KINDS))
def test_the_margin_holds_for_every_item(kind, n, masked):
    count, items = 12, BLOCK * FAN_OUT
    mu, log_var, blended, score, tolerance = hard_blends(kind, n, items // 4, 4, count)
    if masked and n > 1:
        blended.mu[::2, 0] = np.nan
    queries = prepare_queries(score, blended.mu, blended.terms, tolerance, masked=masked)
    labels = np.arange(len(mu))
    prepared = prepare(score, mu, log_var, labels, tolerance, masked=masked, bounds=False)
    exact = values_of(score, queries, mu, log_var, tolerance)
    heaps = engine._new_heaps(np.arange(count), 1)
    local = kernels.new_local(prepared.items.psi.shape[1], count)
    kernels._enter_parent(prepared.items, queries, 0, np.arange(count), count, heaps, local)
    certain = local.offsets < np.inf
    if kind == "ordinary":
        assert certain.sum() == np.isfinite(queries.spread).all(axis=1).sum()
    for block in range(len(prepared.items.base)):
        with np.errstate(over="ignore", invalid="ignore"):
            found = local.phi @ prepared.items.psi[block] + prepared.items.base[block]
        values = exact[:, block * BLOCK : (block + 1) * BLOCK]
        found = found[:, : values.shape[1]].astype(np.float64)
        assert (found[certain] + local.offsets[certain, None] >= values[certain]).all()
        assert (found[certain] + local.lifts[certain, None] <= values[certain]).all()


# ---- what is refused


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"weights": [1, 1]}, "weights have shape (2,); expected (3,), one per z."),
        ({"groups": ["a"]}, "groups have shape (1,); expected (3,), one per z."),
        (
            {"weights": [1, "heavy", 1]},
            "weights are not all numbers; expected one finite number per z.",
        ),
        (
            {"weights": [1, np.nan, 1]},
            "member 1 of a blend has the weight nan; expected a finite number.",
        ),
        (
            {"weights": [1, 0, 0], "groups": [0, 1, 1]},
            "all weights of the blend of member 1 are 0; expected a member that counts.",
        ),
        (
            {"weights": [1e-300, -1, -1]},
            "the weights above 0 of the blend of member 0 are next to nothing beside those below; "
            "leave these members out, or give them more weight.",
        ),
        (
            {"weights": [1, 1, 1], "tolerance": [[0.1], [0.2], [0.3]]},
            "a tolerance for each query is not for blends, whose members are one query; give one "
            "number, or one for each dimension.",
        ),
        (
            {"weights": [1, 1, 1], "score": "kl"},
            "score kl is between Gaussians, but members of the blend are points z; choose "
            "log_likelihood, or give Gaussians alone.",
        ),
        ({"weights": [1, 1, 1], "score": "nearness"}, "score is 'nearness'; expected one of "),
        *(
            (
                {"weights": [1, 1, 1], "score": name, "query_log_var": np.zeros((3, 2))},
                f"score {name} is not for blends; choose log_likelihood, or kl if all members are "
                "Gaussians.",
            )
            for name in SCORES
            if name not in ("log_likelihood", "kl")
        ),
    ],
)
def test_what_is_refused(named, message):
    with pytest.raises(InputError) as caught:
        nearest(np.zeros((3, 2)), np.zeros((4, 2)), np.zeros((4, 2)), **named)
    assert str(caught.value).startswith(message)


def test_members_that_leave_other_dimensions_open():
    z = [[0, 1], [np.nan, 1]]
    with pytest.raises(InputError) as caught:
        nearest(z, np.zeros((4, 2)), np.zeros((4, 2)), weights=[1, 1])
    assert str(caught.value) == (
        "members 0 and 1 of a blend leave different dimensions open, such as 0; expected the same "
        "ones in all members."
    )
