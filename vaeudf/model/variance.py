"""How an encoder states its variance, and how log sigma² follows from it."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

Variance = Literal["log_var", "log_sigma", "sigma", "variance", "softplus"]
"""What the encoder's second output states: log sigma², log sigma, sigma, sigma², or a number whose
softplus is sigma."""

VARIANCES: tuple[Variance, ...] = get_args(Variance)

# Below this, softplus(x) is exp(x) to the last digit, and soon 0, which has no logarithm.
_SOFTPLUS_IS_EXP = -15.0


def to_log_var(stated: Tensor, variance: Variance) -> Tensor:
    """Return log sigma² from what the encoder states; a sigma ≤ 0 becomes NaN or -inf."""
    if variance == "log_var":
        return stated
    if variance == "log_sigma":
        return 2.0 * stated
    if variance == "sigma":
        return 2.0 * torch.log(stated)
    if variance == "softplus":
        log_sigma = torch.log(functional.softplus(stated))
        return 2.0 * torch.where(stated < _SOFTPLUS_IS_EXP, stated, log_sigma)
    return torch.log(stated)


def read_posterior(
    mu: Tensor, stated: Tensor, variance: Variance, *, scale: float = 1.0, shift: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return mu and log sigma², both (B, n) float32, from what an encoder gives.

    Args:
        mu: Its mu, (B, n).
        stated: What it states of the variance, (B, n).
        variance: How that is to be read.
        scale: Latents are (mu - shift) * scale.
        shift: See ``scale``.
    """
    # In float32 whatever the encoder's precision: this arithmetic costs nothing.
    mu = (mu.float() - shift) * scale
    return mu, to_log_var(stated.float(), variance) + 2.0 * math.log(scale)
