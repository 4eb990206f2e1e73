"""What each reading of the variance implies for a model's posteriors.

Taking log sigma for log sigma² ruins every result without an error. Compared on real pictures, the
right reading can be told: its KL term is one that somebody has trained with, its aggregate
posterior is near the prior, and its noise leaves pictures recognisable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian import kl_divergence

_DIMENSIONS_SHOWN = 8


@dataclass(frozen=True)
class Reading:
    """One way to read the variance, and what it implies on a sample of N pictures.

    Attributes:
        impossible: Why it cannot be right, in which case all numbers are NaN; None if it can.
        sigma: Median sigma of each dimension, shape (n,).
        kl: KL(q(z|x) ‖ N(0, I)), mean per picture, nats.
        aggregate: E[sigma²] + Var[mu], the variance of the aggregate posterior, median over the
            dimensions; 1 where it is the prior's.
        noise_error: Mean squared error per pixel of decode(mu + sigma · eps) against decode(mu),
            pixels in [0, 1]; None without a decoder.
    """

    impossible: str | None
    sigma: NDArray[np.float64]
    kl: float
    aggregate: float
    noise_error: float | None


def read(
    mu: NDArray[np.float32],
    log_var: NDArray[np.float32],
    decode_error: Callable[[NDArray[np.float32]], float] | None,
) -> Reading:
    """Return what a reading implies.

    Args:
        mu: Shape (N, n).
        log_var: log sigma² by this reading, shape (N, n).
        decode_error: Latents (N, n) to the mean squared error of what they decode to, against
            decode(mu); None without a decoder.
    """
    means, log_vars = mu.astype(np.float64), log_var.astype(np.float64)
    bad = 1.0 - np.isfinite(log_vars).mean()
    if bad > 0:
        share = f"{bad:.0%}" if bad >= 0.005 else "some"
        return Reading(
            impossible=f"{share} of the numbers would give no sigma above 0",
            sigma=np.full(mu.shape[1], np.nan),
            kl=np.nan,
            aggregate=np.nan,
            noise_error=None,
        )
    with np.errstate(over="ignore", invalid="ignore"):
        sigma = np.exp(0.5 * log_vars)
        aggregate = np.median(np.mean(sigma**2, axis=0) + means.var(axis=0))
        prior = np.zeros((1, mu.shape[1]))
        kl = np.mean(kl_divergence(means, log_vars, prior, prior))
        eps = np.random.default_rng(0).standard_normal(mu.shape)
        noisy = (means + sigma * eps).astype(np.float32)
    noise_error = None
    if decode_error is not None and np.isfinite(noisy).all():
        noise_error = decode_error(noisy)
    return Reading(
        impossible=None,
        sigma=np.median(sigma, axis=0),
        kl=float(kl),
        aggregate=float(aggregate),
        noise_error=noise_error,
    )


def format_readings(readings: Mapping[str, Reading], chosen: str | None) -> str:
    """Return the readings as text for a terminal, a line each."""
    latent_dim = len(next(iter(readings.values())).sigma)
    shown = min(latent_dim, _DIMENSIONS_SHOWN)
    many = f" (the first {shown} of {latent_dim})" if shown < latent_dim else ""
    head = f"{'reading':<12}{'KL, nats':>12}{'aggregate':>12}{'noise MSE':>12}   "
    lines = [f"{head}median sigma per dimension{many}"]
    for name, reading in readings.items():
        mark = "*" if name == chosen else " "
        if reading.impossible:
            lines.append(f"{mark}{name:<11}  impossible: {reading.impossible}")
            continue
        error = "-" if reading.noise_error is None else f"{reading.noise_error:.2g}"
        sigmas = " ".join(f"{sigma:.3g}" for sigma in reading.sigma[:shown])
        numbers = f"{reading.kl:>12.4g}{reading.aggregate:>12.3g}{error:>12}"
        lines.append(f"{mark}{name:<11}{numbers}   {sigmas}")
    return "\n".join(lines)
