"""Which clusters of a run are those of an earlier one, and what became of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

_Array = NDArray[np.float64]
_Counts = NDArray[np.int64]

_MAJORITY = 0.5


@dataclass(frozen=True)
class Change:
    """What happened to a cluster that only one of two runs has.

    Attributes:
        cluster: Its number.
        kind: ``split``: it is new, and more than half of its known items were in another cluster;
            ``born``: it is new, and they were not. ``merged``: it is no more, and more than half
            of its items that are still there are in another cluster; ``died``: it is no more, and
            they are not.
        other: The number of that other cluster: where a split one came from, what a merged one
            went into.
    """

    cluster: int
    kind: Literal["born", "split", "died", "merged"]
    other: int | None = None


@dataclass(frozen=True)
class Matching:
    """The numbers of a run's clusters, given those of an earlier run.

    Attributes:
        numbers: Of the run's clusters, (k,).
        changes: What happened to the others; new ones first, each kind by number.
        next_number: What the next new cluster will be called: no number is ever used again.
    """

    numbers: NDArray[np.int32]
    changes: tuple[Change, ...]
    next_number: int


def match_clusters(
    shared: _Counts,
    earlier: NDArray[np.int32],
    next_number: int,
    divergences: _Array | None = None,
) -> Matching:
    """Match clusters with those of an earlier run: one with one, so that they share most items.

    It is an assignment problem (Kuhn, 1955). Where the runs share no item, clusters are matched so
    that the sum of the divergences between their centroids is the least.

    Args:
        shared: How many items cluster i has that cluster j of the earlier run had, (k, m).
        earlier: The numbers of the earlier run's clusters, (m,).
        next_number: What a new cluster is called, above all numbers that were ever used.
        divergences: Between the centroids, (k, m); None if they cannot be compared.
    """
    numbers = np.full(len(shared), -1, np.int32)
    if shared.any():
        rows, columns = linear_sum_assignment(shared, maximize=True)
        real = shared[rows, columns] > 0
        rows, columns = rows[real], columns[real]
    elif divergences is not None:
        rows, columns = linear_sum_assignment(divergences)
    else:
        rows = columns = np.empty(0, np.int64)
    numbers[rows] = earlier[columns]
    new = np.flatnonzero(numbers < 0)
    numbers[new] = next_number + np.arange(len(new))
    gone = np.setdiff1d(np.arange(len(earlier)), columns)
    changes = [
        Change(int(numbers[i]), "born" if other is None else "split", other)
        for i in new
        for other in [_most_of(shared[i], earlier)]
    ]
    changes += [
        Change(int(earlier[j]), "died" if other is None else "merged", other)
        for j in gone[np.argsort(earlier[gone])]
        for other in [_most_of(shared[:, j], numbers)]
    ]
    return Matching(numbers, tuple(changes), next_number + len(new))


def _most_of(counts: _Counts, numbers: NDArray[np.int32]) -> int | None:
    """Return the number of the cluster that has more than half of the items, if one does."""
    largest = int(counts.argmax())
    return int(numbers[largest]) if counts[largest] > _MAJORITY * counts.sum() else None
