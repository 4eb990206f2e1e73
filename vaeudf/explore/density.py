"""How many items are at a point z, by the aggregate posterior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.gaussian import LOG_2PI
from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.variances import blurred

ERROR = 0.005
"""The items that are passed over would add no more than this."""


def items_here(
    table: LoadedTable,
    z: NDArray[np.float64],
    tolerance: Tolerance,
    where: NDArray[np.bool_] | None,
) -> float:
    """Return how many items are expected at z, in a volume as large as that of one posterior.

    With the aggregate posterior A(z) = mean of q(z|x) over N items and the median sigma of each
    dimension,

        N · A(z) · Π √(2π (sigma² + tau²)) = Σ q(z|x) / N(0; 0, diag(sigma² + tau²))

    An item of the median sigma whose mu is z counts as 1, and one that is d sigma away as
    e^(-½ d²). Open dimensions are left out.

    Args:
        table: The table.
        z: Shape (1, n), NaN in dimensions that are left open.
        tolerance: tau.
        where: Which items count, shape (N,); all of them unless given.
    """
    sigma = np.array([one.sigma for one in table.dimensions])
    log_vars = blurred(2.0 * np.log(sigma)[None, :], tolerance)
    closed = ~np.isnan(z[0])
    log_volume = 0.5 * float((log_vars[0] + LOG_2PI)[closed].sum())
    least = np.log(ERROR / table.num_items) - log_volume
    [log_sum] = table.index.log_sum(z, float(least), tolerance=tolerance, where=where)
    return float(np.exp(log_sum + log_volume))
