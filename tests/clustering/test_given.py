from __future__ import annotations

import numpy as np
import pytest

from tests.support.passes import MemoryPasses
from tests.support.tolerances import near_float64
from vaeudf.clustering.divergences import DIVERGENCES, KL
from vaeudf.clustering.given import fit_given
from vaeudf.clustering.summaries import summarise
from vaeudf.gaussian.arrays import Gaussians


def drawn(rng, count, n=3):
    return rng.normal(size=(count, n)), rng.normal(size=(count, n)) - 2


@pytest.mark.parametrize("divergence", DIVERGENCES.values(), ids=DIVERGENCES)
def test_against_every_centroid(divergence):
    rng = np.random.default_rng(3)
    passes = MemoryPasses(*drawn(rng, 500), parts=3)
    centroids = Gaussians(*drawn(rng, 6))
    # Far from every item: the sums' units must have room for it.
    centroids.mu[5] += 300
    fitted = fit_given(passes, centroids, divergence)
    [trial] = fitted.trials
    pairs = np.stack(
        [
            divergence.of_pairs(passes.items, centroids.take(np.full(500, c)))
            for c in range(len(centroids.mu))
        ]
    )
    labels = pairs.argmin(axis=0)
    counts = np.bincount(labels, minlength=6)
    assert trial.ranks.tolist() == sorted(range(6), key=lambda c: -counts[c])
    assert trial.tally.counts.tolist() == sorted(counts.tolist(), reverse=True)
    assert trial.objective == near_float64(pairs.min(axis=0).mean(), terms=500)
    assert (trial.centroids.mu == centroids.mu[trial.ranks]).all()
    assert (trial.centroids.log_var == centroids.log_var[trial.ranks]).all()

    values = divergence.reported(pairs.min(axis=0))
    # Between two items, so that it is none's own divergence. One has none, nor have small clusters.
    radii = np.full(6, np.nan)
    for place, given in enumerate(trial.ranks):
        if place > 0 and counts[given] >= 4:
            radii[place] = np.sort(values[labels == given])[-4:-2].mean()
    assert np.isfinite(radii).any()
    [summaries] = summarise(passes, fitted, [trial], num_nearest=4, radii=radii)
    for own, radius, given in zip(summaries, radii, trial.ranks, strict=True):
        mine = values[labels == given]
        assert own.size == len(mine)
        expected = sorted(mine.tolist(), reverse=True)[:4]
        assert [value for _, value in own.farthest] == near_float64(expected, terms=30)
        assert own.num_outside == (0 if np.isnan(radius) else 3)
        assert own.radius == own.farthest[0][1] if len(mine) else np.isnan(own.radius)


def test_equally_near_to_two():
    passes = MemoryPasses(np.zeros((4, 2)), np.zeros((4, 2)))
    same = Gaussians(np.ones((2, 2)), np.zeros((2, 2)))
    [trial] = fit_given(passes, same, KL).trials
    assert trial.tally.counts.tolist() == [4, 0] and trial.ranks.tolist() == [0, 1]


def test_centroids_that_are_far_from_all_items():
    """The sums have room for divergences that are larger than any between the items."""
    rng = np.random.default_rng(4)
    mu, log_var = drawn(rng, 2000)
    far = Gaussians(mu[:2] + 1e3 * np.pi, log_var[:2])
    found = {
        fit_given(MemoryPasses(mu, log_var, parts=parts, rows=37, order=order), far, KL)
        .trials[0]
        .objective
        for parts, order in ((1, None), (7, None), (3, rng.permutation(2000)))
    }
    items = Gaussians(mu, log_var)
    pairs = [KL.of_pairs(items, far.take(np.full(2000, c))) for c in range(2)]
    (objective,) = found
    assert objective == near_float64(np.minimum(*pairs).mean(), terms=2000 + 30)
