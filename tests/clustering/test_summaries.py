"""Summaries of clusters against their definitions, over all pairs of items."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.divergences import EVERY_DIVERGENCE, REFERENCES, draw_clusters, reference
from tests.support.passes import MemoryPasses
from vaeudf.clustering.assignment import assign
from vaeudf.clustering.divergences import EUCLIDEAN, KL
from vaeudf.clustering.lloyd import fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.summaries import summarise


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
        np.testing.assert_allclose(summary.mean_divergence, distances[own, c].mean(), rtol=1e-9)
        np.testing.assert_allclose(summary.silhouette, widths[own].mean(), rtol=1e-9)
        # The medoid by its definition: pairs[x, y] = D(x, y), as for a centroid y.
        total = pairs[np.ix_(own, own)].sum(axis=0)
        medoid = int(summary.medoid[1:])
        np.testing.assert_allclose(total[own == medoid], total.min(), rtol=1e-6)
        names = sorted(own, key=lambda row: (round(rooted[row, c], 9), f"i{row:05}"))[:6]
        assert [name for name, _ in summary.nearest] == [f"i{row:05}" for row in names]
        np.testing.assert_allclose(
            [value for _, value in summary.nearest], rooted[names, c], rtol=1e-7, atol=1e-7
        )


def test_summaries_of_items_as_near_to_two_centroids():
    """They stay with the cluster that they were counted with, whatever its number is later."""
    mu = np.array([[-2.0], [0.0], [1.0], [1.0], [1.0]], np.float32)
    log_var = np.zeros_like(mu)
    ties = 0
    for seed in range(30):
        passes = MemoryPasses(mu, log_var)
        fitted = fit(passes, Plan(EUCLIDEAN, (2,), restarts=1, seed=seed))
        [trial] = fitted.best()
        [summaries] = summarise(passes, fitted, [trial], num_nearest=5)
        labels, values = assign(passes.items, trial.centroids, EUCLIDEAN, trial.ranks)
        assert [one.size for one in summaries] == np.bincount(labels, minlength=2).tolist()
        for number, one in enumerate(summaries):
            own = values[labels == number]
            assert one.mean_divergence == pytest.approx((own**2).mean(), abs=1e-12)
            assert len(one.nearest) == one.size
        distances = np.abs(mu[:, 0, None] - trial.centroids.mu[:, 0])
        ties += bool((distances[:, 0] == distances[:, 1]).any())
    assert ties, "no item was ever as near to both"


def test_one_cluster_has_no_silhouette():
    passes = MemoryPasses(*draw_clusters(30, 2))
    fitted = fit(passes, Plan(KL, (1,)))
    [[summary]] = summarise(passes, fitted, fitted.best(), num_nearest=3)
    assert summary.size == 30 and np.isnan(summary.silhouette)
