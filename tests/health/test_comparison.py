"""Two tables item by item, against NumPy on all rows."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.plain import write_plain
from tests.support.population import NUM_ITEMS
from tests.support.tolerances import assert_same_float64, assert_same_scores
from vaeudf.errors import InputError
from vaeudf.health.comparison import compare
from vaeudf.health.drift import kl_of_pairs
from vaeudf.table.open import open_posteriors

pytestmark = pytest.mark.spark


def test_drift(spark, population, tmp_path):
    rng = np.random.default_rng(2)
    names = population.items["item_id"].to_pylist()
    kept = rng.permutation(NUM_ITEMS)[:2_500]
    mu, log_var = population.mu[kept].copy(), population.log_var[kept].copy()
    mu[:70] += 0.05
    log_var[69] += 1.0
    more = [f"old{i}" for i in range(9)]
    old = write_plain(
        tmp_path / "old.parquet",
        [*(names[i] for i in kept), *more],
        np.vstack([mu, population.mu[:9]]),
        np.vstack([log_var, population.log_var[:9]]),
        row_group_size=400,
    )
    table = open_posteriors(population.table)
    drift = compare(spark, table, old, posteriors=True)
    assert (drift.added, drift.removed, drift.common) == (NUM_ITEMS - 2_500, 9, 2_500)
    assert drift.changed == 70
    kl = kl_of_pairs(
        *(
            a.astype(np.float64)
            for a in (population.mu[kept], population.log_var[kept], mu, log_var)
        )
    )
    order = np.argsort(-kl, kind="stable")[:24]
    assert_same_scores(drift.moved.values, kl[order], population.log_var, log_var, dims=3)
    assert drift.moved.ids[0] == names[kept[order[0]]]
    shifts = population.mu[kept].astype(np.float64) - mu
    added = np.abs(shifts).mean(axis=0)
    assert_same_float64(drift.mean_shift, shifts.mean(axis=0), terms=2_500, magnitude=added)
    bare = compare(spark, table, old, posteriors=False)
    assert (bare.added, bare.removed, bare.common) == (NUM_ITEMS - 2_500, 9, 2_500)


def test_a_posterior_that_is_not_finite(spark, population, tmp_path):
    mu, log_var = population.mu[:3].copy(), population.log_var[:3]
    mu[1, 0] = np.nan
    names = population.items["item_id"].to_pylist()[:3]
    old = write_plain(tmp_path / "old.parquet", names, mu, log_var)
    with pytest.raises(InputError, match="old_mu that is null, NaN or inf"):
        compare(spark, open_posteriors(population.table), old, posteriors=True)
