"""What a model's posteriors would be under each reading of what it states of the variance.

To take log sigma for log sigma² ruins every result without a word of complaint. Seen beside each
other on real pictures, the readings tell themselves apart: the right one has a KL term that
somebody has trained with, an aggregate near the prior, and pictures that survive its noise.
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
        variance: The reading.
        impossible: Why it cannot be right; None if it can.
        sigma: Median sigma of each dimension, shape (n,).
        kl: KL(q(z|x) ‖ N(0, I)), mean per picture, nats.
        spread: E[sigma²] + Var[mu], the variance of the aggregate posterior, median over the
            dimensions; 1 where it is the prior's.
        noise_error: Mean squared error per pixel of decode(mu + sigma · eps) against decode(mu),
            pixels in [0, 1]; None without a decoder.
    """

    variance: str
    impossible: str | None
    sigma: NDArray[np.float64]
    kl: float
    spread: float
    noise_error: float | None


def read(
    variance: str,
    mu: NDArray[np.float32],
    log_var: NDArray[np.float32],
    decode: Callable[[NDArray[np.float32]], NDArray[np.uint8]] | None,
    clean: NDArray[np.uint8] | None = None,
    seed: int = 0,
) -> Reading:
    """Say what a reading implies.

    Args:
        variance: The reading.
        mu: Shape (N, n).
        log_var: log sigma² by this reading, shape (N, n).
        decode: Latents (N, n) to pictures (N, H, W, C) uint8.
        clean: decode(mu), if it is known already.
        seed: Of eps.
    """
    means, log_vars = mu.astype(np.float64), log_var.astype(np.float64)
    if not np.isfinite(log_vars).all():
        bad = 1.0 - np.isfinite(log_vars).mean()
        share = f"{bad:.0%}" if bad >= 0.005 else "some"
        why = f"{share} of the numbers would be no sigma above 0"
        nan = np.full(mu.shape[1], np.nan)
        return Reading(variance, why, nan, np.nan, np.nan, None)
    with np.errstate(over="ignore"):
        sigma = np.exp(0.5 * log_vars)
        spread = np.median(np.mean(sigma**2, axis=0) + means.var(axis=0))
        prior = np.zeros((1, mu.shape[1]))
        kl = float(np.mean(kl_divergence(means, log_vars, prior, prior)))
    error = None
    if decode is not None:
        noise = np.random.default_rng(seed).standard_normal(mu.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            noisy = (means + sigma * noise).astype(np.float32)
        clean = decode(mu) if clean is None else clean
        if np.isfinite(noisy).all():
            difference = (decode(noisy).astype(np.float64) - clean) / 255.0
            error = float(np.mean(difference**2))
    return Reading(variance, None, np.median(sigma, axis=0), kl, float(spread), error)


def table(readings: Mapping[str, Reading], chosen: str | None) -> str:
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
        numbers = f"{reading.kl:>12.4g}{reading.spread:>12.3g}{error:>12}"
        lines.append(f"{mark}{name:<11}{numbers}   {sigmas}")
    return "\n".join(lines)
