"""What decoding JPEGs at the size that is needed does to posteriors, by torch and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.exports import pictures, source
from tests.support.tolerances import FUNCTION, near_float64
from vaeudf.errors import BundleError
from vaeudf.model.export.draft_effect import DraftEffect, measure_draft
from vaeudf.model.export.probe import Probe
from vaeudf.model.variance import VARIANCES

N, DIMS = 40, 3


def posteriors(change, count=N):
    """Posteriors, and others that are changed by so much at random."""
    rng = np.random.default_rng(5)
    mu = rng.normal(size=(count, DIMS)).astype(np.float32)
    log_var = rng.normal(-2, 1, (count, DIMS)).astype(np.float32)
    changes = change * rng.normal(size=(2, count, DIMS)).astype(np.float32)
    return (mu, log_var), (mu + changes[0], log_var + changes[1])


def kept(whole, drafted, k):
    """Of the hits of each mu of the whole pictures, how many stay."""
    z = torch.from_numpy(whole[0]).double()
    found = []
    for mu, log_var in (whole, drafted):
        items = torch.distributions.Normal(
            torch.from_numpy(mu).double(), (torch.from_numpy(log_var).double() / 2).exp()
        )
        scores = items.log_prob(z[:, None]).sum(dim=2).numpy()
        found.append(
            [
                set(sorted((j for j in range(len(z)) if j != i), key=lambda j: -row[j])[:k])
                for i, row in enumerate(scores)
            ]
        )
    return sum(len(a & b) for a, b in zip(*found, strict=True)) / len(z)


@pytest.mark.parametrize("change", [0.001, 0.3])
def test_the_figures_are_those_of_the_changed_pictures(change):
    whole, drafted = posteriors(change)
    differs = np.arange(N) % 3 == 0
    for one, other in zip(whole, drafted, strict=True):
        other[~differs] = one[~differs]
    found = measure_draft(whole, drafted, differs)
    assert (found.pictures, found.of, found.hits) == (differs.sum(), N, 10)
    (mu, log_var), (other_mu, other_log_var) = (
        [x[differs].astype(float) for x in p] for p in (whole, drafted)
    )
    for quantiles, values in (
        (found.mu, abs(other_mu - mu) / np.sqrt(np.exp(log_var))),
        (found.log_var, abs(other_log_var - log_var)),
    ):
        for quantile, percent in zip(quantiles, (50, 99), strict=True):
            exact = float(np.percentile(values, percent))
            assert quantile == near_float64(exact, terms=2 * FUNCTION)
    assert found.kept == kept(whole, drafted, 10)
    assert (found.kept < 10) == (change == 0.3)
    assert found.is_small == (change == 0.001)


@pytest.mark.parametrize(("most", "is_small"), [(0.0499, True), (0.05, False), (0.0501, False)])
def test_small_is_less_than_a_twentieth_of_sigma(most, is_small):
    assert DraftEffect(1, 2, (0.01, most), (9.0, 9.0), 1, 1.0).is_small == is_small


@pytest.mark.parametrize(("count", "hits"), [(1, 0), (2, 1), (4, 3)])
def test_few_pictures(count, hits):
    whole, _ = posteriors(0.0, count)
    found = measure_draft(whole, whole, np.ones(count, bool))
    assert found == DraftEffect(
        count, count, (0.0, 0.0), (0.0, 0.0), hits, float(hits) if hits else None
    )


def test_a_probe_measures_by_its_reading_of_the_variance():
    whole = pictures(20)
    drafted = whole.copy()
    drafted[:5] = 255 - drafted[:5]
    effects = {}
    for variance in ("log_var", "log_sigma"):
        probe = Probe(source("Pair", variance=variance))
        probe.use(whole)
        assert probe.draft_effect(whole.copy()) is None
        found = probe.draft_effect(drafted)
        before = probe.trial.posteriors(variance)
        probe.use_drafted(drafted)
        assert probe.source.image.jpeg_draft and (probe.trial.pixels == drafted).all()
        after = probe.trial.posteriors(variance)
        assert found == measure_draft(before, after, np.arange(20) < 5)
        effects[variance] = found
    assert effects["log_var"].mu != effects["log_sigma"].mu
    unsaid = Probe(source("Pair"))
    with pytest.raises(BundleError, match=f"Say --variance {'[|]'.join(VARIANCES)}"):
        unsaid.draft_effect(pictures(4))
