"""The findings of an inspection."""

from __future__ import annotations

import math

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
            "/tables/posteriors",
            2,
            "ab" * 32,
            2_996,
            drift_of(mu, log_var),
            (Churn("prior", 100, 10, 0.875),),
            None,
        ),
    } | changed
    return Findings(**parts)
