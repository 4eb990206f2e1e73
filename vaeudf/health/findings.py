"""What an inspection of a table finds, as records."""

from __future__ import annotations

from dataclasses import dataclass

from vaeudf.health.agreement import Agreement
from vaeudf.health.census import Census
from vaeudf.health.drift import Churn, Drift
from vaeudf.health.examine import Health
from vaeudf.health.hubs import HubCurve
from vaeudf.storage.places import same_place

ALIKE = 0.04
"""Two posteriors whose Jeffreys divergence is not above this, in nats, cannot be told apart.

From one z, drawn from one of the two at even odds, the best guess of which one it was is right at
most 55 % of the time: it is right with probability ½ + ½ TV, and by Pinsker's inequality 2 TV² is
not above either KL, so TV ≤ ½ √J.
"""


@dataclass(frozen=True)
class Copies:
    """Items with the same posterior, up to rounding.

    Attributes:
        items: How many there are.
        item_ids: Some of them, ascending.
    """

    items: int
    item_ids: tuple[str, ...]


@dataclass(frozen=True)
class Duplicates:
    """Groups of items that have the same posterior, up to rounding.

    Attributes:
        groups: How many groups of two or more there are.
        items: How many items are in them.
        largest: The largest groups.
    """

    groups: int
    items: int
    largest: tuple[Copies, ...]


@dataclass(frozen=True)
class Neighbour:
    """An item of the sample and the item nearest to it.

    Attributes:
        item_id: The item.
        other: The nearest other item.
        divergence: Jeffreys divergence between their posteriors, nats.
    """

    item_id: str
    other: str
    divergence: float


@dataclass(frozen=True)
class Outlier:
    """An item that stands alone.

    Attributes:
        item_id: The item.
        log_density: log of the mean of q(mu|x') over all other items x', mu being the item's own
            mean; nats.
        distance: Mahalanobis distance of its mu from the mean of all.
    """

    item_id: str
    log_density: float
    distance: float


@dataclass(frozen=True)
class Failures:
    """Items that could not be encoded, for one reason.

    Attributes:
        reason: The reason.
        items: How many.
        examples: (item_id, message) of some.
    """

    reason: str
    items: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Quarantine:
    """What could not be encoded.

    Attributes:
        failures: By reason, the most frequent first.
        of_version: Whether it belongs to the version that was inspected; if not, it is the last
            one, because the version does not say which run wrote it.
    """

    failures: tuple[Failures, ...]
    of_version: bool

    @property
    def items(self) -> int:
        """How many there are."""
        return sum(one.items for one in self.failures)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The table beside an older one.

    Attributes:
        uri: The older one.
        version: Its version; None for plain Parquet.
        model_id: Its model; None for plain Parquet.
        items: Its items.
        drift: What was added, removed and moved.
        churn: How much of the top k is the same; empty across models.
        health: Of the older table, across models; else None.
    """

    uri: str
    version: int | None
    model_id: str | None
    items: int
    drift: Drift
    churn: tuple[Churn, ...]
    health: Health | None

    @property
    def across_models(self) -> bool:
        """Whether the two are of different models, so that posteriors cannot be compared."""
        return self.health is not None

    def name_beside(self, uri: str) -> str:
        """Return what it is called on a page about the table at ``uri``."""
        if self.version is not None and same_place(self.uri, uri):
            return f"version {self.version}"
        return self.uri


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What an inspection finds.

    Attributes:
        uri: The table.
        version: Its version; None for plain Parquet.
        model_id: Its model; None for plain Parquet.
        census: What was counted.
        health: What that says.
        hubs: How often one item is among the answers.
        duplicates: Copies, over the whole table.
        neighbours: The nearest other item of each item of a sample, nearest first.
        outliers: The items that stand alone, those of the lowest density first.
        quarantine: None if it is not known: plain Parquet has none, nor has a table whose runs left
            none.
        comparison: None unless asked for.
        agreement: Of hits with pictures; None unless asked for.
    """

    uri: str
    version: int | None
    model_id: str | None
    census: Census
    health: Health
    hubs: HubCurve
    duplicates: Duplicates
    neighbours: tuple[Neighbour, ...]
    outliers: tuple[Outlier, ...]
    quarantine: Quarantine | None
    comparison: Comparison | None
    agreement: Agreement | None = None

    @property
    def alike_share(self) -> float | None:
        """The share of the sample with another item that it cannot be told apart from."""
        if not self.neighbours:
            return None
        return sum(one.divergence <= ALIKE for one in self.neighbours) / len(self.neighbours)

    def closest_pairs(self, most: int) -> list[Neighbour]:
        """Return the closest pairs of the sample, each pair once."""
        seen: set[frozenset[str]] = set()
        found: list[Neighbour] = []
        for one in self.neighbours:
            pair = frozenset((one.item_id, one.other))
            if pair not in seen and len(found) < most:
                seen.add(pair)
                found.append(one)
        return found
