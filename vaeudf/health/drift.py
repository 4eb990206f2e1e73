"""How the posteriors of the same items differ between two versions of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.pairs import kl_of_pairs
from vaeudf.numerics.sketches import QuantileSketch, TopList

KL_SHARES = (0.5, 0.9, 0.99, 0.999)
NUM_MOVED = 24
"""How many of the items that moved most are kept."""


class Drift:
    """Counts and sums of a comparison of two tables, or of a part of their items.

    Attributes:
        added: How many items only the new table has.
        removed: How many only the old one has.
        common: How many both have.
        changed: How many of these differ in any bit of mu or log_var.
        kl: Sketch of KL(new ‖ old) over the common items, one dimension.
        moved: The changed items with the largest KL, with their new posteriors.
        shift_sum: Σ (new mu - old mu) over the common items, shape (n,).
        square_sum: Σ of its square, shape (n,).
    """

    def __init__(self, latent_dim: int) -> None:
        """Start with no items."""
        self.added = self.removed = self.common = self.changed = 0
        self.kl = QuantileSketch(1, signed=False)
        self.moved = TopList(NUM_MOVED, latent_dim)
        self.shift_sum = np.zeros(latent_dim)
        self.square_sum = np.zeros(latent_dim)

    def add_common(
        self,
        ids: Sequence[str],
        mu: NDArray[np.floating],
        log_var: NDArray[np.floating],
        old_mu: NDArray[np.floating],
        old_log_var: NDArray[np.floating],
    ) -> None:
        """Take in items that both tables have: ids (B,), the rest (B, n)."""
        new = (np.asarray(mu, np.float64), np.asarray(log_var, np.float64))
        old = (np.asarray(old_mu, np.float64), np.asarray(old_log_var, np.float64))
        same = np.logical_and(*((a == b).all(axis=1) for a, b in zip(new, old, strict=True)))
        kl = kl_of_pairs(*new, *old)
        self.common += len(ids)
        self.changed += int((~same).sum())
        self.kl.add(kl[:, None])
        shift = new[0] - old[0]
        self.shift_sum += shift.sum(axis=0)
        self.square_sum += np.square(shift).sum(axis=0)
        places = np.flatnonzero(~same)
        places = places[self.moved.wanted(kl[places])]
        if len(places):
            self.moved.add(
                kl[places],
                [ids[place] for place in places.tolist()],
                new[0][places],
                new[1][places],
            )

    def merge(self, other: Drift) -> None:
        """Take in another part."""
        self.added += other.added
        self.removed += other.removed
        self.common += other.common
        self.changed += other.changed
        self.kl.merge(other.kl)
        self.moved.merge(other.moved)
        self.shift_sum = self.shift_sum + other.shift_sum
        self.square_sum = self.square_sum + other.square_sum

    @property
    def kl_quantiles(self) -> dict[float, float]:
        """Quantiles of KL(new ‖ old), by share; NaN without common items."""
        return {share: float(self.kl.quantile(share)[0]) for share in KL_SHARES}

    @property
    def mean_shift(self) -> NDArray[np.float64]:
        """The mean of new mu - old mu, shape (n,)."""
        return self.shift_sum / max(1, self.common)

    @property
    def rms_shift(self) -> NDArray[np.float64]:
        """The root of the mean square of new mu - old mu, shape (n,)."""
        return np.asarray(np.sqrt(self.square_sum / max(1, self.common)))


@dataclass(frozen=True)
class Churn:
    """How many of the top k two tables have in common, on average over z.

    Attributes:
        kind: What the z were drawn from.
        queries: How many.
        k: How many items per query.
        overlap: The mean share of the top k that both have: 1 is no change.
    """

    kind: str
    queries: int
    k: int
    overlap: float


def mean_overlap(
    new: Iterable[tuple[str, str]], old: Iterable[tuple[str, str]], queries: Sequence[str]
) -> float:
    """Return the mean over the queries of |A ∩ B| / max(|A|, |B|), of their two top k.

    Args:
        new: (query_id, item_id) of each hit in one table.
        old: The same in the other.
        queries: The query_ids, at least one.
    """
    sets: list[dict[str, set[str]]] = [{}, {}]
    for found, hits in zip(sets, (new, old), strict=True):
        for query_id, item_id in hits:
            found.setdefault(query_id, set()).add(item_id)
    shares = []
    for query_id in queries:
        ours, theirs = (found.get(query_id, set()) for found in sets)
        shares.append(len(ours & theirs) / max(1, len(ours), len(theirs)))
    return float(np.mean(shares))
