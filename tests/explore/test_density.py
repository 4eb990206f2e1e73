"""How many items are at z, against a sum over all of them by SciPy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import logsumexp

from tests.support.cases import each_value_once
from tests.support.loaded import ask, by_row, load
from tests.support.oracles import log_density_by_torch
from tests.support.tolerances import assert_sampled, assert_within, near_float64
from vaeudf.explore import density
from vaeudf.explore.density import Density


@pytest.fixture(scope="module")
def loaded(population):
    return load(population.table)


def expected_here(loaded, z, tolerance, where):
    """N times the mean density times the volume of a typical posterior."""
    mu, log_var = (part.astype(float) for part in loaded.posteriors(np.flatnonzero(where)))
    sigma = np.array([one.sigma for one in loaded.dimensions])
    closed = [dim for dim, one in enumerate(z) if one is not None]
    tau2 = np.broadcast_to(np.square(tolerance), 3)[closed]
    point = np.array([[z[dim] for dim in closed]], float)
    blurred = np.log(np.exp(log_var[:, closed]) + tau2)
    log_sum = logsumexp(log_density_by_torch(point, mu[:, closed], blurred))
    return np.exp(log_sum + 0.5 * np.log(2 * np.pi * (sigma[closed] ** 2 + tau2)).sum())


Z = [[0, 0, 0], [0.3, None, -1], [2.5, 2, -2], [40, -35, 28], [4, 0, 0]]


@pytest.fixture(params=["all are sampled", "few are sampled"])
def way(request, loaded, monkeypatch) -> str:
    if request.param == "few are sampled":
        monkeypatch.setattr(density, "SAMPLED", 100)
        sigma = np.array([one.sigma for one in loaded.dimensions])
        monkeypatch.setattr(loaded, "density", Density(loaded.index, sigma))
    return request.param


@each_value_once(
    ("where", [None, "stock < 400"]), ("tolerance", [0.0, 0.2, [0.0, 0.5, 3.0]]), ("z", Z)
)
def test_items_here(population, loaded, way, z, tolerance, where):
    stock = by_row(loaded, population.items)["stock"].to_pylist()
    counted = [where is None or (one is not None and one < 400) for one in stock]
    expected = expected_here(loaded, z, tolerance, counted)
    found = ask(loaded, z=z, tolerance=tolerance, **({"where": where} if where else {})).here
    assert_within(found, expected, max(0.005, 0.01 * expected), why="what is passed over")


def test_many_items_are_counted_by_a_sample(loaded, monkeypatch):
    monkeypatch.setattr(density, "SAMPLED", 1_000)
    sigma = np.array([one.sigma for one in loaded.dimensions])
    sampled = Density(loaded.index, sigma)
    monkeypatch.setattr(loaded.index, "log_sum", None)  # no item is looked at besides
    for z, tolerance in (([0, 0, 0], 2.0), ([1, None, None], 0.5)):
        expected = expected_here(loaded, z, tolerance, np.ones(3_000, bool))
        numbers = np.array([np.nan if one is None else one for one in z], float)
        found = sampled.items_here(numbers, tolerance)
        assert_sampled(found, expected, standard_error=expected / 16)
        assert found != expected


def test_items_of_any_width(tmp_path):
    """Densities beyond float64, or of a point at the mean of an item without a width."""
    rows = {
        "item_id": ["a", "b", "c"],
        "mu": [[0.0], [1.0], [2.0]],
        "log_var": [[-3_000.0], [0.0], [3_000.0]],
    }
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    loaded = load(str(tmp_path))
    for z, expected in ((1.0, 1.0), (0.5, np.exp(-0.125))):
        assert loaded.density.items_here(np.array([z]), 0.0) == near_float64(expected, terms=100)
    assert loaded.density.items_here(np.array([0.0]), 0.0) == np.inf


def test_an_item_of_its_own_counts_as_one(tmp_path, population):
    mu = population.mu[5].astype(float)
    loaded = load(population.table)
    sigma = np.array([one.sigma for one in loaded.dimensions])
    here = ask(loaded, z=mu.tolist()).here
    own = np.prod(sigma / np.exp(0.5 * population.log_var[5].astype(float)))
    assert here >= own - 0.005
