"""A bulk query, as it is sent to the tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.blends import Blended
from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.scores import Score
from vaeudf.gaussian.variances import blurred
from vaeudf.numerics.boxes import Boxes
from vaeudf.query.blends import Blends
from vaeudf.query.latents import Latents
from vaeudf.query.per_value import Per
from vaeudf.schema import LOG_VAR, MU
from vaeudf.search.nodes import nodes_of_boxes
from vaeudf.search.prepared import prepare_queries
from vaeudf.search.records import Nodes, Queries

# Memory of what is kept of one group of queries, at some 64 bytes a row with its item_id.
_GROUP_BYTES = 2**28
_BYTES_PER_ROW = 64


@dataclass(frozen=True, kw_only=True)
class Request:
    """A bulk query, as it is sent to the tasks.

    Attributes:
        queries: What is asked for; where they have tolerances of their own, all are given.
        k: How many items per query.
        score: What to rank by.
        tolerance: tau of all queries; 0 where they have tolerances of their own.
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
        vectors = sum(name in (MU, LOG_VAR) for name in self.columns)
        bytes_per_row = _BYTES_PER_ROW + 8 * vectors * self.queries.latent_dim
        size = max(1, _GROUP_BYTES // (bytes_per_row * self.k))
        everyone = np.arange(len(self.queries))
        return np.split(everyone, np.arange(size, len(everyone), size))

    def of_queries(self, places: NDArray[np.int64]) -> Request:
        """Return the request of some of the queries alone, (q,)."""
        return replace(
            self,
            queries=self.queries.subset(places),
            floors=self.floors[places],
            cuts=None if self.cuts is None else self.cuts[places],
        )

    def prepared_queries(self, group: slice | NDArray[np.int64] = slice(None)) -> Queries:
        """Return the queries, or some of them, as the search reads them."""
        latents, blended = self.queries, self.blended(group)
        if blended is not None:
            return prepare_queries(self.score, blended.mu, blended.terms, self.tolerance)
        log_var = None if latents.log_var is None else latents.log_var[group]
        if latents.tolerance is not None:
            # To the search, a point with a tolerance is a Gaussian with the variance tau².
            with np.errstate(divide="ignore"):
                log_var = 2.0 * np.log(latents.tolerance[group])
        return prepare_queries(self.score, latents.z[group], log_var, self.tolerance)

    def blended(self, group: slice | NDArray[np.int64] = slice(None)) -> Blended | None:
        """Return the queries, or some of them, if they are blends."""
        if not isinstance(self.queries, Blends):
            return None
        members = self.queries.members.take(np.arange(len(self.queries))[group])
        return members.blended(self.tolerance, divergence=self.score.ascending)

    def blurred(
        self, log_var: NDArray[np.floating], places: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return log(sigma² + tau²) of one item for each of some queries, both of shape (q, n)."""
        own = self.queries.tolerance
        if own is None:
            return blurred(log_var, self.tolerance)
        with np.errstate(divide="ignore"):
            return np.asarray(np.logaddexp(log_var, 2.0 * np.log(own[places])))

    def nodes(self, boxes: Boxes) -> Nodes:
        """Return row groups' boxes as the search reads them."""
        return nodes_of_boxes(self.score, self.tolerance, boxes)
