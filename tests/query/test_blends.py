"""Blends and dislikes in bulk queries: every way to ask, beside their definition."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.blends import assert_best_of_blend, blend_scores
from tests.support.cases import further_cases_slow
from tests.support.selections import distances, greedily
from tests.support.tolerances import assert_within
from vaeudf.errors import InputError
from vaeudf.query.blends import Blends, blend, with_dislikes
from vaeudf.query.bulk import plan, top_k
from vaeudf.query.latents import Latents, from_rows
from vaeudf.query.options import QueryOptions
from vaeudf.query.per_value import Per

N = 3
# Of the second the mean is far outside; the third has no mean, and the fourth likes nothing.
GROUPS = ["a", "b", "a", "b", "c", "c", "d"]
WEIGHTS = [1.0, 2.0, 3.0, -1.5, 1.0, -1.0, -2.0]


ASKED = [("log_likelihood", False), ("kl", True)]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """Plain Parquet of several row groups; item 9 is there a hundred times."""
    rng = np.random.default_rng(5)
    mu, log_var = rng.normal(size=(600, N)).astype("f4"), rng.normal(-2, 1, (600, N)).astype("f4")
    mu[10:110], log_var[10:110] = mu[9], log_var[9]
    ids = np.array([f"item-{i:03}" for i in range(600)])
    colours = rng.integers(0, 5, 600)
    columns = {"item_id": ids, "mu": list(mu), "log_var": list(log_var), "colour": colours}
    folder = tmp_path_factory.mktemp("plain")
    pq.write_table(pa.table(columns), folder / "a.parquet", row_group_size=150)
    return str(folder), ids, mu, log_var, colours


def asked(seed=1, gaussian=False):
    rng = np.random.default_rng(seed)
    z, own = rng.normal(size=(len(GROUPS), N)), rng.normal(-2, 1, (len(GROUPS), N))
    ids = [f"member-{i}" for i in range(len(GROUPS))]
    return from_rows(list(z), ids, list(own) if gaussian else None)


def hits_of(frame, name):
    rows = sorted(frame.collect(), key=lambda row: (row["query_id"], row["rank"]))
    found: dict[str, list] = {}
    for row in rows:
        own = found.setdefault(row["query_id"], [])
        own.append(row)
        assert row["rank"] == len(own)
    return {
        query: ([row["item_id"] for row in own], np.array([row[name] for row in own]), own)
        for query, own in found.items()
    }


def rows_of(names):
    return np.array([int(name.removeprefix("item-")) for name in names])


@pytest.mark.spark
@pytest.mark.parametrize(
    ("score", "gaussian"), further_cases_slow(ASKED, [("kl", True)], several=True)
)
def test_a_table_and_a_frame(spark, catalog, score, gaussian):
    path, _, mu, log_var, _ = catalog
    members = asked(gaussian=gaussian)
    options = {"groups": GROUPS, "weights": WEIGHTS, "tolerance": (0.0, 0.1, 0.5)}
    for source in (path, spark.read.parquet(path)):
        found = hits_of(top_k(source, members, 8, **options), score)
        assert list(found) == ["a", "b", "c", "d"]
        for group, (names, scores, _) in found.items():
            own = np.array(GROUPS) == group
            z, spreads = members.z[own], members.log_var[own] if gaussian else None
            weights = np.array(WEIGHTS)[own]
            expected, bound = blend_scores(z, spreads, weights, mu, log_var, (0, 0.1, 0.5), score)
            assert len(names) == 8
            assert_best_of_blend(rows_of(names), scores, expected, bound, ascending=gaussian)


@pytest.mark.spark
def test_members_leave_dimensions_open(spark, catalog):
    path, _, mu, log_var, _ = catalog
    z = asked().z.copy()
    z[[0, 2], 1] = np.nan
    found = hits_of(top_k(path, z, 5, groups=GROUPS, weights=WEIGHTS), "log_likelihood")
    for group, (names, scores, _) in found.items():
        own = np.array(GROUPS) == group
        expected, bound = blend_scores(z[own], None, np.array(WEIGHTS)[own], mu, log_var)
        assert_best_of_blend(rows_of(names), scores, expected, bound)


@pytest.mark.spark
def test_explanations_add_up(spark, catalog):
    path, _, mu, log_var, _ = catalog
    options = {"groups": GROUPS, "weights": WEIGHTS, "tolerance": 0.2, "explain": True}
    members = asked()
    for group, (names, _, rows) in hits_of(
        top_k(path, members, 5, **options), "log_likelihood"
    ).items():
        own = np.array(GROUPS) == group
        weights = np.array(WEIGHTS)[own]
        weights = weights / (weights[weights > 0].sum() or np.abs(weights).sum())
        variances = np.exp(log_var[rows_of(names)].astype(float)) + 0.04
        squares = np.square(members.z[own][:, None] - mu[rows_of(names)])
        costs = 0.5 * np.einsum("j,jki->ki", weights, squares / variances)
        volumes = -0.5 * weights.sum() * np.log(2 * np.pi * variances).sum(axis=1)
        sizes = 1 + 0.5 * np.einsum("j,jki->k", np.abs(weights), squares / variances)
        found = np.array([(row["misfit"], row["volume"]) for row in rows])
        assert_within(found[:, 0], -costs.sum(axis=1), 1e-12 * sizes, why="float64 sums")
        assert_within(found[:, 1], volumes, 1e-12 * (1 + np.abs(volumes)), why="float64 sums")
        total = np.array([row["log_likelihood"] for row in rows])
        assert_within(found.sum(axis=1), total, 1e-12 * sizes * 10, why="float64 sums")
        for row, cost in zip(rows, costs, strict=True):
            order = np.argsort(-cost)
            assert [part["dimension"] for part in row["costliest"]] == order.tolist()


@pytest.mark.spark
@pytest.mark.parametrize(
    ("score", "gaussian"), further_cases_slow(ASKED, [("kl", True)], several=True)
)
def test_a_least_score(spark, catalog, score, gaussian):
    path, _, mu, log_var, _ = catalog
    members = asked(gaussian=gaussian)
    weights = np.array(WEIGHTS)
    every = {}
    for group in "abcd":
        own = np.array(GROUPS) == group
        spreads = members.log_var[own] if gaussian else None
        every[group], _ = blend_scores(members.z[own], spreads, weights[own], mu, log_var, 0, score)
    limit = float(np.sort(every["a"] if gaussian else -every["a"])[20])
    limit = (1 if gaussian else -1) * limit
    limit += 1e-9 if gaussian else -1e-9
    frame = top_k(path, members, 100, groups=GROUPS, weights=WEIGHTS, min_score=limit)
    found = hits_of(frame, score)
    assert len(found["a"][0]) == 21
    for group, scores in every.items():
        passing = np.flatnonzero(scores <= limit if gaussian else scores >= limit)
        order = passing[np.argsort(scores[passing] * (1 if gaussian else -1), kind="stable")][:100]
        if len(order):
            assert rows_of(found[group][0]).tolist() == order.tolist()
        else:
            assert group not in found


@pytest.mark.spark
def test_members_that_are_items_are_left_out(spark, catalog):
    path, ids, mu, log_var, colours = catalog
    # What is left out is what each blend's own members are.
    places, groups, weights = [3, 4, 9, 300, 5], ["g", "g", "g", "item-005", "item-005"], None
    members = from_rows(list(mu[places]), list(ids[places]), list(log_var[places]))
    for per in (None, Per("colour", 2)):
        options = QueryOptions(k=6, exclude_self=True, per=per)
        for source in (path, spark.read.parquet(path)):
            frame = plan(source, blend(members, groups, weights), options).hits
            for group, (names, _, _) in hits_of(frame, "kl").items():
                own = np.array(groups) == group
                which = np.array(places)[own]
                scores, _ = blend_scores(
                    mu[which].astype(float), log_var[which].astype(float), [1] * len(which), mu,
                    log_var, 0.0, "kl",
                )  # fmt: skip
                order = [i for i in np.argsort(np.round(scores, 9), kind="stable")]
                order = [i for i in order if i not in which]
                if per:
                    order = [
                        i
                        for at, i in enumerate(order)
                        if (colours[order[:at]] == colours[i]).sum() < 2
                    ]
                assert rows_of(names).tolist() == order[:6]


@pytest.mark.slow
@pytest.mark.spark
def test_distinct_hits_of_blends(spark, catalog):
    # The copies come first, so that some blends are searched again, and without them.
    path, ids, mu, log_var, _ = catalog
    z = np.vstack([mu[9], mu[9] + 0.01, *asked().z[:4]])
    groups, weights = ["x", "x", "y", "y", "z", "z"], [1.0, 1.0, 1.0, -0.5, 1.0, -1.0]
    frame = top_k(path, z, 4, groups=groups, weights=weights, distinct=0.05)
    diverse = hits_of(
        top_k(path, z, 4, groups=groups, weights=weights, diversify=0.2), "log_likelihood"
    )
    for group, (names, _, rows) in hits_of(frame, "log_likelihood").items():
        own = np.array(groups) == group
        scores, _ = blend_scores(z[own], None, np.array(weights)[own], mu, log_var)
        order = np.lexsort((ids, -np.round(scores, 9)))
        ordered = mu[order].astype(float), log_var[order].astype(float)
        hits, hidden = greedily(distances(*ordered), 4, 0.05)
        assert rows_of(names).tolist() == order[hits].tolist()
        assert [row["hidden"] for row in rows] == list(hidden)
        assert rows_of(diverse[group][0])[0] == order[0]


@pytest.mark.slow
@pytest.mark.spark
def test_own_items_hide_nothing(spark, catalog):
    path, ids, mu, log_var, _ = catalog
    members = from_rows(list(mu[[9, 300]]), list(ids[[9, 300]]), list(log_var[[9, 300]]))
    options = QueryOptions(k=3, exclude_self=True, distinct=0.02)
    frame = plan(path, with_dislikes(members.subset([0]), members.subset([1]), 0.0), options).hits
    [(names, _, rows)] = hits_of(frame, "kl").values()
    spreads, means = (array[[9, 300]].astype(float) for array in (log_var, mu))
    scores, _ = blend_scores(means, spreads, [1.0, 0.0], mu, log_var, 0.0, "kl")
    order = np.array([i for i in np.lexsort((ids, np.round(scores, 9))) if i not in (9, 300)])
    hits, hidden = greedily(
        distances(mu[order].astype(float), log_var[order].astype(float)), 3, 0.02
    )
    assert rows_of(names).tolist() == order[hits].tolist()
    assert [row["hidden"] for row in rows] == list(hidden)
    assert max(hidden) >= 99


# ---- without Spark


def test_a_blend_is_named_and_shown():
    members = from_rows([[0.0, 2.0], [4.0, 0.0], [2.0, 4.0]], ["left", "right", "middle"])
    mean = blend(members)
    assert (mean.ids, mean.names, mean.latent_dim) == (("blend",), ("left", "right", "middle"), 2)
    assert mean.title("blend") == "blend: left + right + middle"
    assert mean.z.tolist() == [[2.0, 2.0]]
    groups = blend(members, ["b", "a", "b"], [1, 1, -0.5])
    assert groups.ids == ("b", "a")
    assert groups.z.tolist() == [[-2.0, 0.0], [4.0, 0.0]]
    assert groups.title("b") == "b: left − middle"
    # Where no mean is left, those that are liked.
    assert blend(members, None, [1, 3, -4]).z.tolist() == [[3.0, 0.5]]
    assert blend(members, None, [-1, -1, 0]).z.tolist() == [[2.0, 2.0]]
    many = from_rows(np.zeros((9, 2)))
    assert blend(many).title("blend") == "blend: 0 + 1 + 2 + 3 + 4 + 5 and 3 more"


def test_numbers_of_points_are_no_items():
    points = from_rows(np.zeros((2, 2)))
    unlikes = from_rows(np.ones((1, 2)), ["17"], np.zeros((1, 2)))
    found = with_dislikes(points, unlikes, 0.0, likes_are_items=False)
    assert found.names == ("0", "1", "17")
    assert found.pairs() == [("blend", "17")] and found.most_own == 1
    assert found.shown_members("blend") == [("0", True), ("1", True), ("17", False)]
    unnamed = blend(points, named=False)
    assert unnamed.pairs() == [] and unnamed.most_own == 0 and unnamed.subset([0]).pairs() == []
    assert QueryOptions(k=3, exclude_self=True).request_for(unnamed).k == 3
    assert blend(points).pairs() == [("blend", "0"), ("blend", "1")]


def test_some_of_the_blends():
    members = from_rows(np.arange(14.0).reshape(7, 2), list("tuvwxyz"))
    blends = blend(members, GROUPS, WEIGHTS)
    some = blends.subset([2, 0])
    assert isinstance(some, Blends)
    assert some.ids == ("c", "a") and some.names == ("t", "v", "x", "y")
    assert sorted(some.pairs()) == [("a", "t"), ("a", "v"), ("c", "x"), ("c", "y")]
    assert some.own_items("a") == ["t", "v"] and some.most_own == 2
    assert some.z.tolist() == blends.z[[2, 0]].tolist()
    assert some.members.z.tolist() == members.z[[0, 2, 4, 5]].tolist()
    assert some.members.places.tolist() == [1, 1, 0, 0]
    opened = blends.leaving_open([1])
    assert isinstance(opened, Blends) and opened.names == blends.names
    assert np.isnan(opened.members.z[:, 1]).all() and np.isnan(opened.z[:, 1]).all()
    assert opened.z[:, 0].tolist() == blends.z[:, 0].tolist()


def test_what_is_unlike_is_a_point_beside_points():
    z = from_rows([[0.0, np.nan], [1.0, np.nan]], ["a", "b"])
    items = from_rows([[5.0, 6.0]], ["coat"], [[-1.0, -2.0]])
    found = with_dislikes(z, items, 0.5)
    assert found.members.log_var is None and found.names == ("a", "b", "coat")
    assert found.members.z[:, 0].tolist() == [0.0, 1.0, 5.0]
    assert np.isnan(found.members.z[:, 1]).all()
    assert found.members.weights.tolist() == [0.5, 0.5, -0.5]
    both = with_dislikes(items, from_rows([[1.0, 1.0]], ["hat"], [[0.0, 0.0]]), 1.0)
    assert both.members.is_gaussian and both.num_by_formula == 1


def refusal(call):
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def test_what_is_refused():
    members = asked()
    blends = blend(members, GROUPS, WEIGHTS)
    options = {"score": "kl"}
    assert refusal(lambda: QueryOptions(**options).request_for(blends)).startswith(
        "score kl is between Gaussians, but members of the blend are points z"
    )
    gaussian = blend(asked(gaussian=True), GROUPS, WEIGHTS)
    for name in ("mls", "bhattacharyya", "euclidean"):
        assert refusal(lambda name=name: QueryOptions(score=name).request_for(gaussian)) == (
            f"score {name} is not for blends; choose log_likelihood, or kl if all members are "
            "Gaussians."
        )
    assert refusal(lambda: QueryOptions(responsibilities=True).request_for(blends)) == (
        "responsibilities are not for blends, which are no density of one z; leave them out, or "
        "ask without blending."
    )
    assert refusal(lambda: QueryOptions(explain=True).request_for(gaussian)) == (
        "explain is for log_likelihood, but the score is kl."
    )
    assert refusal(lambda: blend(blends)) == (
        "the queries are blends already; give groups and weights once."
    )
    opened = members.leaving_open([0])
    mixed = Latents(members.ids, np.vstack([members.z[:3], opened.z[3:]]))
    assert refusal(lambda: blend(mixed)) == (
        "members 'member-0' and 'member-3' of a blend leave different dimensions open, such as 0; "
        "expected the same ones in all members."
    )
    assert re.match(
        r"query 'b/member-1' has z = .* in dimension \d, outside \[-0.1, 0.1\] \(2 such queries",
        refusal(lambda: blends.subset([1]).check_bound(0.1)),
    )
    blends.check_bound(100)
    own = members.with_tolerance(np.full((7, 1), 0.1))
    for call in (
        lambda: blend(own),
        lambda: with_dislikes(own, asked(gaussian=True), 0.5),
        lambda: blends.with_tolerance(np.full((3, 1), 0.1)),
    ):
        assert refusal(call) == (
            "the queries have tolerances of their own, which is not for blends, whose members are "
            "one query; leave them out, and name one tolerance for all."
        )
    three = from_rows([[1.0, 2.0, 3.0, 4.0]], ["x"], [[0.0] * 4])
    assert refusal(lambda: with_dislikes(members, three, 0.5)) == (
        "query 'x' has 4 dimensions, but what is liked has latent_dim 3."
    )
