"""What a census says, against torch.distributions, SciPy and NumPy on all items at once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from tests.support.latent_space import (
    census_of,
    curve,
    latent_space,
)
from vaeudf.gaussian import jeffreys_divergence
from vaeudf.health.census import Census
from vaeudf.health.examine import (
    ALIKE,
    examine,
    gaussian_kl_to_prior,
    log_mean_without_self,
    names,
    warnings_of,
)
from vaeudf.health.hubs import hub_shares, hub_warnings


def test_dimensions_against_all_items_at_once():
    mu, log_var = latent_space()
    health = examine(census_of(mu, log_var, cuts=7))
    m, s = mu.astype(np.float64), np.exp(log_var.astype(np.float64))
    prior = Normal(torch.zeros(5, dtype=torch.float64), 1.0)
    posterior = Normal(torch.from_numpy(m), torch.from_numpy(np.sqrt(s)))
    kl = kl_divergence(posterior, prior).numpy()
    np.testing.assert_allclose([one.kl for one in health.dimensions], kl.mean(axis=0), rtol=1e-10)
    assert health.rate == pytest.approx(kl.sum(axis=1).mean(), rel=1e-10)
    for share, value in health.rate_quantiles.items():
        exact = np.quantile(kl.sum(axis=1), share, method="lower")
        assert value == pytest.approx(exact, rel=0.0101)
    covariance = np.cov(m.T, ddof=0) + np.diag(s.mean(axis=0))
    aggregate = MultivariateNormal(torch.from_numpy(m.mean(axis=0)), torch.from_numpy(covariance))
    origin = MultivariateNormal(torch.zeros(5, dtype=torch.float64), torch.eye(5).double())
    assert health.aggregate_kl == pytest.approx(kl_divergence(aggregate, origin).item(), rel=1e-9)
    assert [one.active for one in health.dimensions] == [True, True, False, False, True]
    for i, one in enumerate(health.dimensions):
        assert one.mu_variance == pytest.approx(m[:, i].var(), rel=1e-9)
        assert one.mu_mean == pytest.approx(m[:, i].mean(), abs=1e-12)
        assert one.variance == pytest.approx(m[:, i].var() + s[:, i].mean(), rel=1e-9)
        assert (np.abs(m[:, i]) <= one.slider_range).mean() >= 0.99
        exact = np.quantile(np.abs(m[:, i]), 0.99, method="inverted_cdf")
        assert one.slider_range == pytest.approx(exact, rel=0.021)
        for share, sigma in one.sigma.items():
            exact = np.quantile(np.sqrt(s[:, i]), share, method="lower")
            assert sigma == pytest.approx(exact, rel=0.0101)
        assert one.ceiling.items == 1 and not one.ceiling.flagged
    i, j, value = health.correlations[0]
    assert (i, j) == (0, 1)
    assert value == pytest.approx(np.corrcoef(m[:, 0], m[:, 1])[0, 1], rel=1e-9)
    floor = health.dimensions[4].floor
    assert floor.flagged and floor.items == (log_var[:, 4] == log_var[:, 4].min()).sum()
    assert [one.floor.flagged for one in health.dimensions] == [False] * 4 + [True]


def test_warnings_say_what_to_do():
    mu, log_var = latent_space()
    health = examine(census_of(mu, log_var))
    collapsed, stuck, clamped, mismatch, together = warnings_of(health)
    assert collapsed == (
        "z2 is collapsed: its slider changes nothing. Train with fewer dimensions, or with a "
        "smaller beta (or warm it up more slowly) if the pictures lack detail."
    )
    assert stuck.startswith("z3 is the same for all items, but not as in the prior: this costs 2.")
    assert clamped.startswith("Sigma is at its floor in z4: in z4, ")
    assert "have exactly the least log_var, -3.2." in clamped
    assert " nats from the prior N(0, I): z drawn from the prior often lie where" in mismatch
    assert together.startswith("z0 and z1 (+0.8")
    rng = np.random.default_rng(0)
    sound = examine(census_of(rng.normal(size=(2_000, 2)), rng.normal(-4, 0.2, size=(2_000, 2))))
    assert warnings_of(sound) == []
    few = examine(census_of([[0.5]], [[-2.0]]))
    assert warnings_of(few)[0] == (
        "There is only 1 item: what follows says little about the model. Encode more of the "
        "catalog."
    )


def test_a_latent_space_of_small_scale_is_not_called_dead():
    rng = np.random.default_rng(0)
    mu, log_var = rng.normal(0, 0.09, (2000, 2)), rng.normal(-9.2, 0.1, (2000, 2))
    mu[:, 1] = 0.0
    health = examine(census_of(mu, log_var))
    assert [one.number for one in health.collapsed] == [0, 1]
    assert [one.number for one in health.squeezed] == [0]
    stuck, squeezed = warnings_of(health)[:2]
    assert stuck.startswith("z1 is the same for all items, but not as in the prior: this costs 4.")
    assert squeezed.startswith("In z0 mu varies by less than 0.01, the usual threshold, and yet by")


def test_copies_of_an_extreme_item_are_not_called_a_clamp():
    rng = np.random.default_rng(0)
    mu, log_var = rng.normal(size=(2000, 2)), rng.normal(-3, 0.3, (2000, 2))
    mu[:60], log_var[:60] = 0.5, -4.5
    health = examine(census_of(mu, log_var))
    (clamped,) = warnings_of(health)
    assert "log_var, -4.5. The encoder's variance is clamped there" in clamped
    assert warnings_of(health, copies=59) == [clamped]
    (copied,) = warnings_of(health, copies=60)
    assert "log_var, -4.5. Where they are copies of one picture, see the near-duplic" in copied


def test_degenerate_tables():
    one = examine(census_of([[0.5, -1.0]], [[-2.0, 0.0]]))
    assert one.items == 1 and one.active == [] and one.correlations == ()
    assert one.slider_range == pytest.approx(1.0, rel=0.021)
    assert math.isfinite(one.aggregate_kl)
    same = examine(census_of(np.zeros((50, 3)), np.zeros((50, 3))))
    assert (same.rate, same.aggregate_kl, same.slider_range) == (0.0, 0.0, 0.0)
    assert not any(d.floor.flagged or d.ceiling.flagged for d in same.dimensions)
    normal = np.random.default_rng(0).normal(size=(500, 2))
    (fixed,) = warnings_of(examine(census_of(normal, np.full((500, 2), -4.0))))
    assert fixed.startswith("Sigma is the same for all items in z0 and z1: the encoder does not")
    huge = examine(census_of(np.full((3, 1), 1e30), np.full((3, 1), 3e3)))
    assert math.isinf(huge.rate) and math.isnan(huge.aggregate_kl)
    assert any("too large or too small to add up" in text for text in warnings_of(huge))
    mu = np.random.default_rng(0).normal(size=(40, 512))
    wide = examine(census_of(mu, np.zeros((40, 512))))
    assert len(wide.active) == 512
    assert names(wide.dimensions).endswith("z10 and 501 more dimensions")
    with pytest.raises(ValueError, match="without items"):
        examine(Census(2))


def test_kl_of_a_covariance_without_an_inverse():
    assert math.isnan(gaussian_kl_to_prior(np.zeros(2), np.ones((2, 2))))
    assert gaussian_kl_to_prior(np.zeros(2), np.eye(2)) == 0.0


def test_the_recommended_tolerance():
    assert curve([[0.4, 0.4], [0.04, 0.4], [0.03, 0.4]], [0.01, 0.4]).recommended == 0.1
    assert curve([[0.4, 0.01], [0.3, 0.01], [0.2, 0.01]], [0.01, 0.01]).recommended is None
    assert curve([[0.05, 0.02], [0.3, 0.3], [0.2, 0.1]], [0.01, 0.01]).recommended == 0.0
    assert curve([[0.4], [0.19], [0.1]], [0.01], items=100).recommended == 0.1
    few = curve([[0.9], [0.9], [0.9]], [0.9], items=20)
    assert few.recommended is None and few.undecided
    assert hub_warnings(few) == [
        "There are too few different items, or too few z were asked, to tell whether one item "
        "answers everything."
    ]
    assert hub_warnings(curve([[0.4, 0.01], [0.3, 0.01], [0.2, 0.01]], [0.01, 0.01])) == [
        "With every tolerance tried, up to 1, one single item is among the top 10 of at least 20% "
        "of the z from a, of which 5% would be even: try others with --taus."
    ]
    assert hub_warnings(curve([[0.02, 0.9], [0.5, 0.04], [0.5, 0.04]], [0.01, 0.01])) == [
        "No tolerance that was tried, up to 1, is even for all kinds of z at once: choose by the "
        "curve of the sliders that people have, or try others with --taus."
    ]
    decided = curve([[0.4], [0.04], [0.04]], [0.01])
    assert hub_warnings(decided) == [
        "Only 100 z of each kind were asked: a share of 5% is known to ± 2.2%, and the recommended "
        "tolerance is rather too small. --hub-queries 1000 is surer."
    ]
    assert hub_warnings(replace(decided, queries=200)) == []


def test_which_way_the_catalog_misses_the_prior():
    rng = np.random.default_rng(0)
    for scale, shift, words in (
        (3.0, 0.0, "and wider: z drawn from the prior show the middle of the catalog only."),
        (0.05, 0.0, ": z drawn from the prior often lie where no item is."),
        (1.0, 4.0, ": z drawn from the prior often lie where no item is."),
    ):
        mu = rng.normal(shift, scale, (5000, 2))
        health = examine(census_of(mu, np.full((5000, 2), -6.0)))
        found = [text for text in warnings_of(health) if "from the prior N(0, I)" in text]
        assert len(found) == 1 and words in found[0]
        assert f"is at least {health.aggregate_kl:.2f} nats" in found[0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=30))
def test_hub_shares(hits):
    found = hub_shares(("a", "b"), [kind for kind, _ in hits], [str(i) for _, i in hits], 10)
    for kind, share in zip("ab", found, strict=True):
        counts = [hits.count((kind, item)) for item in range(4)]
        assert share == max(counts) / 10


def test_density_without_the_item_itself():
    rng = np.random.default_rng(3)
    mu, log_var = rng.normal(size=(60, 4)) * 3, rng.normal(-3, 1, size=(60, 4))
    density = Normal(torch.from_numpy(mu), torch.from_numpy(np.exp(0.5 * log_var)))
    logs = density.log_prob(torch.from_numpy(mu)[:, None]).sum(dim=2).numpy()
    np.fill_diagonal(logs, -np.inf)
    exact = np.logaddexp.reduce(logs, axis=1) - math.log(59)
    asked = slice(0, 12)
    others = np.logaddexp.reduce(logs[asked, 12:], axis=1)
    found = log_mean_without_self(mu[asked], log_var[asked], others, 60)
    np.testing.assert_allclose(found, exact[asked], rtol=1e-12)
    alone = log_mean_without_self(mu[:1], log_var[:1], np.array([-np.inf]), 1)
    assert alone.tolist() == [-np.inf]


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
    assert 0.5 + 0.25 * math.sqrt(ALIKE) == pytest.approx(0.55)
