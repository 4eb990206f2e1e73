"""What health.json holds."""

from __future__ import annotations

import json

import numpy as np

from tests.support.findings import across_models, agreement, findings, hubs
from tests.support.pages import HOSTILE
from vaeudf.health.record import record_of


def test_the_record():
    found = json.loads(json.dumps(record_of(findings()), allow_nan=False))
    assert list(found) == [
        "format", "table", "version", "model_id", "in_short", "warnings",
        "items", "latent_dim", "active", "collapsed", "active_threshold", "slider_range", "rate",
        "rate_quantiles", "aggregate_kl", "correlations", "dimensions",
        "hubs", "duplicates", "outliers", "quarantine", "comparison", "agreement",
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
    assert found["agreement"] is None


def test_the_agreement_with_pictures():
    whole = record_of(findings(agreement=agreement()))
    found = json.loads(json.dumps(whole, allow_nan=False))["agreement"]
    assert list(found) == [
        "k", "items", "unreadable", "likelihood", "noise_near_items", "by_chance",
        "recommended_tau", "recommended_candidates", "recommended_share", "squared_error",
        "structure", "nearest_by_both", "examples",
    ]  # fmt: skip
    assert (found["recommended_tau"], found["recommended_candidates"]) == (0.2, 100)
    assert (found["recommended_share"], found["by_chance"]) == (0.05, 0.005)
    literal, recommended, _ = found["squared_error"]["taus"]
    assert (literal["tau"], literal["even"], recommended["even"]) == (0.0, False, True)
    assert literal["hits"]["sliders ±5"] == {"mean": 0.08, "low": 0.06, "high": 0.1}
    third = recommended["reranked"][2]
    assert (third["candidates"], third["share_of_items"]) == (100, 0.05)
    assert third["prior"]["mean"] == 0.96
    assert found["structure"]["queries_per_kind"] == 100
    assert found["structure"]["taus"][1]["hits"]["prior"]["mean"] == 0.135
    assert found["nearest_by_both"]["near items"]["mean"] == 0.5
    assert found["examples"][0] == {
        "kind": "near items",
        "z": [0.0, 1.0, 2.0, 3.0, 4.0],
        "literal": ["a", HOSTILE, "c", "d", "x" * 200],
        "tolerance": ["x" * 200, "d", "c", HOSTILE, "a"],
        "reranked": ["a", HOSTILE, "c"],
    }


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
