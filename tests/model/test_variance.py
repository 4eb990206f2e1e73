"""log sigma² from what encoders state, against float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.support.tolerances import FUNCTION, assert_same_float32
from vaeudf.model.variance import VARIANCES, read_posterior, to_log_var

STATED = np.array([0.03, 0.7, 1.0, 4.0, 30.0])
EXPECTED = {
    "log_var": lambda s: s,
    "log_sigma": lambda s: 2 * s,
    "sigma": lambda s: 2 * np.log(s),
    "variance": np.log,
    "softplus": lambda s: 2 * np.log(np.log1p(np.exp(s))),
}


@pytest.mark.parametrize("variance", VARIANCES)
def test_every_reading(variance):
    found = to_log_var(torch.tensor(STATED, dtype=torch.float32), variance)
    expected = EXPECTED[variance](STATED)
    # What is stated is rounded to float32, and its logarithm is off by as much.
    magnitude = 1 + np.abs(expected)
    assert_same_float32(found, expected, terms=2 * FUNCTION, magnitude=magnitude)


def test_a_softplus_so_small_that_it_has_no_digits_left():
    stated = torch.tensor([-200.0, -90.0, -20.0, -15.0, -14.9])
    expected = [-400.0, -180.0, -40.0, 2 * math.log(math.log1p(math.exp(-15.0)))]
    found = to_log_var(stated, "softplus")
    magnitude = np.abs(expected)
    assert_same_float32(found[:4], expected, terms=3 * FUNCTION, magnitude=magnitude)
    assert (found.diff() > 0).all()


@pytest.mark.parametrize("variance", ["sigma", "variance"])
def test_what_no_sigma_can_be_is_not_finite(variance):
    found = to_log_var(torch.tensor([-1.0, 0.0, 1.0]), variance)
    assert torch.isfinite(found).tolist() == [False, False, True]


def test_scale_and_shift_are_those_of_a_linear_map_of_the_latents():
    mu, log_var = torch.tensor([[3.0, -1.0]]), torch.tensor([[0.5, -2.0]])
    found_mu, found_log_var = read_posterior(mu, log_var, "log_var", scale=0.5, shift=2.0)
    q = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    moved = torch.distributions.TransformedDistribution(
        q, [torch.distributions.AffineTransform(-1.0, 0.5)]
    )
    z = torch.tensor([[0.3, -0.7]])
    ours = torch.distributions.Normal(found_mu, (0.5 * found_log_var).exp())
    torch.testing.assert_close(ours.log_prob(z), moved.log_prob(z))


def test_half_precision_is_read_in_float32():
    mu, stated = (torch.tensor([[0.1]], dtype=torch.bfloat16) for _ in range(2))
    assert all(part.dtype == torch.float32 for part in read_posterior(mu, stated, "log_sigma"))
