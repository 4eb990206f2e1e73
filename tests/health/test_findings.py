"""What the findings say of pairs of items, and what it means that two are alike."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.distributions import Normal

from tests.support.findings import findings
from tests.support.pages import HOSTILE
from tests.support.tolerances import FUNCTION, near_float64
from vaeudf.gaussian import jeffreys_divergence
from vaeudf.health.findings import ALIKE


def test_alike_means_what_it_says():
    """Of two Gaussians ALIKE apart, the best guess from one z is right at most 55 % of the time."""
    x = np.linspace(-12, 12, 200_001)
    for shift, ratio in ((0.2, 1.0), (0.0, 0.18), (0.1, 0.14), (0.15, -0.1)):
        means, log_vars = np.array([[0.0], [shift]]), np.array([[0.0], [ratio]])
        apart = jeffreys_divergence(means[:1], log_vars[:1], means[1:], log_vars[1:]).item()
        densities = [
            np.exp(Normal(m, math.exp(0.5 * v)).log_prob(torch.from_numpy(x)).numpy())
            for m, v in ((0.0, 0.0), (shift, ratio))
        ]
        variation = 0.5 * np.trapezoid(np.abs(densities[0] - densities[1]), x)
        assert 0.5 + 0.5 * variation <= 0.5 + 0.25 * math.sqrt(apart)
    assert 0.5 + 0.25 * math.sqrt(ALIKE) == near_float64(0.55, terms=FUNCTION)


def test_each_pair_counts_once_and_the_share_is_of_items():
    found = findings()
    pairs = [(one.item_id, one.other) for one in found.closest_pairs(24)]
    assert pairs == [("a", HOSTILE), ("e", "f"), ("g", "e")]
    assert len(found.closest_pairs(2)) == 2
    assert found.alike_share == 0.75
    assert findings(neighbours=()).alike_share is None


def test_a_comparison_is_named_by_what_differs():
    comparison = findings().comparison
    assert comparison.name_beside("/tables/posteriors") == "version 2"
    assert comparison.name_beside("/tables/another") == "/tables/posteriors"
