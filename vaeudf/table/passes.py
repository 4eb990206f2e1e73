"""Passes over all items of a table: work on its parts, whose results are merged.

Who runs a pass decides where the items are and how they are partitioned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.gaussian.arrays import Gaussians

Result = TypeVar("Result")


@dataclass(frozen=True)
class Batch:
    """Some items.

    Attributes:
        items: Their posteriors.
        names: Gives the item_ids of some rows.
        payload: Gives the payload columns of some rows that the pass was asked to read, and
            perhaps ``item_id``; without those that a file of plain Parquet lacks.
    """

    items: Gaussians
    names: Callable[[NDArray[np.int64]], pa.Array]
    payload: Callable[[NDArray[np.int64]], pa.Table] = lambda rows: pa.table({})


Work = Callable[[Iterator[Batch]], Result]
Merge = Callable[[Result, Result], Result]


class Passes(Protocol):
    """Runs passes over the items, however they are kept and partitioned."""

    def __call__(self, work: Work[Result], merge: Merge[Result]) -> Result:
        """Do the work on every part of the items, and merge what comes out of it."""
        ...
