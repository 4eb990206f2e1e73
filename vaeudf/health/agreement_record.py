"""What ``health.json`` holds of the agreement of hits with pictures."""

from __future__ import annotations

from typing import Any

from vaeudf.health.agreement import NOISE, Agreement, Estimates, Shares
from vaeudf.health.kinds import K


def agreement_record(found: Agreement) -> dict[str, Any]:
    """Return what ``health.json`` holds under ``agreement``."""
    return {
        "k": K,
        "items": found.items,
        "unreadable": found.unreadable,
        "likelihood": found.likelihood,
        "noise_near_items": NOISE,
        "by_chance": found.chance,
        "recommended_tau": found.tau,
        "recommended_candidates": found.recommended_candidates,
        "recommended_share": found.recommended_candidates / found.items,
        "squared_error": _shares(found, found.error),
        "structure": {
            "measure": "gradient magnitude similarity, mean of scales",
            **_shares(found, found.structure),
        },
        "nearest_by_both": _by_kind(found, found.truths, ()),
        "examples": [
            {
                "kind": one.kind,
                "z": one.z.tolist(),
                "literal": list(one.literal),
                "tolerance": list(one.tolerant),
                "reranked": list(one.reranked),
            }
            for one in found.examples
        ],
    }


def _shares(found: Agreement, shares: Shares) -> dict[str, Any]:
    return {
        "queries_per_kind": shares.queries,
        "taus": [
            {
                "tau": tau,
                "even": found.even[i],
                "hits": _by_kind(found, shares.hits, (i,)),
                "reranked": [
                    {
                        "candidates": count,
                        "share_of_items": count / found.items,
                        **_by_kind(found, shares.reranked, (i, j)),
                    }
                    for j, count in enumerate(found.candidates)
                ],
            }
            for i, tau in enumerate(found.taus)
        ],
    }


def _by_kind(found: Agreement, estimates: Estimates, place: tuple[int, ...]) -> dict[str, Any]:
    """Return the estimates at a place, by kind of z."""
    return {
        kind: {
            name: float(getattr(estimates, name)[(*place, i)]) for name in ("mean", "low", "high")
        }
        for i, kind in enumerate(found.kinds)
    }
