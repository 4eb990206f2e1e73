"""Whether hits look like what the sliders show: the share of the nearest pictures among them.

A person sees decode(z), and then the hits. Among a sample of items whose pictures are at hand, the
ten pictures nearest to decode(z) are known, and so it can be counted how many of these the ten hits
contain: with each tolerance, and once the best are ranked again by the decoder's p(x|z).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.decoding.sampled_pictures import PictureDistances
from vaeudf.health.hubs import HubCurve
from vaeudf.health.kinds import PRIOR, K, slider_kind
from vaeudf.search.index import PosteriorIndex

NEAR_ITEMS = "near items"
"""z that are an item's mu, and noise of :data:`NOISE` in each dimension."""
NOISE = 0.5
SLIDERS = (3, 5)
KINDS = (NEAR_ITEMS, PRIOR, *map(slider_kind, SLIDERS))

CANDIDATES = (20, 50, 100, 200, 500)
"""Of how many of the best hits the ten are chosen by p(x|z)."""
ENOUGH = 0.9
"""The recommended number of candidates finds this share of the nearest pictures, if any does."""
MIN_PICTURES = 50
"""With fewer pictures, ten are a large part of all."""

Z_PER_KIND = 300
Z_FOR_STRUCTURE = 100
"""Of how many z of each kind the structure of pictures is compared, too, which takes longer."""

_SHOWN = 5
_RESAMPLES = 2000
_TAIL = 2.5  # percent beyond either end of an interval


