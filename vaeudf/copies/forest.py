"""Connected groups of what pairs connect."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.copies import set_kernels

_Numbers = NDArray[np.int64]


class Forest:
    """Which of a set's members pairs connect, directly or by others.

    It holds one number for each member, however many pairs there are.
    """

    def __init__(self, size: int) -> None:
        """Begin with members that are all by themselves."""
        self._parent = np.arange(size)

    def __len__(self) -> int:
        return len(self._parent)

    def extend(self, size: int) -> None:
        """Add members that are all by themselves."""
        self._parent = np.concatenate([self._parent, len(self) + np.arange(size)])

    def truncate(self, size: int) -> None:
        """Forget all members but the first, whose roots are all among these."""
        self._parent = self._parent[:size].copy()

    def connect(self, one: NDArray[np.integer], other: NDArray[np.integer]) -> None:
        """Connect the members of pairs, (P,) each."""
        set_kernels.unite(self._parent, one.astype(np.int64), other.astype(np.int64))

    def roots(self) -> _Numbers:
        """Return the first member of each member's group, (N,)."""
        found = np.empty(len(self), np.int64)
        set_kernels.roots(self._parent, found)
        return found


class Groups(NamedTuple):
    """Groups of items that pairs connect, each of two items or more.

    Attributes:
        items: The items' numbers, ascending, (M,).
        labels: Of each the group, (M,): from 0, in the order of the groups' first items.
        sizes: Of the groups, (G,).
    """

    items: _Numbers
    labels: _Numbers
    sizes: _Numbers


def connected(one: _Numbers, other: _Numbers) -> Groups:
    """Return the groups that pairs of numbers connect; their memory is that of the pairs."""
    items = np.unique(np.concatenate([one, other]))
    forest = Forest(len(items))
    forest.connect(np.searchsorted(items, one), np.searchsorted(items, other))
    _, labels, sizes = np.unique(forest.roots(), return_inverse=True, return_counts=True)
    return Groups(items, labels.astype(np.int64), sizes.astype(np.int64))
