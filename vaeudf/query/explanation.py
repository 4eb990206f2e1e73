"""What a hit's log-likelihood is made of: misfit, volume, and the dimensions that cost most."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.gaussian import LOG_2PI
from vaeudf.gaussian.variances import blurred
from vaeudf.schema import COSTLIEST, MISFIT, VOLUME

_DIMENSIONS_EXPLAINED = 3


def explain(
    items: pa.Table,
    z: NDArray[np.float64],
    mu: NDArray[np.floating],
    log_var: NDArray[np.floating],
    tolerance: float,
) -> pa.Table:
    """Add to items what their log-likelihoods are made of.

    With s = sigma² + tau², log q(z|x) = misfit + volume = -½ Σ (z - mu)² / s - ½ Σ log 2πs.

    Args:
        items: m rows.
        z: The query of each, shape (m, n).
        mu: The mean of each, shape (m, n).
        log_var: log sigma² of each, shape (m, n).
        tolerance: tau.
    """
    log_vars = blurred(log_var, tolerance)
    costs = 0.5 * np.square((z - mu) * np.exp(-0.5 * log_vars))
    n = costs.shape[1]
    worst = np.argsort(-costs, axis=1, kind="stable")[:, : min(_DIMENSIONS_EXPLAINED, n)]
    costliest = pa.StructArray.from_arrays(
        [
            pa.array(worst.ravel().astype(np.int32)),
            pa.array(np.take_along_axis(costs, worst, axis=1).ravel()),
        ],
        ["dimension", "nats"],
    )
    offsets = np.arange(0, worst.size + 1, worst.shape[1], dtype=np.int32)
    volumes = -0.5 * (log_vars.sum(axis=1) + n * LOG_2PI)
    return (
        items.append_column(MISFIT, pa.array(-costs.sum(axis=1)))
        .append_column(VOLUME, pa.array(volumes))
        .append_column(COSTLIEST, pa.ListArray.from_arrays(pa.array(offsets), costliest))
    )
