"""Lloyd's k-means of diagonal Gaussians by a divergence, over items that are only ever read.

All that is done to the items is a *pass*: work on batches of them, in parts, whose results are then
merged. Who runs a pass decides where the items are and how they are partitioned; the result does
not depend on it, to the last bit: sums are exact (:mod:`vaeudf.numerics.exact_sums`), random
choices are hashes of an item's own numbers, and ties go by these numbers. Several values of k and
several restarts share every pass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering.divergences import Divergence
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.seeding import choose_seeds, draw_sample, first_sample_size
from vaeudf.clustering.survey import Survey, survey
from vaeudf.clustering.tallies import Anchors, Tally, next_centroids, tally_all
from vaeudf.errors import InputError
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.table.passes import Passes

log = logging.getLogger(__name__)

_Array = NDArray[np.float64]

# Once the objective no longer falls, rounding alone may raise it by this part.
_ROUNDING = 1e-9
# A trial is given up if the best one with its k is ahead by more than so many of its last steps.
_HOPELESS = 20.0


@dataclass(frozen=True)
class Trial:
    """One set of centroids, from its seeds on.

    Attributes:
        k: How many.
        restart: Which of the attempts with this k, from 0.
        centroids: As they are now.
        objectives: Mean divergence at each iteration so far; the last is these centroids' own.
        converged: Whether the last iteration hardly lowered the objective any more.
        dropped: Whether it was given up, because another one with this k is better by far more than
            its last iteration lowered the objective.
        tally: What the last pass added up for the centroids; None before the first.
        reseeded: How many empty clusters were given a new centroid.
        ranks: An item that is equally near to several centroids belongs to the one of the lowest
            rank, (k,); None: to the first.
    """

    k: int
    restart: int
    centroids: Gaussians
    objectives: tuple[float, ...] = ()
    converged: bool = False
    dropped: bool = False
    tally: Tally | None = field(default=None, repr=False)
    reseeded: int = 0
    ranks: NDArray[np.int64] | None = None

    @property
    def objective(self) -> float:
        """The mean divergence of the items from these centroids."""
        return self.objectives[-1]


@dataclass(frozen=True)
class Fitted:
    """All trials at their end.

    Attributes:
        plan: What was asked for.
        survey: What the first pass found.
        anchors: Of the exact sums.
        trials: All of them, by k and restart.
    """

    plan: Plan
    survey: Survey
    anchors: Anchors
    trials: tuple[Trial, ...]

    def best(self) -> list[Trial]:
        """Return the trial with the lowest objective of each k, clusters by size descending."""
        best = [
            min((t for t in self.trials if t.k == k), key=lambda t: t.objective)
            for k in self.plan.num_clusters
        ]
        if not self.plan.divergence.measures_variances:
            best = [self._with_own_variances(trial) for trial in best]
        return [by_size(trial) for trial in best]

    def _with_own_variances(self, trial: Trial) -> Trial:
        """Return a trial with the variances of its clusters' items, which no item was measured by.

        A seed that has never moved has no variances of its own.
        """
        assert trial.tally is not None
        least = self.survey.ranges.low_log_var
        log_var = _next_centroids(trial, trial.tally, self.plan.divergence, least).log_var
        return replace(trial, centroids=Gaussians(trial.centroids.mu, log_var))


def fit(
    passes: Passes, plan: Plan, on_iteration: Callable[[list[Trial]], None] = lambda _: None
) -> Fitted:
    """Cluster the items.

    Args:
        passes: Runs passes over the items.
        plan: What to fit.
        on_iteration: Called with all trials after each iteration.

    Raises:
        InputError: There are fewer items, or fewer that differ, than clusters, or an item has
            numbers that cannot be clustered.
    """
    divergence = plan.divergence
    most = max(plan.num_clusters)
    surveyed = survey(passes, divergence, size=partial(first_sample_size, k=most), seed=plan.seed)
    if most > surveyed.num_items:
        raise InputError(
            f"k is {most}, but there are only {surveyed.num_items} items; "
            f"expected at most {surveyed.num_items}."
        )
    sample = draw_sample(passes, plan, surveyed)
    if most > len(sample):
        raise InputError(
            f"k is {most}, but the {surveyed.num_items} items have only {len(sample)} "
            f"posteriors that differ by {divergence.name}; expected at most {len(sample)}."
        )
    trials = []
    for k in plan.num_clusters:
        for restart in range(plan.restarts if k > 1 else 1):
            seeds = choose_seeds(sample, k, seed=(plan.seed, k, restart))
            trials.append(Trial(k, restart, centroids=seeds))
    anchors = Anchors.of(divergence, surveyed)
    for _ in range(plan.max_iterations):
        active = [trial for trial in trials if not (trial.converged or trial.dropped)]
        if not active:
            break
        moved = [_moved(trial, divergence, surveyed.ranges.low_log_var) for trial in active]
        # Searches that have found the same centroids are one.
        sets = {_bytes(trial.centroids): trial.centroids for trial in moved}
        tallies = tally_all(passes, list(sets.values()), divergence, anchors)
        of_set = dict(zip(sets, tallies, strict=True))
        after = {
            (trial.k, trial.restart): _with_tally(
                trial, of_set[_bytes(trial.centroids)], plan.min_improvement
            )
            for trial in moved
        }
        trials = [after.get((trial.k, trial.restart), trial) for trial in trials]
        trials = [_dropped_if_hopeless(trial, trials) for trial in trials]
        on_iteration(trials)
    return Fitted(plan=plan, survey=surveyed, anchors=anchors, trials=tuple(trials))


def _bytes(centroids: Gaussians) -> bytes:
    return centroids.mu.tobytes() + centroids.log_var.tobytes()


def _dropped_if_hopeless(trial: Trial, trials: list[Trial]) -> Trial:
    """Return a trial, dropped if it will hardly overtake the best one with this k any more.

    The steps of k-means get shorter: what is to come is rarely more than a few times the last one.
    """
    if trial.converged or trial.dropped or len(trial.objectives) < 2:
        return trial
    best = min(other.objective for other in trials if other.k == trial.k)
    last = trial.objectives[-2] - trial.objectives[-1]
    return replace(trial, dropped=trial.objective - best > _HOPELESS * max(last, 0.0))


def _next_centroids(
    trial: Trial, tally: Tally, divergence: Divergence, least_log_var: _Array
) -> Gaussians:
    return next_centroids(
        tally.means(),
        trial.centroids,
        divergence,
        least_log_var=least_log_var,
        filled=tally.counts > 0,
    )


def _moved(trial: Trial, divergence: Divergence, least_log_var: _Array) -> Trial:
    """Return a trial with the centroids of its clusters; an empty one gets the farthest item."""
    if trial.tally is None:
        return trial
    centroids = _next_centroids(trial, trial.tally, divergence, least_log_var)
    farthest = trial.tally.farthest.items
    empty = np.flatnonzero(trial.tally.counts == 0)[: len(farthest)]
    if len(empty):
        log.info(
            "k = %d, restart %d, iteration %d: %d empty %s reseeded with the farthest items.",
            trial.k,
            trial.restart,
            len(trial.objectives),
            len(empty),
            "cluster is" if len(empty) == 1 else "clusters are",
        )
        centroids.mu[empty] = farthest.mu[: len(empty)]
        centroids.log_var[empty] = farthest.log_var[: len(empty)]
    return replace(trial, centroids=centroids, reseeded=trial.reseeded + len(empty))


def _with_tally(trial: Trial, tally: Tally, min_improvement: float) -> Trial:
    """Return a trial with what a pass added up for its centroids, and whether it has converged."""
    objective = tally.objective()
    converged = False
    # An empty cluster can still move, unless every item is on a centroid.
    settled = (tally.counts > 0).all() or len(tally.farthest.items) == 0
    if trial.objectives and settled:
        before = trial.objectives[-1]
        # It rises by more than rounding only if a centroid was very far from all its items.
        drop = before - objective
        converged = -_ROUNDING * before <= drop <= min_improvement * before
    objectives = (*trial.objectives, objective)
    return replace(trial, objectives=objectives, tally=tally, converged=converged)


def by_size(trial: Trial) -> Trial:
    """Return a trial with its clusters in the order of their sizes, the largest first."""
    assert trial.tally is not None
    tally = trial.tally
    order = np.lexsort([*trial.centroids.mu.T[::-1], -tally.counts])
    tally = replace(tally, counts=tally.counts[order], features=tally.features[order])
    # Items equally near to several centroids were counted with the first in the order before.
    return replace(trial, centroids=trial.centroids.take(order), tally=tally, ranks=order)
