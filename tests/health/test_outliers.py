"""Items that stand alone, against the densities of all items at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from tests.support.passes import MemoryPasses
from tests.support.tolerances import assert_same_scores
from vaeudf.gaussian import log_prob
from vaeudf.health.outliers import log_mean_without_self, outliers
from vaeudf.numerics.sketches import TopList


def test_density_without_the_item_itself():
    rng = np.random.default_rng(3)
    mu, log_var = rng.normal(size=(60, 4)) * 3, rng.normal(-3, 1, size=(60, 4))
    density = Normal(torch.from_numpy(mu), torch.from_numpy(np.exp(0.5 * log_var)))
    logs = density.log_prob(torch.from_numpy(mu)[:, None]).sum(dim=2).numpy()
    np.fill_diagonal(logs, -np.inf)
    exact = np.logaddexp.reduce(logs, axis=1) - math.log(59)
    asked = slice(0, 12)
    others = np.logaddexp.reduce(logs[asked, 12:], axis=1)
    found = log_mean_without_self(mu[asked], log_var[asked], others, 60)
    assert_same_scores(found, exact[asked], log_var, dims=4, items=60)
    alone = log_mean_without_self(mu[:1], log_var[:1], np.array([-np.inf]), 1)
    assert alone.tolist() == [-np.inf]


@pytest.mark.parametrize("parts", [1, 7])
def test_candidates_are_ranked_by_the_density_of_all_other_items(parts):
    rng = np.random.default_rng(4)
    mu, log_var = rng.normal(size=(500, 3)), rng.normal(-3, 0.5, size=(500, 3))
    names = [f"i{row:05}" for row in range(500)]
    rows = rng.permutation(500)[:40]
    candidates = TopList(40, 3)
    candidates.add(np.arange(40.0), [names[row] for row in rows], mu[rows], log_var[rows])
    density = log_prob(mu[rows], mu, log_var)
    density[np.arange(40), rows] = -np.inf
    exact = np.logaddexp.reduce(density, axis=1) - math.log(499)
    found = outliers(MemoryPasses(mu, log_var, names, parts), candidates, num_items=500, most=10)
    order = np.argsort(exact)[:10]
    assert [one.item_id for one in found] == [names[row] for row in rows[order]]
    densities = [one.log_density for one in found]
    assert_same_scores(densities, exact[order], log_var, dims=3, items=500)
    assert [one.distance for one in found] == order.tolist()


def test_nothing_stands_alone_among_none_or_one():
    passes = MemoryPasses(np.zeros((1, 2)), np.zeros((1, 2)))
    one = TopList(5, 2)
    assert outliers(passes, one, num_items=3, most=5) == []
    one.add(np.ones(1), ["i00000"], np.zeros((1, 2)), np.zeros((1, 2)))
    assert outliers(passes, one, num_items=1, most=5) == []
    assert passes.count == 0
