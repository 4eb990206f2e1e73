"""k-means of diagonal Gaussians by a divergence, over items that only ever pass by.

All that is done to the items is a *pass*: work on batches of them, in parts, whose results are then
merged. Who runs a pass decides where the items are and how they are partitioned; what comes out
does not depend on it, to the last bit: sums are exact (:mod:`vaeudf.numerics.exact_sums`), chance
is a hash of an item's own numbers, and ties go by these numbers. Several values of k and several
restarts share every pass.

Seeds are found as by k-means|| (Bahmani et al., 2012): a few rounds, each of which draws some items
with chances in proportion to their divergence from those drawn before; then k of them, weighted by
how many items are nearest to each, by k-means++ (Arthur and Vassilvitskii, 2007), with the
divergence in place of the squared distance. A round draws a fixed number of items without
replacement (Efraimidis and Spirakis, 2006), which takes one pass where deciding for each item on
its own takes two: the sum of all divergences need not be known. Items that are equal are drawn as
one, and weighted as many.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.clustering.assignment import nearest_centroids
from vaeudf.clustering.divergences import Divergence, Prepared
from vaeudf.clustering.ranges import MAX_LOG_VAR, MAX_MU, Ranges
from vaeudf.errors import InputError
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.numerics.exact_sums import anchors, totals
from vaeudf.numerics.splitmix import STEP, mixed
from vaeudf.table.passes import Batch, Passes

log = logging.getLogger(__name__)

_Array = NDArray[np.float64]

# k-means|| draws so many times k items in each of so many rounds.
_DRAWN = 2
_ROUNDS = 4
# Far items that a pass keeps, to reseed empty clusters with.
_SPARE = 16
# On the driver, while the cluster waits: with k = 1,000 and n = 512 a step takes four seconds.
_STEPS_ON_CANDIDATES = 20
# By such a part the objective may rise of rounding alone, where it has come to rest.
_ROUNDING = 1e-9
# Of the sets of centroids that share a pass, what their sums take in a task. Of a thousand tasks,
# some forty such results come to the driver.
_TALLIES_BYTES = 2**25


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        divergence: What to cluster by.
        num_clusters: The values of k to try.
        restarts: How often to try each.
        seed: Chooses the seeds.
        max_iterations: When to stop at the latest.
        min_improvement: Stop when an iteration lowers the objective by no more than this part of
            it.
    """

    divergence: Divergence
    num_clusters: tuple[int, ...]
    restarts: int = 3
    seed: int = 0
    max_iterations: int = 100
    min_improvement: float = 1e-4

    def __post_init__(self) -> None:
        if not self.num_clusters or min(self.num_clusters) < 1:
            raise InputError(f"k is {min(self.num_clusters, default=0)}; expected at least 1.")
        if self.restarts < 1:
            raise InputError(f"restarts is {self.restarts}; expected at least 1.")
        if self.max_iterations < 1:
            raise InputError(f"max-iterations is {self.max_iterations}; expected at least 1.")
        if not 0.0 <= self.min_improvement < 1.0:
            raise InputError(
                f"min-improvement is {self.min_improvement}; expected a part, from 0 to below 1."
            )
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more.")


@dataclass(frozen=True)
class Survey:
    """What one look at all items tells.

    Attributes:
        num_items: How many there are.
        ranges: Within what they lie.
        first: The item with the lowest chance, as one Gaussian.
        chance: Its chance.
    """

    num_items: int
    ranges: Ranges
    first: Gaussians
    chance: float

    def join(self, other: Survey) -> Survey:
        """Return the survey of both sets of items together."""
        lowest = min(self, other, key=lambda survey: (survey.chance, *_content(survey.first)))
        return Survey(
            self.num_items + other.num_items,
            self.ranges.merge(other.ranges),
            lowest.first,
            lowest.chance,
        )


