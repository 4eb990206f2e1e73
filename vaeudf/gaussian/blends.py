"""Blends: several points or Gaussians that are asked for as one query, with weights of any sign.

With the members z_j (variances v_j, 0 for points), weights w_j and W = Σ w_j, an item's value is
the weighted sum of its expected log densities, per dimension

    Σ_j w_j E log N(z_j; mu, s) = -½ W [ ((m - mu)² + v) / s + log 2πs ]

with the mean m = Σ w_j z_j / W and the second moment v = Σ w_j ((z_j - m)² + v_j) / W, which
negative weights may make negative. The divergences Σ w_j KL(q_j‖x) are minus that sum minus the
members' weighted entropies, which are the same for all items. For W > 0 items rank by the sum over
W: one query at m with the spread v. Where W is small or not positive there is no such m; the same
sum around any point c, with d = c - mu, is

    -½ [ (W d² + 2 B d + A) / s + W log 2πs ],  B = Σ w_j (z_j - c),  A = Σ w_j ((z_j - c)² + v_j)

If c is the mean by the absolute weights, none of its terms is larger than what the members' own
terms add up to.

Weights are divided by the sum of the positive ones; if there are none, by that of their absolute
values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.densities import LOG_2PI
from vaeudf.gaussian.variances import blurred

_Array = NDArray[np.float64]

# Dividing by a smaller W would cost digits of m and v: more than 1 / W² units of float64.
LEAST_WEIGHT = 0.05
# Divided by less than this share of the others, weights could leave float64's range.
LEAST_SHARE = 1e-15


@dataclass(frozen=True)
class Members:
    """M members of Q blends.

    Attributes:
        places: Which blend each belongs to, shape (M,): 0 to Q - 1, each at least once.
        z: The points, or the means of Gaussians, shape (M, n), NaN in dimensions left open.
        log_var: log sigma² of Gaussians, shape (M, n); None unless all are Gaussians.
        weights: Shape (M,), of any sign.
    """

    places: NDArray[np.int64]
    z: _Array
    log_var: _Array | None
    weights: _Array

    def __len__(self) -> int:
        """Return how many blends there are."""
        return int(self.places.max()) + 1 if len(self.places) else 0

    @property
    def is_gaussian(self) -> bool:
        """Whether all members are Gaussians."""
        return self.log_var is not None

    def firsts(self) -> NDArray[np.int64]:
        """Return the first member of each blend."""
        return np.unique(self.places, return_index=True)[1].astype(np.int64)

    def normalised(self) -> tuple[_Array, _Array]:
        """Return the weights, the positive ones of each blend adding up to 1, and W of each."""
        weights, positive, negative = self.sums()
        by = np.where(positive > 0, positive, negative)
        # Without negative weights W is exactly 1, whatever the others' rounding is.
        return weights / by[self.places], (positive > 0) - negative / by

    def sums(self) -> tuple[_Array, _Array, _Array]:
        """Return the weights, by their largest, and the sums of those above and below 0."""
        # So no sum overflows.
        weights: _Array = self.weights / self.largest()[self.places]
        positive: _Array = np.zeros(len(self))
        np.add.at(positive, self.places, np.maximum(weights, 0))
        negative: _Array = np.zeros(len(self))
        np.add.at(negative, self.places, np.maximum(-weights, 0))
        return weights, positive, negative

    @property
    def by_formula(self) -> NDArray[np.bool_]:
        """Which blends have no mean to search around, shape (Q,): W is near 0, or below."""
        return np.asarray(self.normalised()[1] < LEAST_WEIGHT)

    def shown(self) -> _Array:
        """Return a point for each blend, shape (Q, n), for people: its mean.

        Of blends without one, the mean of those with positive weights, or else of all.
        """
        weights, positive, _ = self.sums()
        without_mean = self.by_formula
        weights = np.where(without_mean[self.places], np.maximum(weights, 0), weights)
        weights = np.where((positive > 0)[self.places], weights, 1.0)
        totals = np.bincount(self.places, weights, len(self))
        return self._sums((weights / totals[self.places])[:, None] * self.z)

    def take(self, which: NDArray[np.int64]) -> Members:
        """Return the members of some blends, shape (q,), which are numbered anew in that order."""
        number = np.full(len(self), -1)
        number[which] = np.arange(len(which))
        kept = number[self.places] >= 0
        return Members(
            number[self.places[kept]],
            self.z[kept],
            None if self.log_var is None else self.log_var[kept],
            self.weights[kept],
        )

    def blended(self, tolerance: Tolerance, *, divergence: bool) -> Blended:
        """Return what the search takes.

        Args:
            tolerance: tau, which blurs Gaussian members if they are ranked by divergences.
            divergence: Whether the score is Σ w_j KL(q_j‖x); otherwise it is the log density at
                the points, or at the Gaussians' means.
        """
        weights, totals = self.normalised()
        by_formula = self.by_formula
        own: _Array = np.zeros_like(self.z)
        shift: _Array = np.zeros(len(self))
        with np.errstate(over="ignore", invalid="ignore"):
            if divergence:
                assert self.log_var is not None
                log_var = blurred(self.log_var, tolerance)
                own = np.exp(log_var)
                entropies = 0.5 * (log_var + (1 + LOG_2PI)).sum(axis=1)
                shift = shift - np.bincount(self.places, weights * entropies, len(self))
            by = np.where(by_formula, 1.0, totals)
            around = np.where(by_formula[self.places], np.abs(weights), weights)
            first: _Array = self.z[self.firsts()]
            moved = self._sums(around[:, None] * (self.z - first[self.places]))
            centre = first + moved / np.bincount(self.places, around, len(self))[:, None]
            apart = self.z - centre[self.places]
            slope = np.where(by_formula[:, None], self._sums(weights[:, None] * apart), 0.0)
            second = self._sums((weights / by[self.places])[:, None] * (np.square(apart) + own))
        in_each = np.where(by_formula, totals, 1.0)[:, None]
        dislikes = np.bincount(self.places, weights < 0, len(self)) > 0
        return Blended(
            np.concatenate([centre, np.nan_to_num(slope)], axis=1),
            np.concatenate([np.nan_to_num(second), np.repeat(in_each, centre.shape[1], 1)], axis=1),
            scale=-by if divergence else by,
            shift=shift,
            least=np.where(dislikes | (not divergence), -np.inf, 0.0),
        )

    def largest(self) -> _Array:
        """Return the largest absolute weight of each blend."""
        found = np.zeros(len(self))
        np.maximum.at(found, self.places, np.abs(self.weights))
        return found

    def _sums(self, terms: _Array) -> _Array:
        found = np.zeros((len(self), terms.shape[1]))
        np.add.at(found, self.places, terms)
        return found


@dataclass(frozen=True)
class Blended:
    """Blends as the search takes them: its values are the sums over W, or the sums themselves.

    Attributes:
        mu: The means, and zeros; or the centres c and the slopes B, shape (Q, 2n).
        terms: The second moments, and ones; or A and W, shape (Q, 2n).
        scale: What the search's values are multiplied by, shape (Q,).
        shift: And what is then added, to be what people see.
        least: No score is below this; 0 where rounding alone could make it so.
    """

    mu: _Array
    terms: _Array
    scale: _Array
    shift: _Array
    least: _Array

    def scores(self, values: _Array, places: NDArray[np.int64]) -> _Array:
        """Return the scores of values, each of its own blend."""
        found = self.scale[places] * values + self.shift[places]
        return np.asarray(np.maximum(found, self.least[places]))

    def floors(self, score: float) -> _Array:
        """Return values below which no item of each blend is as good as this score, shape (Q,)."""
        values = (score - self.shift) / self.scale
        # Scaled and shifted there and back, a score may differ in its last digits.
        added = np.abs(values) + np.abs(self.shift / self.scale)
        return np.asarray(values - 1e-9 * added - 1e-300)


def check_groups(groups: ArrayLike) -> NDArray[Any]:
    """Return groups as an array.

    Raises:
        InputError: One is None or NaN, which is no group.
    """
    labels = np.asarray(groups)
    missing = np.flatnonzero([label is None or label != label for label in labels.ravel().tolist()])
    if len(missing):
        raise InputError(
            f"groups has {labels.ravel()[missing[0]]} at place {missing[0]}; expected a name or a "
            "number for each z."
        )
    return labels


def members_of(
    z: _Array,
    log_var: _Array | None,
    groups: ArrayLike | None,
    weights: ArrayLike | None,
    names: Sequence[str] | None = None,
) -> Members:
    """Return the members of blends.

    Args:
        z: Shape (M, n).
        log_var: log sigma² of Gaussians, shape (M, n); None for points.
        groups: Which blend each belongs to, shape (M,), numbered as they first occur; None for one.
        weights: Shape (M,); None for 1.
        names: What members are called in messages; their numbers unless given.

    Raises:
        InputError: Other shapes, a weight that is not finite, a blend whose weights are all 0, or
            whose members leave different dimensions open.
    """
    labels = np.zeros(len(z)) if groups is None else check_groups(groups)
    shares = np.ones(len(z)) if weights is None else _numbers(weights)
    for name, array in (("groups", labels), ("weights", shares)):
        if array.shape != (len(z),):
            raise InputError(f"{name} have shape {array.shape}; expected ({len(z)},), one per z.")
    number: dict[object, int] = {}
    places = np.array([number.setdefault(label, len(number)) for label in labels.tolist()], int)
    members = Members(places, z, log_var, shares)

    def called(row: int) -> str:
        return str(row) if names is None else repr(names[row])

    bad = np.flatnonzero(~np.isfinite(shares))
    if len(bad):
        raise InputError(
            f"member {called(bad[0])} of a blend has the weight {shares[bad[0]]}; expected a "
            "finite number."
        )
    firsts = members.firsts()
    empty = np.flatnonzero(members.largest() == 0)
    if len(empty):
        raise InputError(
            f"all weights of the blend of member {called(firsts[empty[0]])} are 0; expected a "
            "member that counts."
        )
    _, positive, negative = members.sums()
    lost = np.flatnonzero((positive > 0) & (positive < LEAST_SHARE * negative))
    if len(lost):
        raise InputError(
            f"the weights above 0 of the blend of member {called(firsts[lost[0]])} are next to "
            "nothing beside those below; leave these members out, or give them more weight."
        )
    is_open = np.isnan(z)
    differs = np.argwhere(is_open != is_open[firsts][places])
    if len(differs):
        row, dim = differs[0]
        raise InputError(
            f"members {called(firsts[places[row]])} and {called(row)} of a blend leave different "
            f"dimensions open, such as {dim}; expected the same ones in all members."
        )
    return members


def _numbers(weights: ArrayLike) -> _Array:
    try:
        return np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        raise InputError("weights are not all numbers; expected one finite number per z.") from None
