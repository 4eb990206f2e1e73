"""A self-contained page of the findings of an inspection."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vaeudf.health.examine import SLIDER_SHARE, Dimension
from vaeudf.health.findings import ALIKE, Findings
from vaeudf.health.wording import summary_sentences, warning_sentences
from vaeudf.pages.health_plots import (
    divergence_histogram,
    histograms,
    hub_plot,
    kl_bars,
    sketch_histogram,
)
from vaeudf.pages.items import Item
from vaeudf.pages.page import Plot, write_page
from vaeudf.pages.picture_agreement import ExamplePictures, agreement_part

DIMENSIONS_SHOWN = 32
"""Dimensions on the page: those with the largest KL, where there are more."""

_PAIRS_SHOWN = 12
_COPIES_SHOWN = 12
_COPIES_OF_GROUP = 4


@dataclass(frozen=True, kw_only=True)
class Finding(Item):
    """An item that the inspection points out.

    Attributes:
        score: What was measured of it, with the unit; empty for nothing.
    """

    score: str = ""


@dataclass(frozen=True)
class Group:
    """Items that the page shows together.

    Attributes:
        title: What they are.
        items: The items.
    """

    title: str
    items: Sequence[Finding]


def pictured(findings: Findings) -> set[str]:
    """Return the items that the page shows pictures of."""
    found = {one.item_id for one in findings.outliers}
    for pair in findings.closest_pairs(_PAIRS_SHOWN):
        found |= {pair.item_id, pair.other}
    for copies in findings.duplicates.largest[:_COPIES_SHOWN]:
        found |= set(copies.item_ids[:_COPIES_OF_GROUP])
    if findings.comparison is not None:
        found |= set(findings.comparison.drift.moved.ids)
    return found


def write_health_page(
    folder: str,
    findings: Findings,
    images: Mapping[str, bytes | None] | None,
    facts: Mapping[str, Sequence[tuple[str, str]]],
    seconds: Mapping[str, float],
    examples: ExamplePictures | None = None,
) -> str:
    """Write ``index.html``, with all plots and pictures in it.

    Args:
        folder: Where to; made if it does not exist.
        findings: What to show.
        images: The image files' bytes by item_id; None if it is not known where the catalog is.
        facts: Payload by item_id.
        seconds: What each phase took.
        examples: Pictures of hits beside those of z, if they were compared.

    Returns:
        The page's absolute path or URI.
    """

    def finding(item_id: str, score: str = "") -> Finding:
        image = None if images is None else images.get(item_id)
        return Finding(item_id=item_id, image=image, facts=facts.get(item_id, ()), score=score)

    health, hubs = findings.health, findings.hubs
    shown = _shown(health.dimensions)
    return write_page(
        folder,
        "health",
        title=f"Health of {posixpath.basename(findings.uri.rstrip('/')) or findings.uri}",
        findings=findings,
        summary=summary_sentences(findings),
        warnings=warning_sentences(findings),
        health=health,
        hubs=hubs,
        dimensions=shown,
        brief=brief,
        hidden=len(health.dimensions) - len(shown),
        slider_share=SLIDER_SHARE,
        has_pictures=images is not None,
        kl_plot=Plot(
            kl_bars(shown),
            "Bars of the mean KL to the prior: "
            + ", ".join(f"{one.name} {one.kl:.2f}" for one in shown)
            + " nats.",
        ),
        histograms=[
            Plot(
                histograms(one, findings.census.mu, findings.census.sigma),
                f"{one.name}: mu has mean {one.mu_mean:.2f} and variance {one.mu_variance:.2f}, "
                f"99 % of it within ±{one.slider_range:.2f}; median sigma {one.sigma[0.5]:.3g}.",
            )
            for one in shown
        ],
        hub_plot=Plot(
            hub_plot(hubs),
            f"Share of the queries from {hubs.kinds[hubs.worst_kind]} with one item in common, by "
            "tolerance: "
            + ", ".join(
                f"{tau:g} {share:.1%}"
                for tau, share in zip(hubs.taus, hubs.shares[:, hubs.worst_kind], strict=True)
            )
            + f"; by the nearest mu {float(hubs.euclidean[hubs.worst_kind]):.1%}.",
        ),
        agreement=None
        if findings.agreement is None
        else agreement_part(findings.agreement, health.items, examples),
        alike=ALIKE,
        near_plot=_near_plot(findings),
        pairs=[
            Group(
                f"{brief(one.divergence)} nats apart",
                [finding(one.item_id), finding(one.other)],
            )
            for one in findings.closest_pairs(_PAIRS_SHOWN)
        ],
        copies=[
            Group(
                f"{one.items:,} items with one posterior",
                [finding(item_id) for item_id in one.item_ids[:_COPIES_OF_GROUP]],
            )
            for one in findings.duplicates.largest[:_COPIES_SHOWN]
        ],
        outliers=[
            finding(one.item_id, f"{brief(one.log_density)} nats; {one.distance:.1f} sigmas out")
            for one in findings.outliers
        ],
        drift_plot=_drift_plot(findings),
        moved=[finding(item_id, f"moved {brief(kl)} nats") for item_id, kl in _moved(findings)],
        facts=_facts(findings, seconds),
    )


def brief(value: float) -> str:
    """Return three significant digits, or all digits before the point, with a true minus sign."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−") if "e" not in text else text


def _shown(dimensions: Sequence[Dimension]) -> list[Dimension]:
    """Return the dimensions with the largest KL, in the order of their numbers."""
    by_kl = sorted(dimensions, key=lambda one: (-one.kl, one.number))
    return sorted(by_kl[:DIMENSIONS_SHOWN], key=lambda one: one.number)


def _near_plot(findings: Findings) -> Plot | None:
    if not findings.neighbours:
        return None
    divergences = np.array([one.divergence for one in findings.neighbours])
    data = divergence_histogram(
        divergences, ALIKE, "cannot be told apart", "to the nearest other item, nats"
    )
    return Plot(
        data,
        f"Histogram of the divergence to the nearest other item: median "
        f"{np.median(divergences):.3g} nats, {findings.alike_share or 0:.1%} not above {ALIKE:g}.",
    )


def _drift_plot(findings: Findings) -> Plot | None:
    comparison = findings.comparison
    if comparison is None or comparison.across_models or comparison.drift.changed == 0:
        return None
    drift = comparison.drift
    data = sketch_histogram(drift.kl, ALIKE / 2, "hardly moved", "KL(new ‖ old), nats")
    return Plot(data, f"Histogram of KL(new ‖ old): median {drift.kl_quantiles[0.5]:.3g} nats.")


def _moved(findings: Findings) -> list[tuple[str, float]]:
    if findings.comparison is None:
        return []
    moved = findings.comparison.drift.moved
    return list(zip(moved.ids, moved.values.tolist(), strict=True))


def _facts(findings: Findings, seconds: Mapping[str, float]) -> list[tuple[str, str]]:
    facts = [("table", findings.uri)]
    if findings.version is not None:
        facts.append(("version", str(findings.version)))
    if findings.model_id is not None:
        facts.append(("model", f"{findings.model_id[:12]}"))
    facts += [
        ("items", f"{findings.health.items:,}"),
        ("dimensions", str(len(findings.health.dimensions))),
        ("rate", f"{findings.health.rate:.2f} nats per item"),
        ("seconds", ", ".join(f"{name} {value:.1f}" for name, value in seconds.items() if value)),
    ]
    return facts