@dataclass(frozen=True)
class Kept:
    """The few items with the lowest keys, each once however often it stands in the catalog.

    Attributes:
        keys: Ascending, (m,).
        items: m of them.
    """

    keys: _Array
    items: Gaussians

    def join(self, other: Kept, size: int) -> Kept:
        """Return the lowest of both."""
        return Kept.lowest(
            np.concatenate([self.keys, other.keys]),
            Gaussians.concatenate([self.items, other.items]),
            size,
        )

    @classmethod
    def lowest(cls, keys: _Array, items: Gaussians, size: int) -> Kept:
        """Return the items with the lowest keys; equal keys go by the items' numbers."""
        rows = np.hstack([items.mu, items.log_var])
        order = np.lexsort([*rows.T[::-1], keys])
        same = (np.diff(rows[order], axis=0) == 0).all(axis=1) & (np.diff(keys[order]) == 0)
        kept = order[np.append(True, ~same)[: len(order)]][:size]
        return cls(keys[kept], items.take(kept))


@dataclass(frozen=True)
class Scales:
    """What exact sums need to know before: the anchors of each kind of number.

    Attributes:
        features: (L, F, n).
        divergence: (L,), with an L of its own.
        silhouette: (L,), with an L of its own.
    """

    features: _Array
    divergence: _Array
    silhouette: _Array

    @classmethod
    def of(cls, divergence: Divergence, survey: Survey) -> Scales:
        """Return those for a catalog."""
        count, ranges = survey.num_items, survey.ranges
        features = divergence.feature_bounds(ranges), divergence.feature_tolerances(ranges)
        values = divergence.bound(ranges), divergence.tolerance(ranges)
        return cls(
            anchors(*features, count), anchors(*values, count), anchors(1.0, 2.0**-40, count)
        )


@dataclass(frozen=True)
class Tally:
    """What a pass tells of one set of centroids.

    Attributes:
        counts: Items per cluster, (k,).
        features: Exact sums of what the next centroids are made from, (k, L, F, n).
        divergence: Exact sum of all items' divergences, (1, L).
        far: The items farthest from their centroids; keys are minus the divergence.
    """

    counts: NDArray[np.int64]
    features: _Array
    divergence: _Array
    far: Kept

    def join(self, other: Tally) -> Tally:
        """Return the tally of both sets of items together."""
        return Tally(
            self.counts + other.counts,
            self.features + other.features,
            self.divergence + other.divergence,
            self.far.join(other.far, _SPARE),
        )

    def objective(self) -> float:
        """Return the mean divergence of the items from their centroids."""
        return float(totals(self.divergence)[0] / self.counts.sum())

    def means(self) -> _Array:
        """Return the mean features of each cluster, (k, F, n); NaN where it is empty."""
        with np.errstate(invalid="ignore"):
            found: _Array = totals(self.features) / self.counts[:, None, None]
        return found


@dataclass(frozen=True)
class Trial:
    """One set of centroids on its way down.

    Attributes:
        k: How many.
        restart: Which of the attempts with this k, from 0.
        centroids: As they are now.
        objectives: Mean divergence at each iteration so far; the last is these centroids' own.
        converged: Whether the last iteration hardly lowered the objective any more.
        tally: What the last pass told of the centroids; None before the first.
        reseeded: How many empty clusters were given a new centroid.
        ranks: Of equally near centroids an item belongs to that of the lowest rank, (k,); None: to
            the first.
    """

    k: int
    restart: int
    centroids: Gaussians
    objectives: tuple[float, ...] = ()
    converged: bool = False
    tally: Tally | None = field(default=None, repr=False)
    reseeded: int = 0
    ranks: NDArray[np.int64] | None = None

    @property
    def objective(self) -> float:
        """The mean divergence of the items from these centroids."""
        return self.objectives[-1]


