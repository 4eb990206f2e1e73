"""How posteriors moved, against torch.distributions, and that parts do not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from tests.support.tolerances import (
    assert_same_float64,
    assert_same_scores,
    near_float64,
    near_sketched,
)
from vaeudf.health.drift import KL_SHARES, Drift, mean_overlap
from vaeudf.numerics.sketches import ACCURACY, SMALLEST


def pairs(count=2_000, dims=3, seed=0):
    rng = np.random.default_rng(seed)
    mu, log_var = rng.normal(size=(count, dims)), rng.normal(-3, 1, size=(count, dims))
    old_mu, old_log_var = mu.copy(), log_var.copy()
    moved = rng.random(count) < 0.4
    old_mu[moved] += rng.normal(size=(moved.sum(), dims)) * 0.1
    old_log_var[moved] += rng.normal(size=(moved.sum(), dims)) * 0.1
    return mu, log_var, old_mu, old_log_var, moved


def exact_kl(mu, log_var, old_mu, old_log_var):
    new, old = (
        Normal(torch.from_numpy(m), torch.from_numpy(np.exp(0.5 * v)))
        for m, v in ((mu, log_var), (old_mu, old_log_var))
    )
    return kl_divergence(new, old).sum(dim=1).numpy()


@pytest.mark.parametrize("cuts", [1, 2, 9])
def test_drift(cuts):
    mu, log_var, old_mu, old_log_var, moved = pairs()
    names = [f"i{row}" for row in range(len(mu))]
    drift = Drift(3)
    for rows in np.array_split(np.arange(len(mu)), cuts):
        part = Drift(3)
        part.added, part.removed = 1, 2
        own = [array[rows] for array in (mu, log_var, old_mu, old_log_var)]
        part.add_common([names[row] for row in rows], *own)
        drift.merge(part)
    kl = exact_kl(mu, log_var, old_mu, old_log_var)
    assert (drift.added, drift.removed) == (cuts, 2 * cuts)
    assert (drift.common, drift.changed) == (len(mu), moved.sum())
    order = np.argsort(-kl, kind="stable")[:24]
    assert drift.moved.ids == [names[row] for row in order]
    assert_same_scores(drift.moved.values, kl[order], log_var, old_log_var, dims=3)
    for share in KL_SHARES:
        exact = np.quantile(kl, share, method="lower")
        near = near_sketched(exact, accuracy=ACCURACY, smallest=SMALLEST)
        assert drift.kl_quantiles[share] == near
    shifts = mu - old_mu
    added = np.abs(shifts).mean(axis=0)
    assert_same_float64(drift.mean_shift, shifts.mean(axis=0), terms=len(mu), magnitude=added)
    assert_same_float64(drift.rms_shift, np.sqrt((shifts**2).mean(axis=0)), terms=len(mu))


def test_nothing_in_common():
    drift = Drift(2)
    assert np.isnan(drift.kl_quantiles[0.5])
    assert drift.mean_shift.tolist() == drift.rms_shift.tolist() == [0.0, 0.0]


def test_overlap():
    new = [("q", "a"), ("q", "b"), ("r", "a"), ("r", "c")]
    old = [("q", "b"), ("q", "a"), ("r", "a"), ("r", "d"), ("r", "e")]
    assert mean_overlap(new, new, ["q", "r"]) == 1.0
    assert mean_overlap(new, old, ["q", "r"]) == near_float64((1 + 1 / 3) / 2, terms=3)
    assert mean_overlap([], [], ["q"]) == 0.0
