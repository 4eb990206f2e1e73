"""At most so many items of each value, for searches in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.search.records import PerValue

_FIRST_ROWS = 4096


def per_value(
    per: tuple[ArrayLike, int] | None,
    labels: NDArray[np.int64] | None,
    count: int,
    codes: NDArray[np.int32] | None = None,
) -> PerValue | None:
    """Return the limit as the search reads it.

    Args:
        per: A value for each item, shape (N,), and how many items of one value.
        labels: The items' labels, shape (N,); their numbers unless given.
        count: How many items there are, N.
        codes: The values' numbers by label, if they are known from an earlier search.

    Raises:
        InputError: It is not one value per item and a whole number of at least 1.
    """
    if per is None or count == 0:
        return None
    values, at_most = np.asarray(per[0]), per[1]
    if values.shape != (count,):
        raise InputError(
            f"per has values of shape {values.shape}; expected ({count},), one per item."
        )
    if not isinstance(at_most, int | np.integer) or isinstance(at_most, bool) or at_most < 1:
        raise InputError(f"per allows {at_most!r} items of a value; expected at least 1.")
    if codes is not None:
        return PerValue(codes, int(at_most))
    if values.dtype == np.int32 and values.min() >= 0 and values.max() < count:
        # Numbers of values already, such as a dictionary's indices: no value needs to be looked at.
        codes = values
    else:
        seen: dict[object, int] = {}
        codes = np.array([seen.setdefault(value, len(seen)) for value in values.tolist()], np.int32)
    if labels is not None:
        by_row, codes = codes, np.empty(count, np.int32)
        codes[labels] = by_row
    return PerValue(codes, int(at_most))


def most_allowed(
    codes: Callable[[slice], NDArray[np.int32]], at_most: int, k: int, count: int
) -> int:
    """Return how many items there can be among the k best.

    Args:
        codes: Gives the values of some rows; of those that are no items, none.
        at_most: How many items of one value.
        k: How many items are wanted.
        count: How many rows there are.
    """
    seen = np.zeros(0, np.int64)
    found, begin = 0, 0
    # Mostly the first few are enough.
    while found < k and begin < count:
        end = 8 * begin or _FIRST_ROWS
        counts = np.bincount(codes(slice(begin, end)), minlength=len(seen))
        counts[: len(seen)] += seen
        seen, begin = counts, end
        found = int(np.minimum(seen, at_most).sum())
    return min(k, found)


def warn_of_few_allowed(per: PerValue | None, k: int, found: int, count: int) -> None:
    """Warn if the limit leaves fewer than k items."""
    if per is not None and found < min(k, count):
        warnings.warn(f"k = {k} but per allows only {found} items: returning these.", stacklevel=3)