def fit(passes: Passes, plan: Plan, tell: Callable[[list[Trial]], None] = lambda _: None) -> Fitted:
    """Cluster the items.

    Args:
        passes: Runs passes over the items.
        plan: What to do.
        tell: Called with all trials after each iteration.

    Raises:
        InputError: There are fewer items, or fewer that differ, than clusters, or an item has
            numbers that cannot be clustered.
    """
    divergence = plan.divergence
    found = survey(passes, plan.seed)
    most = max(plan.num_clusters)
    if most > found.num_items:
        raise InputError(
            f"k is {most}, but there are only {found.num_items} items; "
            f"expected at most {found.num_items}."
        )
    candidates, weights = draw_candidates(passes, plan, found)
    if most > len(candidates):
        raise InputError(
            f"k is {most}, but the {found.num_items} items have only {len(candidates)} posteriors "
            f"that differ by {divergence.name}; expected at most {len(candidates)}."
        )
    trials = [
        Trial(k, restart, choose_seeds(candidates, weights, k, divergence, (plan.seed, k, restart)))
        for k in plan.num_clusters
        for restart in range(plan.restarts if k > 1 else 1)
    ]
    scales = Scales.of(divergence, found)
    least = found.ranges.low_log_var
    for _ in range(plan.max_iterations):
        active = [trial for trial in trials if not trial.converged]
        if not active:
            break
        moved = [_moved(trial, divergence, least) for trial in active]
        tallies = [
            told
            for group in _groups([trial.centroids for trial in moved], scales)
            for told in tally_all(passes, group, divergence, scales)
        ]
        after = {
            (trial.k, trial.restart): _judged(trial, told, plan.min_improvement)
            for trial, told in zip(moved, tallies, strict=True)
        }
        trials = [after.get((trial.k, trial.restart), trial) for trial in trials]
        tell(trials)
    return Fitted(plan, found, scales, tuple(trials))


@dataclass(frozen=True)
class Fitted:
    """What came of all trials.

    Attributes:
        plan: What was asked for.
        survey: What is known of the items.
        scales: Of their exact sums.
        trials: All of them, by k and restart.
    """

    plan: Plan
    survey: Survey
    scales: Scales
    trials: tuple[Trial, ...]

    def best(self) -> list[Trial]:
        """Return the trial with the lowest objective of each k, clusters by size descending."""
        found = [
            min((t for t in self.trials if t.k == k), key=lambda t: t.objective)
            for k in self.plan.num_clusters
        ]
        if not self.plan.divergence.measures_variances:
            found = [self._with_own_variances(trial) for trial in found]
        return [_by_size(trial) for trial in found]

    def _with_own_variances(self, trial: Trial) -> Trial:
        """Return a trial with the variances of its clusters' items, which no item was measured by.

        A seed that has never moved has none of its own.
        """
        assert trial.tally is not None
        least = self.survey.ranges.low_log_var
        own = self.plan.divergence.centroids(trial.tally.means(), trial.centroids, least)
        filled = (trial.tally.counts > 0)[:, None]
        log_var = np.where(filled, own.log_var, trial.centroids.log_var)
        return replace(trial, centroids=Gaussians(trial.centroids.mu, log_var))


def survey(passes: Passes, seed: int) -> Survey:
    """Look at all items once.

    Raises:
        InputError: There are none, or one has numbers that cannot be clustered.
    """
    found = passes(partial(_survey_batches, seed=seed), _join_surveys)
    if found is None:
        raise InputError("there are no items to cluster.")
    return found


def _survey_batches(batches: Iterator[Batch], seed: int) -> Survey | None:
    found: Survey | None = None
    for batch in batches:
        items = batch.items
        _check(batch)
        # A null id shows now, and not after all iterations.
        batch.names(np.arange(1))
        chances = _chances(items, seed)
        some = np.flatnonzero(chances == chances.min())
        lowest = Kept.lowest(chances[some], items.take(some), 1)
        own = Survey(len(items), Ranges.of(items), lowest.items, float(lowest.keys[0]))
        found = own if found is None else found.join(own)
    return found


def _join_surveys(one: Survey | None, other: Survey | None) -> Survey | None:
    if one is None or other is None:
        return other if one is None else one
    return one.join(other)


def _check(batch: Batch) -> None:
    for name, values, most in (
        ("log_var", batch.items.log_var, MAX_LOG_VAR),
        ("mu", batch.items.mu, MAX_MU),
    ):
        bad = np.flatnonzero((np.abs(values) > most).any(axis=1))
        if len(bad):
            row = bad[0]
            worst = values[row][np.abs(values[row]).argmax()]
            raise InputError(
                f"item {batch.names(bad[:1])[0].as_py()!r} has a {name} of {worst:g}; items can be "
                f"clustered with |{name}| up to {most:g}. Find out what the encoder made of it, "
                "and leave such items out of the table."
            )


