"""The findings of an inspection."""

from __future__ import annotations

import math

import numpy as np

from tests.support.latent_space import census_of, curve, latent_space
from tests.support.pages import HOSTILE
from vaeudf.health.agreement import KINDS, Agreement, Estimates, Example, Shares
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
from vaeudf.pages.picture_agreement import ExamplePictures


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


def near(mean) -> Estimates:
    """Estimates with intervals of ± 0.02."""
    mean = np.asarray(mean, np.float64)
    return Estimates(mean, np.maximum(mean - 0.02, 0.0), np.minimum(mean + 0.02, 1.0))


def agreement(**changed) -> Agreement:
    """Hits that agree with the pictures once they are ranked again."""
    hits = [[0.41, 0.19, 0.16, 0.08], [0.44, 0.27, 0.27, 0.29], [0.44, 0.27, 0.26, 0.28]]
    reranked = [[[share] * 4 for share in (0.4, 0.7, 0.96, 0.99)]] * 3
    items = ["a", HOSTILE, "c", "d", "x" * 200]
    parts = {
        "items": 2_000,
        "unreadable": 3,
        "likelihood": "gaussian:0.0123",
        "kinds": KINDS,
        "taus": (0.0, 0.2, 0.5),
        "even": (False, True, True),
        "best_tau": 1,
        "candidates": (20, 50, 100, 200),
        "error": Shares(300, near(hits), near(reranked)),
        "structure": Shares(100, near(np.array(hits) / 2), near(np.array(reranked) / 2)),
        "truths": near([0.5, 0.4, 0.3, 0.35]),
        "examples": tuple(
            Example(kind, np.arange(5.0), tuple(items), tuple(items[::-1]), tuple(items[:3]))
            for kind in KINDS
        ),
    } | changed
    return Agreement(**parts)


def example_pictures(found: Agreement) -> ExamplePictures:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    names = sorted(set().union(*(one.item_ids for one in found.examples)))
    return ExamplePictures(list(pictures[:4]), dict(zip(names, pictures[4:], strict=True)))


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
