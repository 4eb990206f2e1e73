"""What a hit's log-likelihood is made of: misfit, volume, and the dimensions that cost most."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.gaussian import LOG_2PI
from vaeudf.schema import COSTLIEST, MISFIT, VOLUME

_DIMENSIONS_EXPLAINED = 3


def explain(
    items: pa.Table,
    z: NDArray[np.float64],
    mu: NDArray[np.floating],
    log_var: NDArray[np.float64],
) -> pa.Table:
    """Add to items what their log-likelihoods are made of.

    With s = sigma² + tau², log q(z|x) = misfit + volume = -½ Σ (z - mu)² / s - ½ Σ log 2πs.

    Args:
        items: m rows.
        z: The query of each, shape (m, n), NaN in dimensions that are left open, which cost
            nothing and have no volume.
        mu: The mean of each, shape (m, n).
        log_var: log s of each, shape (m, n).
    """
    closed = ~np.isnan(z)
    costs = np.where(closed, 0.5 * np.square((z - mu) * np.exp(-0.5 * log_var)), 0.0)
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
    volumes = -0.5 * np.where(closed, log_var + LOG_2PI, 0.0).sum(axis=1)
    return (
        items.append_column(MISFIT, pa.array(-costs.sum(axis=1)))
        .append_column(VOLUME, pa.array(volumes))
        .append_column(COSTLIEST, pa.ListArray.from_arrays(pa.array(offsets), costliest))
    )