def draw_candidates(passes: Passes, plan: Plan, found: Survey) -> tuple[Gaussians, _Array]:
    """Draw items that seeds can be chosen from, as k-means|| does.

    Returns:
        Some eight times as many as the largest k, each once, and how many items are nearest to each
        of them.
    """
    size = _DRAWN * max(plan.num_clusters)
    candidates = plan.divergence.as_measured(found.first)
    if max(plan.num_clusters) > 1:
        for number in range(_ROUNDS):
            draw = partial(
                _draw_batches,
                candidates=candidates,
                divergence=plan.divergence,
                size=size,
                # Other numbers in every round, and than the survey's.
                seed=plan.seed + (number + 1) * 2**40,
            )
            drawn = passes(draw, partial(_join_kept, size=size))
            if drawn is None:
                break
            candidates = _unique(Gaussians.concatenate([candidates, drawn.items]))
    count = partial(_count_batches, candidates=candidates, divergence=plan.divergence)
    return candidates, passes(count, np.add).astype(np.float64)


def _draw_batches(
    batches: Iterator[Batch], candidates: Gaussians, divergence: Divergence, size: int, seed: int
) -> Kept | None:
    kept: Kept | None = None
    for batch in batches:
        items = divergence.as_measured(batch.items)
        _, best, _ = nearest_centroids(divergence.prepare(items), candidates, divergence)
        # The lowest of these are as drawn one by one with chances in proportion to `best`.
        with np.errstate(divide="ignore"):
            keys = -np.log(_chances(items, seed)) / best
        limit = kept.keys[-1] if kept is not None and len(kept.keys) == size else np.inf
        rows = np.flatnonzero((keys <= limit) & (best > 0.0))
        if len(rows) > size:
            # Equal items have equal keys: all up to the size-th lowest key that differs.
            distinct = np.unique(keys[rows])
            rows = rows[keys[rows] <= distinct[min(size, len(distinct)) - 1]]
        if len(rows):
            own = Kept.lowest(keys[rows], items.take(rows), size)
            kept = own if kept is None else kept.join(own, size)
    return kept


def _join_kept(one: Kept | None, other: Kept | None, size: int) -> Kept | None:
    if one is None or other is None:
        return other if one is None else one
    return one.join(other, size)


def _count_batches(
    batches: Iterator[Batch], candidates: Gaussians, divergence: Divergence
) -> NDArray[np.int64]:
    counts = np.zeros(len(candidates), np.int64)
    for batch in batches:
        read = divergence.prepare(batch.items)
        found, _, _ = nearest_centroids(read, candidates, divergence)
        counts += np.bincount(found, minlength=len(candidates))
    return counts


