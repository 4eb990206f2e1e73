"""A bulk query, as it is sent to the tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.scores import Score
from vaeudf.numerics.boxes import Boxes
from vaeudf.query.latents import Latents
from vaeudf.query.per_value import Per
from vaeudf.search.prepared import nodes_of_boxes, prepare_queries
from vaeudf.search.records import Nodes, Queries

# Memory of what is kept of one group of queries, at some 64 bytes a row with its item_id.
_GROUP_BYTES = 2**28
_BYTES_PER_ROW = 64


@dataclass(frozen=True, kw_only=True)
class Request:
    """A bulk query, as it is sent to the tasks.

    Attributes:
        queries: What is asked for.
        k: How many items per query.
        score: What to rank by.
        tolerance: tau.
        floors: Values below which nothing is wanted, shape (Q,).
        columns: Payload columns to carry into the result.
        explain: Whether to take each hit's score apart.
        cuts: Values below which an item is left out of the sums of q(z|x) over all items, shape
            (Q,); None if no sums are wanted.
        log_num_items: Log of how many items there are, where it is known.
        per: At most how many of the items may have the same value of a column, one of ``columns``.
    """

    queries: Latents
    k: int
    score: Score
    tolerance: Tolerance
    floors: NDArray[np.float64]
    columns: tuple[str, ...] = ()
    explain: bool = False
    cuts: NDArray[np.float64] | None = None
    log_num_items: float = 0.0
    per: Per | None = None

    def groups(self) -> list[NDArray[np.int64]]:
        """Return the queries in groups whose results fit a task's memory together."""
        size = max(1, _GROUP_BYTES // (_BYTES_PER_ROW * self.k))
        everyone = np.arange(len(self.queries))
        return np.split(everyone, np.arange(size, len(everyone), size))

    def prepared_queries(self, group: slice | NDArray[np.int64] = slice(None)) -> Queries:
        """Return the queries, or some of them, as the search reads them."""
        latents = self.queries
        log_var = None if latents.log_var is None else latents.log_var[group]
        return prepare_queries(self.score, latents.z[group], log_var, self.tolerance)

    def nodes(self, boxes: Boxes) -> Nodes:
        """Return row groups' boxes as the search reads them."""
        return nodes_of_boxes(self.score, self.tolerance, boxes)
