"""What ``health.json`` holds of the findings of an inspection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vaeudf.health.agreement_record import agreement_record
from vaeudf.health.drift import KL_SHARES
from vaeudf.health.examine import ACTIVE, Clamp, Dimension, Health
from vaeudf.health.findings import ALIKE, Comparison, Findings, Quarantine
from vaeudf.health.hubs import HubCurve
from vaeudf.health.wording import summary_sentences, warning_sentences

FORMAT = 1

_NEAR_SHARES = (0.01, 0.1, 0.5, 0.9)


def record_of(findings: Findings) -> dict[str, Any]:
    """Return what ``health.json`` holds; numbers that are not finite are null."""
    found: dict[str, Any] = {
        "format": FORMAT,
        "table": findings.uri,
        "version": findings.version,
        "model_id": findings.model_id,
        "in_short": summary_sentences(findings),
        "warnings": warning_sentences(findings),
        **_health(findings.health),
        "hubs": _hubs(findings.hubs),
        "duplicates": _duplicates(findings),
        "outliers": [
            {
                "item_id": one.item_id,
                "log_density": one.log_density,
                "mahalanobis": one.distance,
            }
            for one in findings.outliers
        ],
        "quarantine": None if findings.quarantine is None else _quarantine(findings.quarantine),
        "comparison": None if findings.comparison is None else _comparison(findings.comparison),
        "agreement": None if findings.agreement is None else agreement_record(findings.agreement),
    }
    cleaned: dict[str, Any] = _finite(found)
    return cleaned


def _duplicates(findings: Findings) -> dict[str, Any]:
    divergences = [one.divergence for one in findings.neighbours]
    return {
        "groups": findings.duplicates.groups,
        "items": findings.duplicates.items,
        "largest": [
            {"items": one.items, "item_ids": list(one.item_ids)}
            for one in findings.duplicates.largest
        ],
        "sample": len(divergences),
        "score": "jeffreys",
        "alike": ALIKE,
        "alike_share": findings.alike_share,
        "nearest_quantiles": _shares(
            {share: float(np.quantile(divergences, share)) for share in _NEAR_SHARES}
            if divergences
            else {}
        ),
        "closest": [
            {"item_id": one.item_id, "other": one.other, "jeffreys": one.divergence}
            for one in findings.closest_pairs(24)
        ],
    }


def _health(health: Health) -> dict[str, Any]:
    return {
        "items": health.items,
        "latent_dim": len(health.dimensions),
        "active": [one.number for one in health.active],
        "collapsed": [one.number for one in health.collapsed],
        "active_threshold": ACTIVE,
        "slider_range": health.slider_range,
        "rate": health.rate,
        "rate_quantiles": _shares(health.rate_quantiles),
        "aggregate_kl": health.aggregate_kl,
        "correlations": [
            {"dimensions": [i, j], "correlation": value} for i, j, value in health.correlations
        ],
        "dimensions": [_dimension(one) for one in health.dimensions],
    }


def _dimension(one: Dimension) -> dict[str, Any]:
    return {
        "dimension": one.number,
        "kl": one.kl,
        "active": one.active,
        "mu_mean": one.mu_mean,
        "mu_variance": one.mu_variance,
        "slider_range": one.slider_range,
        "mu_reach": _shares(one.mu_reach),
        "sigma_quantiles": _shares(one.sigma),
        "aggregate_mean": one.mu_mean,
        "aggregate_variance": one.variance,
        "floor": _clamp(one.floor),
        "ceiling": _clamp(one.ceiling),
    }


def _clamp(clamp: Clamp) -> dict[str, Any]:
    return {
        "log_var": clamp.log_var,
        "items": clamp.items,
        "share": clamp.share,
        "flagged": clamp.flagged,
    }


def _hubs(curve: HubCurve) -> dict[str, Any]:
    def by_kind(shares: Sequence[float]) -> dict[str, float]:
        return {kind: float(share) for kind, share in zip(curve.kinds, shares, strict=True)}

    return {
        "k": curve.k,
        "queries_per_kind": curve.queries,
        "least_possible": curve.least,
        "limits": by_kind(curve.limits.tolist()),
        "recommended_tau": curve.recommended,
        "taus": [
            {"tau": tau, "shares": by_kind(own)}
            for tau, own in zip(curve.taus, curve.shares.tolist(), strict=True)
        ],
        "euclidean": by_kind(curve.euclidean.tolist()),
    }


def _quarantine(quarantine: Quarantine) -> dict[str, Any]:
    return {
        "items": quarantine.items,
        "of_version": quarantine.of_version,
        "reasons": [
            {
                "reason": one.reason,
                "items": one.items,
                "examples": [{"item_id": name, "message": text} for name, text in one.examples],
            }
            for one in quarantine.failures
        ],
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    drift = comparison.drift
    found: dict[str, Any] = {
        "table": comparison.uri,
        "version": comparison.version,
        "model_id": comparison.model_id,
        "items": comparison.items,
        "across_models": comparison.across_models,
        "added": drift.added,
        "removed": drift.removed,
        "common": drift.common,
    }
    if comparison.health is not None:
        return found | {"old": _health(comparison.health)}
    return found | {
        "changed": drift.changed,
        "kl_quantiles": _shares({share: drift.kl_quantiles[share] for share in KL_SHARES}),
        "moved_most": [
            {"item_id": name, "kl": float(kl)}
            for name, kl in zip(drift.moved.ids, drift.moved.values, strict=True)
        ],
        "mean_shift": drift.mean_shift.tolist(),
        "rms_shift": drift.rms_shift.tolist(),
        "churn": [
            {"kind": one.kind, "queries": one.queries, "k": one.k, "overlap": one.overlap}
            for one in comparison.churn
        ],
    }


def _shares(values: dict[float, float]) -> dict[str, float]:
    return {f"{share:g}": value for share, value in values.items()}


def _finite(value: Any) -> Any:
    """Return the same value with null for numbers that JSON cannot express."""
    if isinstance(value, dict):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_finite(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