def choose_seeds(
    candidates: Gaussians,
    weights: _Array,
    k: int,
    divergence: Divergence,
    seed: tuple[int, ...],
) -> Gaussians:
    """Choose k seeds from weighted candidates: k-means++, then k-means, on the candidates alone.

    Args:
        candidates: At least k Gaussians, all different.
        weights: How much each counts, shape (M,).
        k: How many seeds.
        divergence: What to measure by.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    read = divergence.prepare(candidates)
    total = weights.sum()
    chosen = [int(rng.choice(len(candidates), p=weights / total))]
    reach = np.full(len(candidates), np.inf)
    for _ in range(k - 1):
        last = candidates.take(np.array(chosen[-1:]))
        reach = np.minimum(reach, nearest_centroids(read, last, divergence)[1])
        reach[chosen] = 0.0
        costs = weights * reach
        if not costs.any():
            # Nothing is left that any item is nearest to: whatever was not chosen yet.
            costs = np.ones(len(candidates))
            costs[chosen] = 0.0
        chosen.append(int(rng.choice(len(candidates), p=costs / costs.sum())))
    centroids = candidates.take(np.array(chosen))
    least = candidates.log_var.min(axis=0)
    before = np.inf
    for _ in range(_STEPS_ON_CANDIDATES):
        found, best, _ = nearest_centroids(read, centroids, divergence)
        # Not a product of BLAS, which adds up in an order that depends on where the arrays lie.
        cost = math.fsum(weights * best)
        if not cost < before:
            break
        before = cost
        means, mass = _weighted_means(candidates, weights, found, centroids, divergence)
        better = divergence.centroids(means, centroids, least)
        centroids = _where(mass > 0, better, centroids)
    return centroids


def _weighted_means(
    items: Gaussians,
    weights: _Array,
    found: NDArray[np.int32],
    centroids: Gaussians,
    divergence: Divergence,
) -> tuple[_Array, _Array]:
    k, n = len(centroids), items.mu.shape[1]
    # As many features as items, by the kernel that the passes use: one item per group.
    ranges = Ranges.of(items)
    bounds = divergence.feature_bounds(ranges), divergence.feature_tolerances(ranges)
    scale = anchors(*bounds, 1)
    sums = np.zeros((len(items), *scale.shape))
    read = divergence.prepare(items)
    own = np.arange(len(items), dtype=np.int32)
    _add_features(read, own, centroids.mu[found], scale, sums, divergence)
    features = totals(sums) * weights[:, None, None]
    added = np.zeros((k, len(divergence.features), n))
    np.add.at(added, found, features)
    mass = np.bincount(found, weights, minlength=k).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return added / mass[:, None, None], mass


def _groups(sets: list[Gaussians], scales: Scales) -> list[list[Gaussians]]:
    """Return sets of centroids in groups whose tallies fit a task's memory together."""
    groups: list[list[Gaussians]] = []
    room = 0
    for centroids in sets:
        size = len(centroids) * scales.features.nbytes
        if not groups or size > room:
            groups.append([])
            room = _TALLIES_BYTES
        groups[-1].append(centroids)
        room -= size
    return groups


def tally_all(
    passes: Passes, sets: list[Gaussians], divergence: Divergence, scales: Scales
) -> list[Tally]:
    """Return what one pass tells of several sets of centroids."""
    work = partial(_tally_batches, sets=sets, divergence=divergence, scales=scales)
    return passes(work, _join_tallies)


def _tally_batches(
    batches: Iterator[Batch], sets: list[Gaussians], divergence: Divergence, scales: Scales
) -> list[Tally]:
    tallies = [_no_tally(centroids, scales) for centroids in sets]
    for batch in batches:
        read = divergence.prepare(batch.items)
        for own, centroids in enumerate(sets):
            tallies[own] = _add_batch(
                tallies[own], batch.items, read, centroids, divergence, scales
            )
    return tallies


def _no_tally(centroids: Gaussians, scales: Scales) -> Tally:
    k, n = centroids.mu.shape
    none = Gaussians(np.empty((0, n)), np.empty((0, n)))
    return Tally(
        np.zeros(k, np.int64),
        np.zeros((k, *scales.features.shape)),
        np.zeros((1, *scales.divergence.shape)),
        Kept(np.empty(0), none),
    )


def _add_batch(
    tally: Tally,
    items: Gaussians,
    read: Prepared,
    centroids: Gaussians,
    divergence: Divergence,
    scales: Scales,
) -> Tally:
    found, best, _ = nearest_centroids(read, centroids, divergence)
    _add_features(read, found, centroids.mu, scales.features, tally.features, divergence)
    kernels.add_values(best, np.zeros(len(best), np.int32), scales.divergence, tally.divergence)
    far = tally.far
    limit = -far.keys[-1] if len(far.keys) == _SPARE else 0.0
    # Of items as far as the last one their numbers decide. One that is on its centroid is not far.
    rows = np.flatnonzero((best >= limit) & (best > 0.0))
    if len(rows) > _SPARE:
        distinct = np.unique(best[rows])
        rows = rows[best[rows] >= distinct[-min(_SPARE, len(distinct))]]
    if len(rows):
        some = divergence.as_measured(items.take(rows))
        far = far.join(Kept.lowest(-best[rows], some, _SPARE), _SPARE)
    counts = tally.counts + np.bincount(found, minlength=len(centroids))
    return replace(tally, counts=counts, far=far)


