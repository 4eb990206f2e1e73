"""Which of a query's candidates are its hits, where that depends on the other hits.

A rule takes the candidates of one query, best first, and returns the chosen ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.divergences import bhattacharyya_distance

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Chosen:
    """The hits of one query.

    Attributes:
        rows: Their places among the candidates, in the order of their ranks.
        hidden: How many candidates each of them hid, the same shape; None if none is hidden.
    """

    rows: NDArray[np.int64]
    hidden: NDArray[np.int64] | None = None


class Selection(Protocol):
    """A rule that chooses the hits of a query from its candidates."""

    @property
    def k(self) -> int:
        """How many hits are wanted."""

    @property
    def counts_hidden(self) -> bool:
        """Whether :attr:`Chosen.hidden` is given."""

    def choose(self, mu: _Array, log_var: _Array, merits: _Array) -> Chosen:
        """Return the hits.

        Args:
            mu: Means of the candidates, best first, shape (m, n).
            log_var: log sigma² of them, shape (m, n).
            merits: Their scores, of which higher is nearer, shape (m,).
        """


@dataclass(frozen=True)
class Distinct:
    """No two hits are nearer to each other than a distance; candidates are taken best first.

    A candidate is hidden if its Bhattacharyya distance from a hit before it is below ``nats``. It
    is counted with the best of the hits that hide it. Candidates behind the k-th hit are not
    looked at.

    Attributes:
        k: How many hits.
        nats: The distance.
        tolerance: tau, which blurs both sides.
    """

    k: int
    nats: float
    tolerance: Tolerance = 0.0
    counts_hidden: bool = True

    def choose(self, mu: _Array, log_var: _Array, merits: _Array) -> Chosen:
        """Return at most k hits; fewer only if all candidates are taken or hidden."""
        left = np.arange(len(mu))
        rows: list[int] = []
        by: list[NDArray[np.int64]] = []
        while len(left) and len(rows) < self.k:
            hit, left = left[0], left[1:]
            near = (
                bhattacharyya_distance(
                    mu[hit], log_var[hit], mu[left], log_var[left], self.tolerance
                )[0]
                < self.nats
            )
            rows.append(int(hit))
            by.append(left[near])
            left = left[~near]
        last = rows[-1] if len(rows) == self.k else len(mu)
        hidden = [np.count_nonzero(places < last) for places in by]
        return Chosen(np.array(rows, np.int64), np.array(hidden, np.int64))


@dataclass(frozen=True)
class Diversified:
    """Maximal marginal relevance (Carbonell and Goldstein, 1998).

    The next hit is the candidate with the highest

        (1 - weight) · relevance - weight · its largest similarity to the hits so far

    The similarity of two items is their Bhattacharyya coefficient e^(-D), 1 for equal ones. The
    relevance is the score, scaled so that the query's best candidate has 1 and the worst 0; an
    infinitely bad one has 0, and all have 1 if all are equal. Of equal candidates the best ranked
    is taken.

    Attributes:
        k: How many hits.
        weight: lambda, above 0 and at most 1.
        tolerance: tau, which blurs both sides.
    """

    k: int
    weight: float
    tolerance: Tolerance = 0.0
    counts_hidden: bool = False

    def choose(self, mu: _Array, log_var: _Array, merits: _Array) -> Chosen:
        """Return k hits, or all candidates if there are fewer."""
        gains = (1.0 - self.weight) * relevance(merits)
        similar = np.zeros(len(mu))
        open_ = np.ones(len(mu), bool)
        rows: list[int] = []
        for _ in range(min(self.k, len(mu))):
            hit = int(np.argmax(np.where(open_, gains - self.weight * similar, -np.inf)))
            rows.append(hit)
            open_[hit] = False
            distances = bhattacharyya_distance(mu[hit], log_var[hit], mu, log_var, self.tolerance)
            similar = np.maximum(similar, np.exp(-distances[0]))
        return Chosen(np.array(rows, np.int64))


# Candidates per hit that a rule without a number of its own is given first, and by how much more
# it is given each time after.
FIRST = 4
GROWTH = 4
# Candidates per hit that maximal marginal relevance chooses from unless a number is named.
_CANDIDATES = 10


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How hits are to differ from each other, as people ask for it; neither rule, or one of two.

    Attributes:
        distinct: Hide items nearer than this to a hit, in nats.
        diversify: lambda of maximal marginal relevance.
        candidates: Of how many of each query's best items it chooses; 10 · k unless given.
    """

    distinct: float | None = None
    diversify: float | None = None
    candidates: int | None = None

    def check(self, k: int) -> None:
        """Check the numbers, and that there is one rule at most.

        Args:
            k: How many hits are wanted.

        Raises:
            InputError: They are not as they should be.
        """
        if self.distinct is not None and self.diversify is not None:
            raise InputError("distinct and diversify exclude each other; name one of them.")
        if self.distinct is not None and not (math.isfinite(self.distinct) and self.distinct > 0):
            raise InputError(f"distinct is {self.distinct}; expected a number of nats above 0.")
        if self.diversify is not None and not 0 < self.diversify <= 1:
            raise InputError(
                f"diversify is {self.diversify}; expected a number above 0 and at most 1."
            )
        if self.candidates is None:
            return
        if self.diversify is None:
            raise InputError("candidates goes with diversify; name that, too.")
        if self.candidates < k:
            raise InputError(
                f"candidates is {self.candidates}, but k is {k}; expected at least as many."
            )

    def rule(self, k: int, tolerance: Tolerance) -> Selection | None:
        """Return the rule that chooses k hits; None if none is asked for."""
        if self.distinct is not None:
            return Distinct(k, self.distinct, tolerance)
        if self.diversify is not None:
            return Diversified(k, self.diversify, tolerance)
        return None

    def candidates_wanted(self, k: int) -> int | None:
        """Return how many candidates the rule chooses from; None for as many as it needs."""
        return None if self.diversify is None else self.candidates or _CANDIDATES * k


def relevance(merits: _Array) -> _Array:
    """Return merits scaled to [0, 1], shape (m,); all are 1 if they are equal."""
    finite = merits[np.isfinite(merits)]
    if len(finite) == 0:
        return np.ones(len(merits))
    worst, best = float(finite.min()), float(finite.max())
    # Of halves, the difference does not overflow.
    span = 0.5 * best - 0.5 * worst
    scaled = np.ones(len(merits)) if span == 0 else (0.5 * merits - 0.5 * worst) / span
    return np.where(np.isneginf(merits), 0.0, np.minimum(scaled, 1.0))
