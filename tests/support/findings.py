"""The findings of an inspection."""

from __future__ import annotations

import math

import numpy as np

from tests.support.latent_space import census_of, curve, latent_space
from tests.support.pages import HOSTILE
from vaeudf.health.drift import Churn, Drift
from vaeudf.health.examine import examine
from vaeudf.health.findings import (
    Comparison,
    Copies,
    Duplicates,
    Failures,
    Findings,
    Neighbour,
    Outlier,
    Quarantine,
)
from vaeudf.health.hubs import HubCurve


def hubs(items=5_000) -> HubCurve:
    return curve([[0.4, 0.4], [0.04, 0.4], [0.03, 0.4]], [0.01, 0.4], items)


def drift_of(mu, log_var) -> Drift:
    drift = Drift(mu.shape[1])
    drift.added, drift.removed = 7, 3
    names = [f"moved{i}" for i in range(30)]
    drift.add_common(names, mu[:30], log_var[:30], mu[:30] + 0.1, log_var[:30])
    return drift


def findings(mu=None, log_var=None, **changed) -> Findings:
    """Findings with something of everything."""
    if mu is None:
        mu, log_var = latent_space(3_000)
    census = census_of(mu, log_var)
    n = len(mu)
    parts = {
        "uri": "/tables/posteriors",
        "version": 3,
        "model_id": "ab" * 32,
        "census": census,
        "health": examine(census),
        "hubs": hubs(n),
        "duplicates": Duplicates(
            2, 5, (Copies(3, ("a", HOSTILE, "c")), Copies(2, ("d", "x" * 200)))
        ),
        "neighbours": (
            Neighbour("a", HOSTILE, 0.0),
            Neighbour(HOSTILE, "a", 0.0),
            Neighbour("e", "f", 0.03),
            Neighbour("g", "e", 40.0),
        ),
        "outliers": (Outlier(HOSTILE, -math.inf, 9.0), Outlier("h", -120.5, 7.25)),
        "quarantine": Quarantine(
            (Failures("truncated", 12, (("q.jpg", f"ends early {HOSTILE}"),)),), True
        ),
        "comparison": Comparison(
            uri="/tables/posteriors",
            version=2,
            model_id="ab" * 32,
            items=2_996,
            drift=drift_of(mu, log_var),
            churn=(Churn(kind="prior", queries=100, k=10, overlap=0.875),),
            health=None,
        ),
    } | changed
    return Findings(**parts)


def across_models() -> Comparison:
    """Beside a table of another model, with two dimensions."""
    census = census_of(np.random.default_rng(1).normal(size=(50, 2)), np.zeros((50, 2)))
    drift = Drift(5)
    drift.added, drift.removed, drift.common = 7, 3, 40
    return Comparison(
        uri="/tables/other",
        version=1,
        model_id="cd" * 32,
        items=50,
        drift=drift,
        churn=(),
        health=examine(census),
    )
