"""The part of an inspection's page that shows whether hits look like what z decodes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.health.agreement import Agreement, Estimates, Example, Shares
from vaeudf.health.agreement_wording import items_in_words, kinds_in_words, truths_sentence
from vaeudf.model.likelihood import GaussianPixels
from vaeudf.pages.health_plots import shares_plot
from vaeudf.pages.page import Plot


@dataclass(frozen=True)
class ExamplePictures:
    """The pictures of an agreement's examples.

    Attributes:
        decoded: What their z's decode to, (H, W, C) each, in their order.
        items: The pictures of their hits, (H, W, C) each, as the model sees them.
    """

    decoded: Sequence[NDArray[np.uint8]]
    items: Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Row:
    """A line of a table of shares.

    Attributes:
        name: How the hits were found.
        cells: A mean and an interval for each kind of z.
        recommended: Whether it is what is recommended.
    """

    name: str
    cells: Sequence[tuple[str, str]]
    recommended: bool = False


@dataclass(frozen=True)
class Way:
    """The first hits of an example, found in one way.

    Attributes:
        name: How.
        pictures: item_id and picture of each.
    """

    name: str
    pictures: Sequence[tuple[str, NDArray[np.uint8]]]


@dataclass(frozen=True)
class ShownExample:
    """An example as the page shows it.

    Attributes:
        kind: What its z was drawn from.
        decoded: What it decodes to.
        ways: The hits.
    """

    kind: str
    decoded: NDArray[np.uint8]
    ways: Sequence[Way]


@dataclass(frozen=True, kw_only=True)
class AgreementPart:
    """What the template shows.

    Attributes:
        found: What was found.
        items: Which items were compared, in words.
        same_order: Whether p(x|z) ranks as the squared error does.
        kinds: What the kinds of z are, in words.
        truths: How far squared error and structure agree, in words.
        by_error: The table by squared error.
        by_structure: The table by structure.
        tau_plot: By tolerance.
        candidates_plot: By number of candidates.
        examples: One z of each kind; none where their pictures are not given.
    """

    found: Agreement
    items: str
    same_order: bool
    kinds: str
    truths: str
    by_error: Sequence[Row]
    by_structure: Sequence[Row]
    tau_plot: Plot
    candidates_plot: Plot
    examples: Sequence[ShownExample]


def agreement_part(
    found: Agreement, table_items: int, pictures: ExamplePictures | None
) -> AgreementPart:
    """Return what the page shows of an agreement.

    Args:
        found: What was found.
        table_items: How many items the table has.
        pictures: Those of the examples, if they are to be shown.
    """
    tau, enough = found.best_tau, found.enough
    hits, reranked = found.error.hits, _at(found.error.reranked, tau)
    examples = (
        []
        if pictures is None
        else [
            _shown(found, one, decoded, pictures.items)
            for one, decoded in zip(found.examples, pictures.decoded, strict=True)
        ]
    )
    return AgreementPart(
        found=found,
        items=items_in_words(found, table_items),
        same_order=found.likelihood is None or found.likelihood.startswith(GaussianPixels.kind),
        kinds=kinds_in_words(),
        truths=truths_sentence(found),
        by_error=_rows(found, found.error, range(len(found.candidates))),
        by_structure=[
            *_rows(found, found.structure, sorted({enough, len(found.candidates) - 1})),
            Row(f"all {found.items:,} by squared error", _cells(found.truths)),
        ],
        tau_plot=Plot(
            shares_plot(
                hits,
                found.kinds,
                [f"{one:g}" for one in found.taus],
                "tolerance tau (0: the literal rule)",
                tau,
            ),
            _in_words("tolerance", [f"{one:g}" for one in found.taus], hits),
        ),
        candidates_plot=Plot(
            shares_plot(
                reranked,
                found.kinds,
                [f"{one}\n{one / found.items:.1%}" for one in found.candidates],
                f"candidates, and as a share of {found.items:,} items",
                enough,
            ),
            _in_words("number of candidates", list(map(str, found.candidates)), reranked),
        ),
        examples=examples,
    )


def _rows(found: Agreement, shares: Shares, counts: Sequence[int]) -> list[Row]:
    """Return the literal rule, the recommended tolerance, and re-ranked from so many candidates."""
    tau = found.best_tau
    rows = [Row("literal rule", _cells(_at(shares.hits, found.literal)))]
    if tau != found.literal:
        rows.append(Row(f"tolerance {found.tau:g}", _cells(_at(shares.hits, tau))))
    for place in counts:
        count = found.candidates[place]
        rows.append(
            Row(
                f"re-ranked from {count:,} ({count / found.items:.1%})",
                _cells(_at(shares.reranked, tau, place)),
                recommended=place == found.enough,
            )
        )
    return rows


def _at(estimates: Estimates, *place: int) -> Estimates:
    return Estimates(estimates.mean[place], estimates.low[place], estimates.high[place])


def _cells(estimates: Estimates) -> list[tuple[str, str]]:
    return [
        (f"{mean:.1%}", f"{low:.1%} to {high:.1%}".replace("%", "", 1))
        for mean, low, high in zip(
            estimates.mean.tolist(), estimates.low.tolist(), estimates.high.tolist(), strict=True
        )
    ]


def _in_words(name: str, ticks: Sequence[str], shares: Estimates) -> str:
    means = ", ".join(
        f"{tick} {share:.0%}" for tick, share in zip(ticks, shares.mean.mean(axis=1), strict=True)
    )
    return f"Share of the nearest pictures among the hits by {name}, mean over kinds: {means}."


def _shown(
    found: Agreement,
    one: Example,
    decoded: NDArray[np.uint8],
    items: Mapping[str, NDArray[np.uint8]],
) -> ShownExample:
    ways = [Way("literal rule", [(name, items[name]) for name in one.literal])]
    if found.best_tau != found.literal:
        ways.append(Way(f"tolerance {found.tau:g}", [(name, items[name]) for name in one.tolerant]))
    ways.append(
        Way(
            f"re-ranked from {found.recommended_candidates:,}",
            [(name, items[name]) for name in one.reranked],
        )
    )
    return ShownExample(one.kind, decoded, ways)
