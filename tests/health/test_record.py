"""What health.json holds."""

from __future__ import annotations

import json

import numpy as np

from tests.support.findings import across_models, findings, hubs
from tests.support.pages import HOSTILE
from vaeudf.health.record import record_of


def test_the_record():
    found = json.loads(json.dumps(record_of(findings()), allow_nan=False))
    assert list(found) == [
        "format", "table", "version", "model_id", "in_short", "warnings",
        "items", "latent_dim", "active", "collapsed", "active_threshold", "slider_range", "rate",
        "rate_quantiles", "aggregate_kl", "correlations", "dimensions",
        "hubs", "duplicates", "outliers", "quarantine", "comparison",
    ]  # fmt: skip
    assert (found["format"], found["items"], found["active"]) == (1, 3_000, [0, 1, 4])
    assert list(found["dimensions"][0]) == [
        "dimension", "kl", "active", "mu_mean", "mu_variance", "slider_range", "mu_reach",
        "sigma_quantiles", "aggregate_mean", "aggregate_variance", "floor", "ceiling",
    ]  # fmt: skip
    assert found["hubs"]["recommended_tau"] == 0.1
    assert found["hubs"]["taus"][1] == {"tau": 0.1, "shares": {"a": 0.04, "b": 0.4}}
    assert found["hubs"]["limits"] == {"a": 0.05, "b": 0.8}
    assert found["duplicates"]["alike_share"] == 0.75
    pairs = [(one["item_id"], one["other"]) for one in found["duplicates"]["closest"]]
    assert pairs == [("a", HOSTILE), ("e", "f"), ("g", "e")]
    assert found["outliers"][0] == {"item_id": HOSTILE, "log_density": None, "mahalanobis": 9.0}
    assert found["comparison"]["moved_most"][0]["kl"] > 0
    assert found["comparison"]["churn"][0]["overlap"] == 0.875


def test_across_models():
    found = record_of(findings(comparison=across_models()))["comparison"]
    assert found["across_models"] and found["old"]["active"] == [0, 1]
    assert not {"changed", "kl_quantiles", "mean_shift", "churn"} & set(found)


def test_all_dimensions_are_in_it():
    mu = np.random.default_rng(0).normal(size=(20, 512))
    wide = findings(mu, np.zeros((20, 512)), comparison=None)
    assert len(record_of(wide)["dimensions"]) == 512


def test_numbers_that_are_not_finite_are_null():
    huge = findings(np.full((3, 2), 1e30), np.full((3, 2), 3e3), comparison=None, hubs=hubs(3))
    assert json.loads(json.dumps(record_of(huge), allow_nan=False))["rate"] is None
