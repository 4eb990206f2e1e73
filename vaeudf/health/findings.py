"""All that an inspection of a table finds, and how it is put in words."""

from __future__ import annotations

from dataclasses import dataclass

from vaeudf.health.census import Census
from vaeudf.health.drift import Churn, Drift
from vaeudf.health.examine import ALIKE, Health, names, warnings_of
from vaeudf.health.hubs import HubCurve, hub_warnings

# Below so many nats a dimension is active and yet hardly to be seen in the pictures.
_WEAK = 0.3


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
        of_version: Whether it is that of the version that was inspected; else it is the last one
            that there is, because the version does not say what run it comes from.
    """

    failures: tuple[Failures, ...]
    of_version: bool

    @property
    def items(self) -> int:
        """How many there are."""
        return sum(one.items for one in self.failures)


@dataclass(frozen=True)
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
        """Whether the posteriors cannot be compared."""
        return self.health is not None

    def name_beside(self, uri: str) -> str:
        """Return what it is called on a page about the table at ``uri``."""
        return (
            f"version {self.version}" if self.version is not None and self.uri == uri else self.uri
        )


@dataclass(frozen=True)
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
        neighbours: The nearest other item of each of a sample, nearest first.
        outliers: The items that stand alone, the loneliest first.
        quarantine: None if it is not known: of plain Parquet, or where no run has left one.
        comparison: None unless asked for.
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

    def in_short(self) -> list[str]:
        """Return the findings in a few plain sentences."""
        health = self.health
        active, total = len(health.active), len(health.dimensions)
        every = "The one dimension is" if total == 1 else f"All {total} dimensions are"
        found = []
        if health.items == 1:
            found.append("There is one item: nothing can be said of what tells items apart.")
        elif active == total:
            found.append(f"{every} active: each tells items apart.")
        elif active:
            are = "is" if active == 1 else "are"
            lifeless = [one for one in health.collapsed if not one.varies]
            also = (
                f"; {names(lifeless)} tell{'s' if len(lifeless) == 1 else ''} no item from another"
                if lifeless
                else ""
            )
            found.append(f"{active} of {total} dimensions {are} active{also}.")
        elif health.squeezed:
            found.append(
                "No dimension is active by the usual threshold, and yet items differ: the whole "
                "latent space has a small scale."
            )
        else:
            found.append(
                "No dimension is active: all items look the same to this model, and no query can "
                "tell them apart."
            )
        if active:
            found += self._on_sliders()
        found += self._on_tolerance()
        copies = self.duplicates
        if copies.groups:
            found.append(
                f"{copies.items:,} items are copies of each other, in {copies.groups:,} "
                f"{'group' if copies.groups == 1 else 'groups'}."
            )
        else:
            found.append("No two items have the same posterior.")
        if self.quarantine is not None and self.quarantine.items:
            one = self.quarantine.items == 1
            found.append(
                f"{self.quarantine.items:,} {'item' if one else 'items'} of the catalog could not "
                f"be encoded and {'is' if one else 'are'} not in the table."
            )
        if self.comparison is not None:
            drift = self.comparison.drift
            moved = "" if self.comparison.across_models else f", {drift.changed:,} changed"
            found.append(
                f"Beside {self.comparison.name_beside(self.uri)}: {drift.added:,} items added, "
                f"{drift.removed:,} removed{moved}."
            )
        return found

    def _on_sliders(self) -> list[str]:
        ordered = sorted(self.health.active, key=lambda one: one.slider_range)
        narrow, wide = ordered[0], ordered[-1]
        found = [
            f"Sliders make sense from ±{narrow.slider_range:.2g} ({narrow.name}) to "
            f"±{wide.slider_range:.2g} ({wide.name}): each dimension has a range of its own, which "
            "holds 99 % of the items."
            if len(ordered) > 1
            else f"The slider {wide.name} makes sense within ±{wide.slider_range:.2g}, which holds "
            "99 % of the items."
        ]
        weak = [one for one in ordered if one.kl < _WEAK]
        if weak and self.health.items > 1:
            weak.sort(key=lambda one: one.number)
            found.append(
                f"{names(weak)} say{'s' if len(weak) == 1 else ''} little, below {_WEAK:g} nats: "
                "items differ there, but their pictures may hardly change with it."
            )
        return found

    def _on_tolerance(self) -> list[str]:
        hubs = self.hubs
        if hubs.recommended is None:
            return []
        if hubs.recommended == 0:
            return ["Ask without a tolerance: no item crowds out the others."]
        if hubs.recommended == hubs.taus[0]:
            return [
                f"Ask with --tolerance {hubs.recommended:g}, the smallest that was tried: no item "
                "crowds out the others."
            ]
        kind, place = hubs.worst_kind, hubs.taus.index(hubs.recommended)
        return [
            f"Ask with --tolerance {hubs.recommended:g}: of z from {hubs.kinds[kind]}, "
            f"{float(hubs.shares[place, kind]):.1%} then have the most frequent item in their "
            f"top {hubs.k}, and {float(hubs.shares[0, kind]):.1%} with {hubs.taus[0]:g}."
        ]

    def warnings(self) -> list[str]:
        """Return what is wrong and what to do about it."""
        copies = sum(group.items for group in self.duplicates.largest)
        return warnings_of(self.health, copies) + hub_warnings(self.hubs)
