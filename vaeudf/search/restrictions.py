"""Which items are searched, and at most how many of each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.search.per_value import per_value
from vaeudf.search.records import PerValue


@dataclass(frozen=True)
class Wanted:
    """The items to search.

    Attributes:
        labels: The items' labels in k-d order, (N,) int64; -1 of those that are not searched.
        count: How many are.
    """

    labels: NDArray[np.int64]
    count: int


class Restrictions:
    """Brings arrays with one entry for each item into the order of a search.

    That takes longer than many a search. So the last array is remembered if nobody can write to it:
    an array of its own that is not writable.
    """

    def __init__(self, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
        """Take in the order of the items.

        Args:
            rows: Where each item was given, in k-d order, shape (N,).
            labels: What the search knows each by, in k-d order, shape (N,).
        """
        self._rows, self._labels = rows, labels
        self._wanted: tuple[NDArray[np.bool_], Wanted] | None = None
        self._limit: tuple[NDArray[Any], PerValue | None] | None = None

    def wanted(self, where: ArrayLike | None) -> Wanted:
        """Return which items to search.

        Args:
            where: Shape (N,) of bool, in the order in which items were given; all unless given.

        Raises:
            InputError: It is not such an array.
        """
        if where is None:
            return Wanted(self._labels, len(self._rows))
        mask = np.asarray(where)
        # Other threads may put their own in its place.
        last = self._wanted
        if last is not None and last[0] is mask:
            return last[1]
        if mask.dtype != np.bool_ or mask.shape != (len(self._rows),):
            raise InputError(
                f"where is an array of {mask.dtype} and shape {mask.shape}; expected bool and "
                f"shape ({len(self._rows)},), one for each item in the order of ids."
            )
        labels = np.where(mask[self._rows], self._labels, -1)
        found = Wanted(labels, int(np.count_nonzero(mask)))
        if _cannot_change(mask):
            self._wanted = (mask, found)
        return found

    def limit(self, per: tuple[ArrayLike, int] | None) -> PerValue | None:
        """Return at most how many items of each value may be found.

        Args:
            per: A value for each item, shape (N,), in the order in which items were given, and how
                many items of one value.

        Raises:
            InputError: It is not one value per item and a whole number of at least 1.
        """
        if per is None:
            return None
        values = np.asarray(per[0])
        last = self._limit
        if last is not None and last[0] is values:
            codes = None if last[1] is None else last[1].codes
            return per_value(per, None, len(self._rows), codes)
        by_row = np.empty(len(self._rows), np.int64)
        by_row[self._rows] = self._labels
        found = per_value(per, by_row, len(self._rows))
        if _cannot_change(values):
            self._limit = (values, found)
        return found


def _cannot_change(array: NDArray[Any]) -> bool:
    return array.flags.owndata and not array.flags.writeable
