"""How the agreement of hits with pictures is put in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vaeudf.health.agreement import ENOUGH, NEAR_ITEMS, NOISE, Agreement
from vaeudf.health.hubs import HubCurve
from vaeudf.health.kinds import PRIOR, K

# With less than this in common, the two measures of likeness mean different pictures.
_DISAGREE = 0.5


def agreement_sentences(found: Agreement, table_items: int, hubs: HubCurve) -> Iterator[str]:
    """Yield what was found, and what to ask with.

    Args:
        found: What was found.
        table_items: How many items the table has.
        hubs: How often one item is among the answers.
    """
    if hubs.recommended is not None:
        yield (
            f"From --tolerance {hubs.recommended:g} on, no item crowds out the others."
            if hubs.recommended
            else "Even without a tolerance, no item crowds out the others."
        )
    hits, reranked = found.error.hits.mean, found.error.reranked.mean
    tau, enough = found.best_tau, found.enough
    count = found.recommended_candidates
    flag = with_tolerance = ""
    if tau != found.literal:
        flag = f"--tolerance {found.tau:g} "
        with_tolerance = f"{_range(hits[tau])} with {flag[:-1]}, "
    yield (
        f"Among {items_in_words(found, table_items)}, of the {K} pictures nearest to what z "
        f"decodes to, the {K} hits contain {_range(hits[found.literal])} by the literal rule, "
        f"{with_tolerance}and "
        f"{_range(reranked[tau, enough])} once the best {count:,} are ranked again by p(x|z), "
        "depending on where z is."
    )
    yield (
        f"Ask with {flag}--rerank picture --candidates {count}: "
        f"these are {count / found.items:.1%} of the items compared{_in_whole(found, table_items)}."
    )


def agreement_warnings(found: Agreement) -> list[str]:
    """Return what is wrong with the hits, or uncertain about the figures."""
    warnings = []
    if found.unreadable:
        one = found.unreadable == 1
        warnings.append(
            f"{found.unreadable:,} of {found.items + found.unreadable:,} sampled items "
            f"{'has' if one else 'have'} no picture that can be read; "
            f"{'it is' if one else 'they are'} left out of the comparison of hits with pictures."
        )
    if not any(found.even):
        warnings.append(
            f"With every tolerance tried some item crowds out the others; {found.tau:g} is the one "
            "whose hits agree best with the pictures, all the same."
        )
    low = found.error.reranked.low[found.best_tau, found.enough]
    worst = int(np.argmin(low))
    if low[worst] < ENOUGH:
        warnings.append(
            f"Even the best {found.recommended_candidates:,} candidates of {found.items:,} do not "
            f"reach {ENOUGH:.0%}: of z from {found.kinds[worst]}, hits ranked again have "
            f"{_share(found, worst)} of the nearest pictures. The encoder's posterior and the "
            "decoder's pictures are far apart there: stay within the slider ranges, or train "
            "longer."
        )
    return warnings


def kinds_in_words() -> str:
    """Return what the kinds of z are."""
    return (
        f"{NEAR_ITEMS}: an item’s mu and noise of {NOISE:g} in each dimension; {PRIOR}: N(0, I); "
        "sliders: uniform in their range"
    )


def truths_sentence(found: Agreement) -> str:
    """Return how far the two measures of likeness agree."""
    means = found.truths.mean
    worst = int(np.argmin(means))
    verdict = (
        "They often mean different pictures: what is best by one is not best by the other."
        if means[worst] < _DISAGREE
        else "They mostly mean the same pictures."
    )
    return (
        f"Of the {K} pictures nearest by squared error, {_range(means)} are among the {K} nearest "
        f"by structure, least for z from {found.kinds[worst]}. {verdict}"
    )


def items_in_words(found: Agreement, table_items: int) -> str:
    """Return which items were compared."""
    if table_items <= found.items + found.unreadable:
        return f"all {found.items:,} items whose pictures can be read"
    return f"{found.items:,} items, a sample of all {table_items:,}"


def _in_whole(found: Agreement, table_items: int) -> str:
    if table_items <= found.items + found.unreadable:
        return ""
    return (
        f". Among all {table_items:,} the same agreement takes more candidates, up to the same "
        f"share, {found.candidates_among(table_items):,}"
    )


def _range(shares: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    low, high = f"{float(shares.min()):.0%}", f"{float(shares.max()):.0%}"
    return low if low == high else f"{low[:-1]} to {high}"


def _share(found: Agreement, kind: int) -> str:
    return f"{float(found.error.reranked.mean[found.best_tau, found.enough, kind]):.0%}"
