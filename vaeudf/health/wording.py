"""How the findings of an inspection are put in words: a summary, and warnings with advice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from vaeudf.health.agreement_wording import agreement_sentences, agreement_warnings
from vaeudf.health.examine import ACTIVE, Dimension, Health
from vaeudf.health.findings import Findings
from vaeudf.health.hubs import EVEN, HubCurve

# A dimension with fewer nats is active, but its effect on the pictures can hardly be seen.
_WEAK = 0.3
# A dimension that is not active and whose posteriors are farther than this from the prior, in nats,
# costs nats for nothing: the encoder does something odd.
_NEAR_PRIOR = 0.05
# Fewer items than this say little about a model.
_FEW_ITEMS = 100
# KL of the aggregate posterior to the prior, in nats per active dimension, above which z from the
# prior often lie where no item is.
_MISMATCH = 0.25
_CORRELATED, _PAIRS_NAMED = 0.5, 5
_DIMENSIONS_NAMED = 12
# With fewer z of a kind the shares of its hubs are too uncertain to rely on.
_ENOUGH_QUERIES = 200


def summary_sentences(findings: Findings) -> list[str]:
    """Return the findings in a few plain sentences."""
    found = [_on_dimensions(findings.health)]
    if findings.health.active:
        found += _on_sliders(findings.health)
    if findings.agreement is None:
        found += _on_tolerance(findings.hubs)
    else:
        found += agreement_sentences(findings.agreement, findings.health.items, findings.hubs)
    copies = findings.duplicates
    if copies.groups:
        found.append(
            f"{copies.items:,} items are copies of each other, in {copies.groups:,} "
            f"{'group' if copies.groups == 1 else 'groups'}."
        )
    else:
        found.append("No two items have the same posterior.")
    quarantine, comparison = findings.quarantine, findings.comparison
    if quarantine is not None and quarantine.items:
        one = quarantine.items == 1
        found.append(
            f"{quarantine.items:,} {'item' if one else 'items'} of the catalog could not "
            f"be encoded and {'is' if one else 'are'} not in the table."
        )
    if comparison is not None:
        drift = comparison.drift
        moved = "" if comparison.across_models else f", {drift.changed:,} changed"
        found.append(
            f"Beside {comparison.name_beside(findings.uri)}: {drift.added:,} items added, "
            f"{drift.removed:,} removed{moved}."
        )
    return found


def _on_dimensions(health: Health) -> str:
    active, total = len(health.active), len(health.dimensions)
    if health.items == 1:
        return "There is one item: nothing can be said of what tells items apart."
    if active == total:
        every = "The one dimension is" if total == 1 else f"All {total} dimensions are"
        return f"{every} active: each tells items apart."
    if active:
        are = "is" if active == 1 else "are"
        lifeless = [one for one in health.collapsed if not one.varies]
        also = (
            f"; {listed(lifeless)} tell{'s' if len(lifeless) == 1 else ''} no item from another"
            if lifeless
            else ""
        )
        return f"{active} of {total} dimensions {are} active{also}."
    if health.squeezed:
        return (
            "No dimension is active by the usual threshold, and yet items differ: the whole "
            "latent space has a small scale."
        )
    return (
        "No dimension is active: all items look the same to this model, and no query can "
        "tell them apart."
    )


def _on_sliders(health: Health) -> Iterator[str]:
    ordered = sorted(health.active, key=lambda one: one.slider_range)
    narrow, wide = ordered[0], ordered[-1]
    if len(ordered) > 1:
        yield (
            f"Sliders make sense from ±{narrow.slider_range:.2g} ({narrow.name}) to "
            f"±{wide.slider_range:.2g} ({wide.name}): each dimension has a range of its own, which "
            "holds 99 % of the items."
        )
    else:
        yield (
            f"The slider {wide.name} makes sense within ±{wide.slider_range:.2g}, which holds "
            "99 % of the items."
        )
    weak = [one for one in health.active if one.kl < _WEAK]
    if weak and health.items > 1:
        yield (
            f"{listed(weak)} say{'s' if len(weak) == 1 else ''} little, below {_WEAK:g} nats: "
            "items differ there, but their pictures may hardly change with it."
        )


def _on_tolerance(hubs: HubCurve) -> Iterator[str]:
    if hubs.recommended is None:
        return
    if hubs.recommended == 0:
        yield "Ask without a tolerance: no item crowds out the others."
    elif hubs.recommended == hubs.taus[0]:
        yield (
            f"Ask with --tolerance {hubs.recommended:g}, the smallest that was tried: no item "
            "crowds out the others."
        )
    else:
        kind, place = hubs.worst_kind, hubs.taus.index(hubs.recommended)
        yield (
            f"Ask with --tolerance {hubs.recommended:g}: of z from {hubs.kinds[kind]}, "
            f"{float(hubs.shares[place, kind]):.1%} then have the most frequent item in their "
            f"top {hubs.k}, and {float(hubs.shares[0, kind]):.1%} with {hubs.taus[0]:g}."
        )


def warning_sentences(findings: Findings) -> list[str]:
    """Return what is wrong and what to do about it, a sentence or two each."""
    copies = sum(group.items for group in findings.duplicates.largest)
    found = latent_space_warnings(findings.health, copies) + hub_warnings(findings.hubs)
    return found + ([] if findings.agreement is None else agreement_warnings(findings.agreement))


def latent_space_warnings(health: Health, copies: int = 0) -> list[str]:
    """Return what is wrong with the latent space and what to do about it.

    Args:
        health: What is known of it.
        copies: How many items are in the largest groups of copies.
    """
    return [
        *_few_items(health),
        *_collapsed(health),
        *_clamped(health, copies),
        *_one_sigma(health),
        *_off_the_prior(health),
        *_correlated(health),
    ]


def _few_items(health: Health) -> Iterator[str]:
    if health.items < _FEW_ITEMS:
        one = health.items == 1
        yield (
            f"There {'is' if one else 'are'} only {health.items:,} {'item' if one else 'items'}: "
            "what follows says little about the model. Encode more of the catalog."
        )


def _collapsed(health: Health) -> Iterator[str]:
    lifeless = [one for one in health.collapsed if not one.varies]
    silent = [one for one in lifeless if one.kl <= _NEAR_PRIOR]
    stuck = [one for one in lifeless if one.kl > _NEAR_PRIOR]
    if silent:
        are = "is" if len(silent) == 1 else "are"
        theirs = "its slider changes" if len(silent) == 1 else "their sliders change"
        yield (
            f"{listed(silent)} {are} collapsed: {theirs} nothing. Train with fewer dimensions, or "
            "with a smaller beta (or warm it up more slowly) if the pictures lack detail."
        )
    if stuck:
        are = "is" if len(stuck) == 1 else "are"
        yield (
            f"{listed(stuck)} {are} the same for all items, but not as in the prior: this costs "
            f"{sum(one.kl for one in stuck):.2f} nats per item and says nothing of any. Look at "
            "how the encoder states its mean and its variance."
        )
    if health.squeezed:
        yield (
            f"In {listed(health.squeezed)} mu varies by less than {ACTIVE:g}, the usual threshold, "
            "and yet by more than sigma²: items do differ there, on a small scale. Move sliders "
            "within the ranges below, or train with a larger beta."
        )


def _clamped(health: Health, copies: int) -> Iterator[str]:
    for which, end in (("floor", "least"), ("ceiling", "greatest")):
        clamped = [one for one in health.dimensions if getattr(one, which).flagged]
        if not clamped:
            continue
        worst = max(clamped, key=lambda one: float(getattr(one, which).share))
        clamp = getattr(worst, which)
        cause = "The"
        if clamp.items <= copies:
            cause = (
                "Where they are copies of one picture, see the near-duplicates, that is all "
                "there is to it; else the"
            )
        yield (
            f"Sigma is at its {which} in {listed(clamped)}: in {worst.name}, "
            f"{clamp.share:.1%} of the items have exactly the {end} log_var, "
            f"{clamp.log_var:.4g}. {cause} encoder's variance is clamped there; scores of "
            "these items are less sure than they look. Widen the clamp, or train longer."
        )


def _one_sigma(health: Health) -> Iterator[str]:
    fixed = [one for one in health.active if one.floor.log_var == one.ceiling.log_var]
    if fixed:
        yield (
            f"Sigma is the same for all items in {listed(fixed)}: the encoder does not say there "
            "how sure it is, and items rank by the nearest mu. If it should, look at how the "
            "model was exported."
        )


def _off_the_prior(health: Health) -> Iterator[str]:
    if math.isnan(health.aggregate_kl) or math.isinf(health.rate):
        yield (
            "Some numbers are too large or too small to add up: look at the slider ranges and "
            "sigma below for a dimension that is out of all proportion."
        )
    elif health.items >= _FEW_ITEMS and health.aggregate_kl > _MISMATCH * max(
        1, len(health.active)
    ):
        yield (
            f"The catalog as a whole is at least {health.aggregate_kl:.2f} nats from the prior "
            f"N(0, I){_direction_of_mismatch(health)}"
        )


def _direction_of_mismatch(health: Health) -> str:
    """Return how the aggregate posterior differs from the prior, and what to do about it."""
    variances = np.array([one.variance for one in health.dimensions])
    costs = 0.5 * (variances - 1.0 - np.log(variances))
    if costs[variances > 1.0].sum() > 0.5 * health.aggregate_kl:
        return (
            ", and wider: z drawn from the prior show the middle of the catalog only. Give the "
            "sliders the ranges below, or train with a larger beta."
        )
    return (
        ": z drawn from the prior often lie where no item is. Stay within each dimension's own "
        "slider range, or train with a larger beta."
    )


def _correlated(health: Health) -> Iterator[str]:
    tight = [pair for pair in health.correlations if abs(pair[2]) > _CORRELATED]
    if tight:
        pairs = ", ".join(f"z{i} and z{j} ({value:+.2f})" for i, j, value in tight[:_PAIRS_NAMED])
        yield (
            f"{pairs} go together over the catalog: to move one slider without the other leads "
            "away from the items."
        )


def hub_warnings(curve: HubCurve) -> list[str]:
    """Return what is wrong with the answers that no tolerance tried puts right."""
    if curve.undecided:
        return [
            "There are too few different items, or too few z were asked, to tell whether one item "
            "answers everything."
        ]
    if curve.recommended is not None:
        if curve.queries >= _ENOUGH_QUERIES:
            return []
        error = (EVEN * (1 - EVEN) / curve.queries) ** 0.5
        return [
            f"Only {curve.queries} z of each kind were asked: a share of {EVEN:.0%} is "
            f"known to ± {error:.1%}, and the recommended tolerance is rather too small. "
            "--hub-queries 1000 is surer."
        ]
    excess = (curve.shares - curve.limits).min(axis=0)
    kind = int(np.argmax(excess))
    if excess[kind] <= 0:
        return [
            f"No tolerance that was tried, up to {curve.taus[-1]:g}, is even for all kinds of z at "
            "once: choose by the curve of the sliders that people have, or try others with --taus."
        ]
    return [
        f"With every tolerance tried, up to {curve.taus[-1]:g}, one single item is among the top "
        f"{curve.k} of at least {float(curve.shares[:, kind].min()):.0%} of the z from "
        f"{curve.kinds[kind]}, of which {float(curve.limits[kind]):.0%} would be even: try others "
        "with --taus."
    ]


def listed(dimensions: Sequence[Dimension]) -> str:
    """Return the dimensions' names in a row: z0, z3 and z7."""
    names = [one.name for one in dimensions]
    if len(names) > _DIMENSIONS_NAMED:
        first = names[: _DIMENSIONS_NAMED - 1]
        return f"{', '.join(first)} and {len(names) - len(first)} more dimensions"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
