"""What each latent dimension is like over a table: its KL, how far mu goes, a typical sigma."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaeudf.health.examine import ACTIVE, SLIDER_SHARE

FAR = 5.0
"""How far a slider goes at least when it is asked to go further."""


class DimensionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One latent dimension over the items of a table.

    Attributes:
        index: From 0.
        kl: Mean KL(q(z_i|x) ‖ N(0, 1)), nats.
        collapsed: Whether mu varies too little to tell items apart.
        low: 0.5 % of the items have a smaller mu.
        high: 0.5 % of the items have a greater mu.
        far: Half the width of the widest range that is of use.
        mean: Of mu.
        sd: Standard deviation of mu.
        sigma: The median sigma.
    """

    index: int
    kl: float
    collapsed: bool
    low: float
    high: float
    far: float
    mean: float
    sd: float
    sigma: float


def dimension_statistics(
    mu: NDArray[Any], log_var: NDArray[Any]
) -> tuple[DimensionStatistics, ...]:
    """Return what each dimension is like.

    Args:
        mu: Means of some items, shape (S, n), S ≥ 1.
        log_var: log sigma² of them, shape (S, n).
    """
    means, log_vars = np.asarray(mu, np.float64), np.asarray(log_var, np.float64)
    with np.errstate(over="ignore"):
        # expm1(d) - d does not cancel where sigma is near 1, as in a collapsed dimension.
        kl = 0.5 * (np.square(means) + np.maximum(np.expm1(log_vars) - log_vars, 0.0))
    tail = 0.5 * (1 - SLIDER_SHARE)
    low, high = np.quantile(means, (tail, 1 - tail), axis=0)
    variance = means.var(axis=0)
    sigma = np.exp(0.5 * np.median(log_vars, axis=0))
    return tuple(
        DimensionStatistics(
            index=dim,
            kl=float(kl[:, dim].mean()),
            collapsed=bool(len(means) > 1 and variance[dim] <= ACTIVE),
            low=float(low[dim]),
            high=float(high[dim]),
            far=float(max(FAR, -low[dim], high[dim])),
            mean=float(means[:, dim].mean()),
            sd=float(np.sqrt(variance[dim])),
            sigma=float(sigma[dim]),
        )
        for dim in range(means.shape[1])
    )
