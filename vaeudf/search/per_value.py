"""At most so many items of each value, for searches in memory."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.search.records import PerValue


def per_value(
    per: tuple[ArrayLike, int] | None, labels: NDArray[np.int64] | None, count: int
) -> PerValue | None:
    """Return the limit as the search reads it.

    Args:
        per: A value for each item, shape (N,), and how many items of one value.
        labels: The items' labels, shape (N,); their numbers unless given.
        count: How many items there are, N.

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


def warn_of_few_allowed(per: PerValue | None, k: int, found: int, count: int) -> None:
    """Warn if the limit leaves fewer than k items."""
    if per is not None and found < min(k, count):
        warnings.warn(f"k = {k} but per allows only {found} items: returning these.", stacklevel=3)
