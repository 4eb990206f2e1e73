"""What a hit's log-likelihood is made of: misfit, volume, and the dimensions that cost most."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.gaussian import LOG_2PI
from vaeudf.schema import COSTLIEST, MISFIT, VOLUME

_DIMENSIONS_EXPLAINED = 3


class BlendTerms(NamedTuple):
    """What blends have beside their means, of the query of each hit.

    With d = z - mu the misfit is -½ Σ (W d² + 2 B d + A) / s, and the volume -½ Σ W log 2πs.

    Attributes:
        second: A, shape (m, n).
        slope: B, shape (m, n).
        weight: W, shape (m, n).
    """

    second: NDArray[np.float64]
    slope: NDArray[np.float64]
    weight: NDArray[np.float64]


def explain(
    items: pa.Table,
    z: NDArray[np.float64],
    mu: NDArray[np.floating],
    log_var: NDArray[np.float64],
    blend: BlendTerms | None = None,
) -> pa.Table:
    """Add to items what their log-likelihoods are made of.

    With s = sigma² + tau², log q(z|x) = misfit + volume = -½ Σ (z - mu)² / s - ½ Σ log 2πs.

    Args:
        items: m rows.
        z: The query of each, shape (m, n), NaN in dimensions that are left open, which cost
            nothing and have no volume.
        mu: The mean of each, shape (m, n).
        log_var: log s of each, shape (m, n).
        blend: What blends have beside their means, which z then are.
    """
    closed = ~np.isnan(z)
    by_sigma = np.exp(-0.5 * log_var)
    scaled = (z - mu) * by_sigma
    squares, logs = np.square(scaled), log_var + LOG_2PI
    if blend is not None:
        squares = blend.weight * squares + 2.0 * blend.slope * by_sigma * scaled
        squares += blend.second * np.square(by_sigma)
        logs = blend.weight * logs
    costs = np.where(closed, 0.5 * squares, 0.0)
    # Dimensions that are left open come last, and are left out.
    worst = np.argsort(np.where(closed, -costs, np.inf), axis=1, kind="stable")
    worst = worst[:, :_DIMENSIONS_EXPLAINED]
    shown = np.take_along_axis(closed, worst, axis=1)
    costliest = pa.StructArray.from_arrays(
        [
            pa.array(worst[shown].astype(np.int32)),
            pa.array(np.take_along_axis(costs, worst, axis=1)[shown]),
        ],
        ["dimension", "nats"],
    )
    offsets = np.append(0, np.cumsum(shown.sum(axis=1))).astype(np.int32)
    volumes = -0.5 * np.where(closed, logs, 0.0).sum(axis=1)
    return (
        items.append_column(MISFIT, pa.array(-costs.sum(axis=1)))
        .append_column(VOLUME, pa.array(volumes))
        .append_column(COSTLIEST, pa.ListArray.from_arrays(pa.array(offsets), costliest))
    )
