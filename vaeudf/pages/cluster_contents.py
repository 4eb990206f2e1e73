"""What clusters are made of, as their page shows it: bars of values, and rows of quantiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vaeudf.clustering.description.apart import SIGNIFICANT
from vaeudf.clustering.description.found import (
    QUANTILES,
    ColumnFacts,
    ColumnOfCluster,
    Description,
    Shown,
    Telling,
    Value,
    ValueShare,
)

_VALUES_SHOWN, _TELLINGS_SHOWN = 6, 4
_MOST_LETTERS = 60


@dataclass(frozen=True)
class Bar:
    """A value in a cluster.

    Attributes:
        value: The value.
        share: Of the cluster's items, 0 to 1.
        of_all: The same of all items.
        text: Both in words.
    """

    value: str
    share: float
    of_all: float
    text: str


@dataclass(frozen=True)
class ValueTable:
    """A column whose values are counted.

    Attributes:
        column: Its name.
        bars: The most frequent values.
        note: What else there is.
    """

    column: str
    bars: Sequence[Bar]
    note: str


@dataclass(frozen=True)
class QuantileTable:
    """Columns of numbers and times.

    Attributes:
        shares: What the quantiles are of, such as "5 %".
        rows: For each column its name, the cluster's quantiles, and those of all items.
    """

    shares: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str], Sequence[str]]]


@dataclass(frozen=True)
class Contents:
    """What a cluster is made of.

    Attributes:
        apart: What sets it apart, in words.
        tables: Of its values.
        quantiles: Of its numbers and times; None without such columns.
    """

    apart: Sequence[str]
    tables: Sequence[ValueTable]
    quantiles: QuantileTable | None


def contents_of(description: Description, number: int) -> Contents | None:
    """Return what a cluster is made of; None if it has no items, or nothing is told of them.

    Args:
        description: Of all clusters.
        number: Which of them.
    """
    own = description.clusters[number]
    tables, rows = [], []
    for facts in description.columns:
        found = own.columns.get(facts.name)
        if found is None:
            continue
        if found.values is not None:
            if found.values or found.nulls:
                tables.append(_table(facts.name, found))
        elif found.quantiles is not None and facts.quantiles is not None:
            rows.append((facts.name, _texts(found.quantiles), _texts(facts.quantiles)))
    apart = [_in_words(one) for one in own.apart if one.g >= SIGNIFICANT][:_TELLINGS_SHOWN]
    if not tables and not rows:
        return None
    shares = [f"{share:.0%}" for share in QUANTILES]
    return Contents(apart, tables, QuantileTable(shares, rows) if rows else None)


def notes_of(description: Description) -> list[str]:
    """Return what to say of the columns of which nothing is told, or not all is exact."""
    return [note for facts in description.columns for note in _notes(facts)]


def _notes(facts: ColumnFacts) -> list[str]:
    if facts.kind == "ids":
        return [f"Of {facts.name} nothing is told: hardly any of its values recurs."]
    if facts.missed:
        return [
            f"{facts.name} has too many values to count them all: a count of its values may be "
            f"too low by up to {facts.missed:,}."
        ]
    if facts.sampled is not None:
        return [
            f"Quantiles of {facts.name} are those of a sample of {facts.sampled:,} items of each "
            "cluster that has more."
        ]
    return []


def _table(column: str, found: ColumnOfCluster) -> ValueTable:
    assert found.values is not None
    shown = found.values[:_VALUES_SHOWN]
    notes = [f"{found.nulls:,} without"] if found.nulls else []
    if len(found.values) > len(shown):
        notes.append("and others")
    bars = [Bar(_shortened(one.value), one.share, one.share_of_all, _shares(one)) for one in shown]
    return ValueTable(column, bars, ", ".join(notes))


def _shares(one: ValueShare) -> str:
    return f"{_percent(one.share)}, of all {_percent(one.share_of_all)}"


def _in_words(one: Telling) -> str:
    return (
        f"{one.column} {_shortened(one.value)}: {_percent(one.share)} of its items, and "
        f"{_percent(one.share_of_all)} of all ({one.lift:.2g} times as often)"
    )


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 or share == 0 else f"{share:.1%}"


def _shortened(value: Value) -> str:
    text = ("no", "yes")[value] if isinstance(value, bool) else str(value)
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"


def _texts(quantiles: Sequence[Shown]) -> list[str]:
    return [_text(one) for one in quantiles]


def _text(one: Shown) -> str:
    if isinstance(one, str):
        return one
    if isinstance(one, int) or (math.isfinite(one) and one == int(one) and abs(one) < 1e15):
        return f"{int(one):,}"
    return f"{one:,.2f}" if 0.1 <= abs(one) < 1e6 else f"{one:.4g}"
