"""Seeds as by k-means||."""

from __future__ import annotations

import numpy as np

from tests.support.passes import MemoryPasses
from tests.support.tolerances import assert_sampled
from vaeudf.clustering.divergences import EUCLIDEAN, KL
from vaeudf.clustering.lloyd import fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.seeding import choose_seeds, draw_candidates, draw_round
from vaeudf.clustering.survey import survey
from vaeudf.gaussian.arrays import Gaussians


def test_candidates_are_drawn_by_their_divergence():
    """One far group of few items, one near group of many: k-means|| sees both."""
    rng = np.random.default_rng(0)
    mu = np.concatenate([rng.normal(0, 0.01, (2000, 2)), rng.normal(50, 0.01, (5, 2))])
    log_var = np.full_like(mu, -2.0)
    for seed in range(10):
        passes = MemoryPasses(mu, log_var)
        plan = Plan(KL, (2,), seed=seed)
        candidates, weights = draw_candidates(passes, plan, survey(passes, seed))
        assert ((candidates.mu > 40).all(axis=1)).any()
        assert weights.sum() == len(mu)
        assert len(np.unique(candidates.mu, axis=0)) == len(candidates) == len(weights)
        [trial] = fit(passes, plan).best()
        assert trial.tally.counts.tolist() == [2000, 5]


def test_the_chance_of_an_item_is_in_proportion_to_its_divergence():
    """Over many seeds the first draw takes an item twice as far twice as often."""
    mu = np.array([[0.0], [1.0], [np.sqrt(2.0)], [np.sqrt(3.0)]])
    log_var = np.zeros_like(mu)
    origin = Gaussians(np.zeros((1, 1)), np.zeros((1, 1)))
    passes = MemoryPasses(mu, log_var)
    counts = np.zeros(4)
    for seed in range(6000):
        drawn = draw_round(passes, origin, EUCLIDEAN, size=1, seed=seed)
        counts[np.flatnonzero(mu[:, 0] == drawn.mu[0, 0])] += 1
    share = np.array([0, 1 / 6, 2 / 6, 3 / 6])
    assert_sampled(counts / 6000, share, standard_error=np.sqrt(share * (1 - share) / 6000))


def test_seeds_where_no_candidate_has_weight():
    candidates = Gaussians(np.arange(4.0)[:, None], np.zeros((4, 1)))
    weights = np.array([10.0, 0.0, 0.0, 0.0])
    seeds = choose_seeds(candidates, weights, 3, KL, seed=(0,))
    assert len(np.unique(seeds.mu)) == 3