@dataclass(frozen=True)
class Estimates:
    """Mean shares over the z of a kind, with 95 % intervals.

    Attributes:
        mean: Shape (…, kinds), in [0, 1].
        low: The lower ends, the same shape, of the percentile bootstrap over the z (Efron, 1979).
        high: The upper ends.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Shares:
    """The share of the ten nearest pictures that ten hits contain.

    Attributes:
        queries: How many z of each kind it is the mean of.
        hits: Of the hits by log q(z|x) with each tolerance; shape (taus, kinds).
        reranked: Of the best of so many candidates by p(x|z); shape (taus, candidates, kinds).
    """

    queries: int
    hits: Estimates
    reranked: Estimates


@dataclass(frozen=True)
class Example:
    """One z, and the first hits of it each way.

    Attributes:
        kind: What the z was drawn from; it is the first of them.
        z: Shape (n,).
        literal: Items, by log q(z|x).
        tolerant: Items, with the recommended tolerance.
        reranked: Items, by p(x|z) among the recommended number of candidates.
    """

    kind: str
    z: NDArray[np.float64]
    literal: tuple[str, ...]
    tolerant: tuple[str, ...]
    reranked: tuple[str, ...]

    @property
    def item_ids(self) -> set[str]:
        """All items that are among the hits."""
        return {*self.literal, *self.tolerant, *self.reranked}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far hits agree with the pictures nearest to decode(z), among a sample of the items.

    Attributes:
        items: How many items were compared.
        unreadable: How many more the sample has, whose pictures cannot be read.
        likelihood: How the decoder's output is read, in words; None if the model does not say, and
            p(x|z) is taken to rank as the squared error does.
        kinds: What the z were drawn from.
        taus: The tolerances, ascending, 0 among them: the literal rule.
        even: Of each tolerance, whether no item crowds out the others with it.
        best_tau: The index of the recommended tolerance; see :func:`choose_tau`.
        candidates: How many were ranked again, ascending, all below ``items``.
        error: Where the nearest pictures are those with the smallest squared error.
        structure: Where they are those of the most similar structure.
        truths: The share of the nearest pictures by the one that are nearest by the other, too;
            shape (kinds,).
        examples: One of each kind.
    """

    items: int
    unreadable: int
    likelihood: str | None
    kinds: tuple[str, ...]
    taus: tuple[float, ...]
    even: tuple[bool, ...]
    best_tau: int
    candidates: tuple[int, ...]
    error: Shares
    structure: Shares
    truths: Estimates
    examples: tuple[Example, ...]

    @property
    def chance(self) -> float:
        """The share that ten items drawn at random would have."""
        return K / self.items

    @property
    def literal(self) -> int:
        """The index of the tolerance 0."""
        return self.taus.index(0.0)

    @property
    def enough(self) -> int:
        """The index of the recommended number of candidates; see :func:`enough_candidates`."""
        return enough_candidates(self.error.reranked, self.best_tau)

    @property
    def tau(self) -> float:
        """The recommended tolerance."""
        return self.taus[self.best_tau]

    @property
    def recommended_candidates(self) -> int:
        """The recommended number of candidates, among as many items as were compared."""
        return self.candidates[self.enough]

    def candidates_among(self, items: int) -> int:
        """Return how many candidates are the recommended share of so many items.

        Fewer do: on 3,068 photos, four times as many items took twice as many candidates for the
        same agreement (docs/health.md).
        """
        return -(-self.recommended_candidates * items // self.items)


def choose_tau(resampled: NDArray[np.float64], even: Sequence[bool]) -> int:
    """Return the index of the smallest tolerance whose hits agree as well as any's.

    As the mean over the kinds of z, and only of those tolerances with which no item crowds out the
    others, if there are any. It is as good as the best one if zero is in the 95 % interval of
    the difference, both being of the same z.

    Args:
        resampled: Mean shares of resamples of the z, shape (taus, resamples).
        even: Of each tolerance, whether no item crowds out the others.
    """
    means = resampled.mean(axis=1)
    allowed = np.asarray(even) if any(even) else np.ones(len(means), np.bool_)
    best = int(np.argmax(np.where(allowed, means, -1.0)))
    behind = np.percentile(resampled[best] - resampled, _TAIL, axis=1)
    return int(np.argmax(allowed & (behind <= 0)))


def enough_candidates(reranked: Estimates, tau: int) -> int:
    """Return the index of the smallest number of candidates with which hits are as good as wanted.

    That is, with which the lower end of the interval is at least :data:`ENOUGH` for every kind of
    z; or, if that is not reached, as high as it gets.
    """
    lowest = reranked.low[tau].min(axis=1)
    return int(np.argmax(lowest >= min(ENOUGH, lowest.max())))


def draw_points(mu: NDArray[np.floating], count: int, seed: int) -> list[NDArray[np.float64]]:
    """Return z of each of :data:`KINDS`, shape (count, n) each.

    Args:
        mu: Of the items, shape (N, n).
        count: How many z of each kind.
        seed: Seed of the z.
    """
    rng = np.random.default_rng([seed, mu.shape[1], 2])
    shape = (count, mu.shape[1])
    own = mu[rng.choice(len(mu), count, replace=count > len(mu))]
    near = own + NOISE * rng.normal(size=shape)
    return [near, rng.normal(size=shape), *(rng.uniform(-a, a, shape) for a in SLIDERS)]


def measure_agreement(
    ids: Sequence[str],
    mu: NDArray[np.floating],
    log_var: NDArray[np.floating],
    compare: Callable[[NDArray[np.float64], int], PictureDistances],
    *,
    taus: Sequence[float],
    hubs: HubCurve,
    seed: int,
    unreadable: int = 0,
    likelihood: str | None = None,
    queries: int = Z_PER_KIND,
    structured: int = Z_FOR_STRUCTURE,
) -> Agreement:
    """Ask the items for the top ten of z of each kind, and count the nearest pictures among them.

    Args:
        ids: The items, at least :data:`MIN_PICTURES`.
        mu: Their means, shape (N, n).
        log_var: Their log sigma², shape (N, n).
        compare: Returns how far the items' pictures, in the same order, are from what z's (Q, n)
            decode to, and for the first so many of these how far in structure.
        taus: The tolerances to try; 0 is always tried.
        hubs: Says with which of them no item crowds out the others.
        seed: Seed of the z, and of the bootstrap.
        unreadable: How many items were left out.
        likelihood: How the decoder's output is read, in words.
        queries: How many z of each kind.
        structured: For how many of them structure is compared.
    """
    order = sorted(range(len(ids)), key=ids.__getitem__)  # rows tie as item_ids do
    index = PosteriorIndex(mu[order], log_var[order])
    tried = sorted({0.0, *taus})
    candidates = tuple(c for c in CANDIDATES if c < len(ids))
    rng = np.random.default_rng([seed, mu.shape[1], 3])
    found: list[list[Estimates]] = []
    resampled: list[NDArray[np.float64]] = []
    first: list[_Hits] = []
    points = draw_points(mu[order], queries, seed)
    for z in points:
        distances = _in_order(compare(z, structured), order)
        hits = _hits(index, z, tried, distances.log_densities, candidates)
        first.append(hits.first())
        truth = _nearest(distances.errors)
        alike = _nearest(distances.structure)
        few = hits.head(len(alike))
        both = np.take_along_axis(truth[: len(alike)], _places(alike), 1).mean(axis=1)
        drawn, few_drawn = _resamples(queries, rng), _resamples(len(alike), rng)
        own = _shares(truth, hits.plain)
        resampled.append(own @ drawn.T / queries)
        found.append(
            [
                _estimates(own, drawn),
                _estimates(_shares(truth, hits.reranked), drawn),
                _estimates(_shares(alike, few.plain), few_drawn),
                _estimates(_shares(alike, few.reranked), few_drawn),
                _estimates(both, few_drawn),
            ]
        )
    plain, reranked, plain_alike, reranked_alike, truths = map(_stacked, zip(*found, strict=True))
    even = [_is_even(hubs, tau) for tau in tried]
    tau = choose_tau(np.mean(resampled, axis=0), even)
    enough = enough_candidates(reranked, tau)
    return Agreement(
        items=len(ids),
        unreadable=unreadable,
        likelihood=likelihood,
        kinds=KINDS,
        taus=tuple(tried),
        even=tuple(even),
        best_tau=tau,
        candidates=candidates,
        error=Shares(queries, plain, reranked),
        structure=Shares(min(structured, queries), plain_alike, reranked_alike),
        truths=truths,
        examples=tuple(
            Example(
                kind,
                z[0],
                *(
                    tuple(ids[order[row]] for row in rows[:_SHOWN].tolist())
                    for rows in (
                        hits.plain[0, 0],
                        hits.plain[tau, 0],
                        hits.reranked[tau, enough, 0],
                    )
                ),
            )
            for kind, z, hits in zip(KINDS, points, first, strict=True)
        ),
    )


@dataclass(frozen=True)
class _Hits:
    """Rows of hits, best first: plain (taus, Q, k), reranked (taus, candidates, Q, k)."""

    plain: NDArray[np.int64]
    reranked: NDArray[np.int64]

    def head(self, count: int) -> _Hits:
        return _Hits(self.plain[:, :count], self.reranked[:, :, :count])

    def first(self) -> _Hits:
        return self.head(1)


def _hits(
    index: PosteriorIndex,
    z: NDArray[np.float64],
    taus: Sequence[float],
    log_densities: NDArray[np.float64],
    candidates: Sequence[int],
) -> _Hits:
    plain, reranked = [], []
    for tau in taus:
        rows, _ = index.search(z, candidates[-1], tolerance=tau)
        plain.append(rows[:, :K])
        reranked.append([_best(rows[:, :count], log_densities) for count in candidates])
    return _Hits(np.array(plain), np.array(reranked))


def _best(rows: NDArray[np.int64], log_densities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the k rows with the highest density, shape (Q, k), equal ones by row number."""
    rows = np.sort(rows, axis=1)
    order = np.argsort(-np.take_along_axis(log_densities, rows, 1), axis=1, kind="stable")
    return np.take_along_axis(rows, order[:, :K], 1)


def _nearest(distances: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which rows are the k nearest, shape (Q, N), equal ones by row number."""
    found = np.zeros(distances.shape, np.bool_)
    order = np.argsort(distances, axis=1, kind="stable")
    np.put_along_axis(found, order[:, :K], True, 1)
    return found


def _places(nearest: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the rows that are marked, k for each query, shape (Q, k)."""
    return np.asarray(np.nonzero(nearest)[1].reshape(len(nearest), K))


def _shares(nearest: NDArray[np.bool_], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return which share of the k nearest are among rows (…, Q, k), shape (…, Q)."""
    queries = np.arange(len(nearest))[:, None]
    return np.asarray(nearest[queries, rows].mean(axis=-1))


def _resamples(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how often each of so many z is in each resample, shape (resamples, count)."""
    return rng.multinomial(count, np.full(count, 1 / count), _RESAMPLES).astype(np.float64)


def _estimates(shares: NDArray[np.float64], drawn: NDArray[np.float64]) -> Estimates:
    """Return means over the last axis, and the 95 % interval of each over resamples."""
    count = shares.shape[-1]
    means = shares.reshape(-1, count) @ drawn.T / count
    low, high = np.percentile(means, (_TAIL, 100 - _TAIL), axis=1)
    shape = shares.shape[:-1]
    return Estimates(shares.mean(axis=-1), low.reshape(shape), high.reshape(shape))


def _stacked(kinds: Sequence[Estimates]) -> Estimates:
    """Return estimates of each kind as one, with the kinds along the last axis."""
    return Estimates(
        *(
            np.stack([getattr(one, name) for one in kinds], axis=-1)
            for name in ("mean", "low", "high")
        )
    )


def _in_order(distances: PictureDistances, order: Sequence[int]) -> PictureDistances:
    errors, log_densities, structure = distances
    return PictureDistances(errors[:, order], log_densities[:, order], structure[:, order])


def _is_even(hubs: HubCurve, tau: float) -> bool:
    """Whether no item crowds out the others with a tolerance; False if that was not asked."""
    if tau not in hubs.taus:
        return False
    return bool((hubs.shares[hubs.taus.index(tau)] <= hubs.limits).all())
