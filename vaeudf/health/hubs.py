"""Hubs, items that answer far too many queries, and the tolerance with which there are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EVEN = 0.05
"""Answers are even where no more than this share of the queries have one item in common."""


@dataclass(frozen=True, kw_only=True)
class HubCurve:
    """How often one item is among the answers, by what is asked and by tolerance.

    Attributes:
        k: How many items are asked for per query.
        queries: How many z of each kind.
        kinds: What the z were drawn from.
        taus: The tolerances, ascending.
        shares: The share of a kind's queries whose top k hold the kind's most frequent item;
            shape (taus, kinds).
        euclidean: The same for the items with the nearest mu, shape (kinds,).
        least: The least possible share: k of N items.
    """

    k: int
    queries: int
    kinds: tuple[str, ...]
    taus: tuple[float, ...]
    shares: NDArray[np.float64]
    euclidean: NDArray[np.float64]
    least: float

    @property
    def limits(self) -> NDArray[np.float64]:
        """The share up to which a kind's answers are called even, shape (kinds,).

        The largest of 5 %, twice the share by the nearest mu, and twice the least possible share.
        By the nearest mu, because near the middle a few items are nearest to all z, whatever the
        variances are.
        """
        return np.maximum(2 * self.euclidean, max(EVEN, 2 * self.least))

    @property
    def undecided(self) -> bool:
        """Whether every share is within the limits, as with few items or items all alike."""
        return bool((self.limits >= 1).all())

    @property
    def recommended(self) -> float | None:
        """The smallest tolerance with which all kinds are even; None if there is none.

        Also None where the shares decide nothing.
        """
        even = np.flatnonzero((self.shares <= self.limits).all(axis=1))
        return self.taus[even[0]] if len(even) and not self.undecided else None

    @property
    def worst_kind(self) -> int:
        """The index of the kind that is least even with the first tolerance."""
        return int(np.argmax(self.shares[0] / self.limits))


def hub_shares(
    kinds: Sequence[str], kind_of_hits: Iterable[str], ids: Iterable[str], num_queries: int
) -> NDArray[np.float64]:
    """Return, by kind, the share of its queries that are answered by its most frequent item.

    Args:
        kinds: Their names.
        kind_of_hits: The kind of each hit's query.
        ids: The item_id of each hit; no query has an item twice.
        num_queries: How many queries of each kind there are.
    """
    most = dict.fromkeys(kinds, 0)
    for (kind, _), count in Counter(zip(kind_of_hits, ids, strict=True)).items():
        most[kind] = max(most[kind], count)
    return np.array([most[kind] / num_queries for kind in kinds])
