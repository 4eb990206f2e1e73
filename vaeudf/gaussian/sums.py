"""Sums over the latent dimensions, of every query with every item."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


def sum_over_dims(
    term: Callable[..., _Array], queries: Sequence[_Array], items: Sequence[_Array]
) -> _Array:
    """Return the sum of term(…) over the dimensions, shape (Q, N).

    Args:
        term: Takes one dimension of each array, shapes (Q, 1) and (1, N), in the order given.
        queries: Arrays of shape (Q, n).
        items: Arrays of shape (N, n).
    """
    # One row per dimension: every step streams over contiguous memory.
    columns = [np.ascontiguousarray(array.T)[:, :, None] for array in queries]
    rows = [np.ascontiguousarray(array.T)[:, None, :] for array in items]
    total = np.zeros((queries[0].shape[0], items[0].shape[0]))
    with np.errstate(over="ignore"):  # what exceeds float64 is infinite, which is right
        for parts in zip(*columns, *rows, strict=True):
            total += term(*parts)
    return total
