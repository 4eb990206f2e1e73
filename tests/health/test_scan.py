"""The pass over a table, against brute force over all items."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.plain import write_plain as plain
from tests.support.population import NUM_ITEMS
from tests.support.tolerances import (
    FUNCTION,
    SCORE,
    assert_same_float64,
    assert_same_scores,
)
from vaeudf.errors import InputError, TableError
from vaeudf.gaussian import log_prob
from vaeudf.health.outliers import outliers
from vaeudf.health.scan import CANDIDATES, lots, sample_scale, scan
from vaeudf.numerics.kd_tree import kd_order
from vaeudf.numerics.sketches import QuantileSketch
from vaeudf.spark.passes import TablePasses
from vaeudf.table.footers import read_footers
from vaeudf.table.open import open_posteriors

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module", params=["table", pytest.param("parquet", marks=pytest.mark.slow)])
def scanned(spark, population, request):
    table = open_posteriors(getattr(population, request.param))
    return table, *scan(TablePasses(spark, table), num_sampled=50, seed=4)


def ids_of(population):
    return population.items["item_id"].to_pylist()


def outliers_of(spark, table, census, most):
    passes = TablePasses(spark, table)
    return outliers(passes, census.farthest, num_items=table.num_items, most=most)


def test_all_items_are_counted(scanned, population):
    _, census, _ = scanned
    mu, log_var = (a.astype(np.float64) for a in (population.mu, population.log_var))
    assert census.count == NUM_ITEMS
    exact = QuantileSketch(3)
    exact.add(mu)
    np.testing.assert_array_equal(census.mu.counts, exact.counts)
    added = np.abs(mu).mean(axis=0)
    assert_same_float64(census.moments.mean, mu.mean(axis=0), terms=NUM_ITEMS, magnitude=added)
    found, expected = census.moments.covariance, np.cov(mu.T, ddof=0)
    added = np.abs(mu.T) @ np.abs(mu) / NUM_ITEMS
    assert_same_float64(found, expected, terms=2 * NUM_ITEMS, magnitude=added)
    expected = np.exp(log_var).sum(axis=0)
    assert_same_float64(census.variance_sum, expected, terms=NUM_ITEMS + FUNCTION)
    np.testing.assert_array_equal(census.log_var.low, log_var.min(axis=0))


def test_the_sample_is_of_hashed_ids(scanned, population):
    _, census, _ = scanned
    ids = np.array(ids_of(population), object)
    found = lots(ids, 4)
    assert ((found >= 0) & (found < 1)).all() and abs(found.mean() - 0.5) < 0.02
    order = np.argsort(-found)[:50]
    assert census.sample.ids == ids[order].tolist()
    np.testing.assert_array_equal(census.sample.mu, population.mu[order])
    assert not np.array_equal(found, lots(ids, 5))


def test_copies(scanned, population):
    _, _, duplicates = scanned
    rows = np.hstack([population.mu, population.log_var])
    _, which, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    which = which.ravel()
    assert (duplicates.groups, duplicates.items) == (
        (counts > 1).sum(),
        counts[counts > 1].sum(),
    )
    assert [one.items for one in duplicates.largest] == sorted(counts)[::-1][:24]
    names = np.array(ids_of(population))
    for one in duplicates.largest:
        group = which[names.tolist().index(one.item_ids[0])]
        members = sorted(names[which == group].tolist(), key=str.encode)
        assert len(members) == one.items
        assert list(one.item_ids) == members[:6]


def test_outliers(spark, scanned, population):
    table, census, _ = scanned
    scale = sample_scale([g for g in read_footers(table.files) if g.num_rows], 3)
    distances = scale.distance(population.mu)
    names = ids_of(population)
    order = sorted(range(NUM_ITEMS), key=lambda i: (-distances[i], names[i].encode()))
    candidates = order[:CANDIDATES]
    assert_same_float64(census.farthest.values, distances[candidates], terms=SCORE)
    assert set(census.farthest.ids) == {names[i] for i in candidates}
    density = log_prob(population.mu[candidates], population.mu, population.log_var)
    density[np.arange(CANDIDATES), candidates] = -np.inf
    density = np.logaddexp.reduce(density, axis=1) - np.log(NUM_ITEMS - 1)
    best = sorted(zip(density, (names[i] for i in candidates), strict=True))[:24]
    found = outliers_of(spark, table, census, 24)
    logs = [o.log_density for o in found], [d for d, _ in best]
    assert_same_scores(*logs, population.log_var, dims=3, items=NUM_ITEMS)
    assert {o.item_id for o in found} == {name for _, name in best}


def test_the_sample_is_of_all_sides(tmp_path, monkeypatch):
    """Rows in k-d order, as encode_catalog writes them: a group begins on one side."""
    rng = np.random.default_rng(5)
    mu = rng.normal(size=(2**16, 6)).astype(np.float32)
    mu = mu[kd_order(mu, 256)]
    log_var = np.full_like(mu, -3.0)
    path = tmp_path / "t.parquet"
    plain(path, [str(i) for i in range(len(mu))], mu, log_var, row_group_size=4096)
    # As if there were eight times as many row groups: 1,024 rows each of 64 of them.
    groups = read_footers([str(path)]) * 8
    scale = sample_scale(groups, 6)
    assert np.abs(scale.mean - mu.mean(axis=0)).max() < 0.1
    assert np.abs(scale.distance(mu) / np.linalg.norm(mu, axis=1) - 1).mean() < 0.05
    monkeypatch.setattr("vaeudf.health.scan._NUMBERS_PER_BLOCK", 603)  # 100 rows at a time
    np.testing.assert_array_equal(sample_scale(groups, 6).whitener, scale.whitener)


def test_one_item_and_two(spark, tmp_path):
    one = plain(tmp_path / "one.parquet", ["a"], np.ones((1, 1), "f4"), np.zeros((1, 1), "f4"))
    census, duplicates = scan(TablePasses(spark, one), num_sampled=10, seed=0)
    assert (census.count, duplicates.groups, census.sample.ids) == (1, 0, ["a"])
    # There are no others beside which it would be far.
    assert outliers_of(spark, one, census, 5) == []
    two = plain(tmp_path / "two.parquet", ["a", "b"], np.ones((2, 1), "f4"), np.zeros((2, 1), "f4"))
    census, duplicates = scan(TablePasses(spark, two), num_sampled=10, seed=0)
    assert (duplicates.groups, duplicates.items) == (1, 2)
    assert len(outliers_of(spark, two, census, 5)) == 2


@pytest.mark.slow
def test_many_dimensions_of_doubles_and_numbers_for_ids(spark, tmp_path):
    rng = np.random.default_rng(0)
    mu, log_var = rng.normal(size=(300, 512)), rng.normal(-3, 0.1, size=(300, 512))
    table = plain(tmp_path / "wide.parquet", list(range(300)), mu, log_var, row_group_size=64)
    census, duplicates = scan(TablePasses(spark, table), num_sampled=10, seed=0)
    assert (census.count, census.latent_dim, duplicates.groups) == (300, 512, 0)
    added = np.abs(mu).mean(axis=0)
    assert_same_float64(census.moments.mean, mu.mean(axis=0), terms=300, magnitude=added)
    assert all(name.isdigit() for name in census.sample.ids)
    assert len(outliers_of(spark, table, census, 3)) == 3


def test_what_is_no_posterior(spark, tmp_path):
    mu = np.ones((5, 2), "f4")
    mu[3, 1] = np.nan
    table = plain(tmp_path / "nan.parquet", list("abcde"), mu, np.zeros((5, 2), "f4"))
    with pytest.raises(InputError, match="item 'd' has a mu that is null, NaN or inf"):
        scan(TablePasses(spark, table), num_sampled=3, seed=0)
    gone = plain(tmp_path / "gone.parquet", list("abcde"), np.ones((5, 2), "f4"), mu * 0 + 1)
    (tmp_path / "gone.parquet").unlink()
    with pytest.raises(TableError, match=r"gone\.parquet cannot be read as Parquet"):
        scan(TablePasses(spark, gone), num_sampled=3, seed=0)
