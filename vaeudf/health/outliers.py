"""Items that stand alone: where the posteriors of all others are least dense.

The query engine's sums over all items do not serve here. At an outlier's mu its own posterior is
nearly the whole sum; subtracting it would leave rounding errors, so it has to be left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vaeudf.gaussian import log_prob
from vaeudf.health.findings import Outlier
from vaeudf.numerics.log_sums import LogSums
from vaeudf.numerics.sketches import TopList
from vaeudf.spark.passes import merge_in_place
from vaeudf.table.passes import Batch, Passes

# Pairs of candidate and item that are scored at a time: some MB for each array.
_PAIRS = 2**20


def outliers(passes: Passes, candidates: TopList, *, num_items: int, most: int) -> list[Outlier]:
    """Return the candidates at whose mu the other items' posteriors are least dense, lowest first.

    Every item is scored for every candidate, in float64, by a pass over the items.

    Args:
        passes: Runs passes over all items.
        candidates: Some of them, with their distance.
        num_items: How many there are.
        most: How many to return.
    """
    if len(candidates) == 0 or num_items < 2:
        return []
    if num_items > len(candidates):
        work = partial(_add_up, z=candidates.mu, ids=candidates.ids)
        others = passes(work, merge_in_place).logarithms()
    else:
        others = np.full(len(candidates), -np.inf)
    density = log_mean_without_self(candidates.mu, candidates.log_var, others, num_items)
    found = [
        Outlier(item_id=name, log_density=float(log_density), distance=float(distance))
        for name, log_density, distance in zip(
            candidates.ids, density, candidates.values, strict=True
        )
    ]
    found.sort(key=lambda one: (one.log_density, -one.distance, one.item_id))
    return found[:most]


def log_mean_without_self(
    mu: NDArray[np.float64],
    log_var: NDArray[np.float64],
    log_sum_of_others: NDArray[np.float64],
    num_items: int,
) -> NDArray[np.float64]:
    """Return log of the mean of q(mu_c|x') over all items x' but c itself, shape (C,).

    The item's own term is left out of the sum, not subtracted from it.

    Args:
        mu: Of the C items, shape (C, n).
        log_var: Shape (C, n).
        log_sum_of_others: log Σ q(mu_c|x') over the items x' that are not among the C, shape
            (C,); -inf if there are no others.
        num_items: N, at least C; for a single item the result is -inf.
    """
    among = log_prob(mu, mu, log_var)
    np.fill_diagonal(among, -np.inf)
    with np.errstate(divide="ignore"):
        total = np.logaddexp(np.logaddexp.reduce(among, axis=1), log_sum_of_others)
    return np.asarray(total - math.log(max(1, num_items - 1)))


def _add_up(batches: Iterator[Batch], z: NDArray[np.float64], ids: list[str]) -> LogSums:
    """Return log Σ q(z_c|x') of each candidate over the items that are no candidates."""
    candidates = pa.array(ids, pa.string())
    sums = LogSums(len(z))
    rows = max(1, _PAIRS // len(z))
    for batch in batches:
        names = batch.names(np.arange(len(batch.items)))
        others = np.flatnonzero(~pc.is_in(names, candidates).to_numpy(zero_copy_only=False))
        for start in range(0, len(others), rows):
            items = batch.items.take(others[start : start + rows])
            sums.add(log_prob(z, items.mu, items.log_var))
    return sums