def _add_features(
    items: Prepared,
    groups: NDArray[np.int32],
    pivots: _Array,
    anchors: _Array,
    sums: _Array,
    divergence: Divergence,
) -> None:
    kernels.add_features(
        codes=np.array([feature.code for feature in divergence.features]),
        mu=items.mu,
        dispersion=items.dispersion,
        groups=groups,
        pivots=pivots,
        anchors=anchors,
        sums=sums,
    )


def _join_tallies(one: list[Tally], other: list[Tally]) -> list[Tally]:
    return [mine.join(yours) for mine, yours in zip(one, other, strict=True)]


def _moved(trial: Trial, divergence: Divergence, least_log_var: _Array) -> Trial:
    """Return a trial with the centroids of its clusters; an empty one gets the farthest item."""
    if trial.tally is None:
        return trial
    filled = trial.tally.counts > 0
    means = trial.tally.means()
    centroids = _where(
        filled, divergence.centroids(means, trial.centroids, least_log_var), trial.centroids
    )
    far = trial.tally.far.items
    empty = np.flatnonzero(~filled)[: len(far)]
    if len(empty):
        log.info(
            "k = %d, restart %d, iteration %d: %d empty %s reseeded with the farthest items.",
            trial.k,
            trial.restart,
            len(trial.objectives),
            len(empty),
            "cluster is" if len(empty) == 1 else "clusters are",
        )
        centroids.mu[empty] = far.mu[: len(empty)]
        centroids.log_var[empty] = far.log_var[: len(empty)]
    return replace(trial, centroids=centroids, reseeded=trial.reseeded + len(empty))


def _judged(trial: Trial, tally: Tally, min_improvement: float) -> Trial:
    objective = tally.objective()
    objectives = (*trial.objectives, objective)
    converged = False
    # A cluster that is empty still has somewhere to go, unless every item is on a centroid.
    settled = (tally.counts > 0).all() or len(tally.far.keys) == 0
    if trial.objectives and settled:
        before = trial.objectives[-1]
        # Not where it rose: then rounding was at work, from a centroid very far from all its items.
        drop = before - objective
        converged = -_ROUNDING * before <= drop <= min_improvement * before
    return replace(trial, objectives=objectives, tally=tally, converged=converged)


def _by_size(trial: Trial) -> Trial:
    assert trial.tally is not None
    tally = trial.tally
    order = np.lexsort([*trial.centroids.mu.T[::-1], -tally.counts])
    tally = replace(tally, counts=tally.counts[order], features=tally.features[order])
    # The sums are of items that went to the first of equally near centroids as it was then.
    return replace(trial, centroids=trial.centroids.take(order), tally=tally, ranks=order)


def _where(wanted: NDArray[np.bool_], these: Gaussians, others: Gaussians) -> Gaussians:
    rows = wanted[:, None]
    return Gaussians(
        np.where(rows, these.mu, others.mu), np.where(rows, these.log_var, others.log_var)
    )


def _unique(items: Gaussians) -> Gaussians:
    """Return each item once, in the order of their numbers."""
    n = items.mu.shape[1]
    rows = np.unique(np.hstack([items.mu, items.log_var]), axis=0)
    return Gaussians(rows[:, :n].copy(), rows[:, n:].copy())


def _chances(items: Gaussians, seed: int) -> _Array:
    """Return numbers in (0, 1], (N,), as if drawn, that items' own bits and a seed decide."""
    state = mixed(np.full(len(items), seed % 2**64, np.uint64) + STEP)
    for i in range(items.mu.shape[1]):
        # 0 and -0 are one number, and have other bits.
        state = mixed(state ^ (items.mu[:, i] + 0.0).view(np.uint64))
        state = mixed(state + (items.log_var[:, i] + 0.0).view(np.uint64))
    # 53 bits, and never 0.
    return np.asarray(((state >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


def _content(items: Gaussians) -> tuple[float, ...]:
    return (*items.mu.ravel().tolist(), *items.log_var.ravel().tolist())
