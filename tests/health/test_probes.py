"""The questions put to a table's query engine, against brute force over all items."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.support.plain import write_plain
from tests.support.population import NUM_ITEMS
from tests.support.tolerances import near_score
from vaeudf.gaussian import jeffreys_divergence, log_prob
from vaeudf.health.kinds import PRIOR, slider_kind
from vaeudf.health.probes import SLIDERS, churn, draw_z, hub_curve, nearest_others
from vaeudf.numerics.sketches import TopList
from vaeudf.table.open import open_posteriors

pytestmark = pytest.mark.spark


def ids_of(population):
    return population.items["item_id"].to_pylist()


@pytest.fixture
def sample(population):
    """50 items at random."""
    rows = np.random.default_rng(4).permutation(NUM_ITEMS)[:50]
    found, names = TopList(50, 3), ids_of(population)
    found.add(
        np.arange(50.0),
        [names[row] for row in rows],
        population.mu[rows],
        population.log_var[rows],
    )
    return found


def test_nearest_others(population, sample):
    table = open_posteriors(population.table)
    names = ids_of(population)
    rows = [names.index(name) for name in sample.ids]
    mu, log_var = population.mu, population.log_var
    apart = jeffreys_divergence(mu[rows], log_var[rows], mu, log_var)
    apart[np.arange(50), rows] = np.inf
    found = nearest_others(table, sample)
    assert [one.divergence for one in found] == sorted(one.divergence for one in found)
    by_name = {one.item_id: one for one in found}
    assert len(by_name) == 50
    for own, name in zip(apart, sample.ids, strict=True):
        least = near_score(own.min(), log_var, dims=3)
        assert by_name[name].divergence == least
        assert own[names.index(by_name[name].other)] == least
    assert any(one.divergence == 0 for one in found), "copies are at no distance"


def test_hubs(population):
    table = open_posteriors(population.table)
    curve = hub_curve(table, [0.0, 0.3], count=40, seed=1)
    assert curve.kinds == (PRIOR, *map(slider_kind, SLIDERS))
    assert curve.least == 10 / NUM_ITEMS
    asked = draw_z(3, 40, seed=1)
    for i, bound in enumerate(SLIDERS, 1):
        z = asked.z[40 * i : 40 * (i + 1)]
        assert np.abs(z).max() <= bound and np.abs(z).max() > 0.9 * bound
    names = ids_of(population)
    by_name = np.argsort([name.encode() for name in names])
    mu, log_var = population.mu[by_name], population.log_var[by_name]
    for tau, own in zip((0.0, 0.3), curve.shares, strict=True):
        scores = log_prob(asked.z, mu, log_var, tau)
        top = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        exact = [
            Counter(rows.ravel().tolist()).most_common(1)[0][1] / 40 for rows in np.split(top, 5)
        ]
        np.testing.assert_array_equal(own, exact)
    distances = ((asked.z[:, None] - mu) ** 2).sum(axis=2)
    top = np.argsort(distances, axis=1, kind="stable")[:, :10]
    exact = [Counter(rows.ravel().tolist()).most_common(1)[0][1] / 40 for rows in np.split(top, 5)]
    np.testing.assert_array_equal(curve.euclidean, exact)


def test_churn(population, sample, tmp_path):
    table = open_posteriors(population.table)
    rows = np.arange(0, NUM_ITEMS, 2)
    names = [ids_of(population)[row] for row in rows]
    old = write_plain(
        tmp_path / "old.parquet", names, population.mu[rows] + 0.05, population.log_var[rows]
    )
    same = churn(table, table, sample, count=15, seed=0)
    assert [(one.kind, one.queries, one.overlap) for one in same] == [
        ("prior", 15, 1.0),
        ("posteriors", 15, 1.0),
    ]
    moved = churn(table, old, sample, count=15, seed=0)
    assert all(0.4 < one.overlap < 1 for one in moved)


def test_one_item_and_two(spark, tmp_path):
    own = TopList(1, 1)
    own.add(np.ones(1), ["a"], np.ones((1, 1)), np.zeros((1, 1)))
    one = write_plain(tmp_path / "1.parquet", ["a"], np.ones((1, 1), "f4"), np.zeros((1, 1), "f4"))
    assert nearest_others(one, own) == []
    assert hub_curve(one, [0.0], count=3, seed=0).recommended is None
    ones, zeros = np.ones((2, 1), "f4"), np.zeros((2, 1), "f4")
    two = write_plain(tmp_path / "2.parquet", ["a", "b"], ones, zeros)
    assert [(n.other, n.divergence) for n in nearest_others(two, own)] == [("b", 0.0)]
