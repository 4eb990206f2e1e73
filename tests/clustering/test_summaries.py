"""Summaries of clusters against their definitions, over all pairs of items."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.divergences import EVERY_DIVERGENCE, REFERENCES, draw_clusters, reference
from tests.support.passes import MemoryPasses
from tests.support.tolerances import ROOT_FLOAT64, assert_within, near_score
from vaeudf.clustering import lloyd
from vaeudf.clustering.assignment import assign
from vaeudf.clustering.divergences import EUCLIDEAN, KL
from vaeudf.clustering.lloyd import fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.summaries import summarise
from vaeudf.gaussian.arrays import Gaussians

# What exact sums leave out of each number, relative to the least sigma or variance there is.
MATTERS = 2.0**-40


@EVERY_DIVERGENCE
def test_summaries(divergence):
    mu, log_var = draw_clusters(240, 2, seed=4, clusters=3)
    mu[50:54], log_var[50:54] = mu[0], log_var[0]  # items that only their names tell apart
    passes = MemoryPasses(mu, log_var, parts=3, rows=29)
    plan = Plan(divergence, (3,), min_improvement=0.0)
    fitted = fit(passes, plan)
    [trial] = fitted.best()
    [summaries] = summarise(passes, fitted, [trial], num_nearest=6)
    distances = reference(divergence.name, mu, log_var, trial.centroids.mu, trial.centroids.log_var)
    labels = distances.argmin(axis=1)
    rooted = np.sqrt(distances) if REFERENCES[divergence.name].squared else distances
    ordered = np.sort(rooted, axis=1)
    widths = 1 - ordered[:, 0] / ordered[:, 1]
    pairs = reference(divergence.name, mu, log_var, mu, log_var)
    for c, summary in enumerate(summaries):
        own = np.flatnonzero(labels == c)
        assert summary.size == len(own)
        mean = distances[own, c].mean()
        logs = log_var, trial.centroids.log_var
        assert summary.mean_divergence == near_score(mean, *logs, dims=2, items=len(own))
        assert_within(summary.silhouette, widths[own].mean(), MATTERS, why="what sums leave out")
        # The medoid by its definition: pairs[x, y] = D(x, y), as for a centroid y.
        total = pairs[np.ix_(own, own)].sum(axis=0)
        medoid = int(summary.medoid[1:])
        [least] = total[own == medoid]
        assert least == near_score(total.min(), log_var, dims=2, items=len(own))
        names = sorted(own, key=lambda row: (round(rooted[row, c], 9), f"i{row:05}"))[:6]
        assert [name for name, _ in summary.nearest] == [f"i{row:05}" for row in names]
        values = [value for _, value in summary.nearest]
        bound = ROOT_FLOAT64 * (1 + rooted[names, c])
        assert_within(values, rooted[names, c], bound, why="the root of a divergence")


@pytest.mark.parametrize("start", [[-1.0, 1.0], [1.0, -1.0]])
def test_summaries_of_items_as_near_to_two_centroids(start, monkeypatch):
    """They stay with the cluster that they were counted with, whatever its number is later."""
    mu = np.array([[-2.0], [0.0], [1.0], [1.0], [1.0]], np.float32)
    passes = MemoryPasses(mu, np.zeros_like(mu))
    seeds = Gaussians(np.array(start)[:, None], np.zeros((2, 1)))
    monkeypatch.setattr(lloyd, "choose_seeds", lambda *_, **__: seeds)
    fitted = fit(passes, Plan(EUCLIDEAN, (2,), restarts=1, max_iterations=1))
    [trial] = fitted.best()
    [summaries] = summarise(passes, fitted, [trial], num_nearest=5)
    labels, values = assign(passes.items, trial.centroids, EUCLIDEAN, trial.ranks)
    sizes = [one.size for one in summaries]
    # The item at 0 belongs to the first centroid, which is not the larger cluster's if it is -1.
    assert (
        sizes == np.bincount(labels, minlength=2).tolist() == ([3, 2] if start[0] < 0 else [4, 1])
    )
    for number, one in enumerate(summaries):
        own = values[labels == number]
        assert one.mean_divergence == near_score((own**2).mean(), dims=1, items=5)
        assert len(one.nearest) == one.size


def test_one_cluster_has_no_silhouette():
    passes = MemoryPasses(*draw_clusters(30, 2))
    fitted = fit(passes, Plan(KL, (1,)))
    [[summary]] = summarise(passes, fitted, fitted.best(), num_nearest=3)
    assert summary.size == 30 and np.isnan(summary.silhouette)
