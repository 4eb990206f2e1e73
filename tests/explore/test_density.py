"""How many items are at z, against a sum over all of them by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

from tests.support.loaded import ask, by_row, load
from tests.support.oracles import log_density_by_torch
from tests.support.tolerances import assert_within


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


@pytest.mark.parametrize("z", [[0, 0, 0], [0.3, None, -1], [2.5, 2, -2], [40, -35, 28], [4, 0, 0]])
@pytest.mark.parametrize("tolerance", [0.0, 0.2, [0.0, 0.5, 3.0]])
@pytest.mark.parametrize("where", [None, "stock < 400"])
def test_items_here(population, loaded, z, tolerance, where):
    stock = by_row(loaded, population.items)["stock"].to_pylist()
    counted = [where is None or (one is not None and one < 400) for one in stock]
    expected = expected_here(loaded, z, tolerance, counted)
    found = ask(loaded, z=z, tolerance=tolerance, **({"where": where} if where else {})).here
    assert_within(found, expected, 0.005 + 1e-9 * expected, why="what is passed over")


def test_an_item_of_its_own_counts_as_one(tmp_path, population):
    mu = population.mu[5].astype(float)
    loaded = load(population.table)
    sigma = np.array([one.sigma for one in loaded.dimensions])
    here = ask(loaded, z=mu.tolist()).here
    own = np.prod(sigma / np.exp(0.5 * population.log_var[5].astype(float)))
    assert here >= own - 0.005
