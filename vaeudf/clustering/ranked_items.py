"""The few items of each cluster with the lowest values, by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from vaeudf.table.passes import Batch

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class RankedItems:
    """The items of each cluster with the lowest values, ascending; equal values go by item_id.

    Attributes:
        size: How many of each cluster at most.
        clusters: Shape (m,).
        values: Shape (m,).
        names: m item_ids.
    """

    size: int
    clusters: NDArray[np.int32]
    values: _Array
    names: pa.Array

    @classmethod
    def empty(cls, size: int) -> RankedItems:
        """Return a ranking without items."""
        return cls(
            size,
            clusters=np.empty(0, np.int32),
            values=np.empty(0),
            names=pa.array([], pa.string()),
        )

    @classmethod
    def of(
        cls, size: int, clusters: NDArray[np.int32], values: _Array, names: pa.Array
    ) -> RankedItems:
        """Return the lowest of items with clusters and values (N,), and N names."""
        by_name = pa.compute.sort_indices(names).to_numpy()
        ranks = np.empty(len(by_name), np.int64)
        ranks[by_name] = np.arange(len(by_name))
        order = np.lexsort((ranks, values, clusters))
        kept = order[_places(clusters[order]) < size]
        return cls(
            size, clusters=clusters[kept], values=values[kept], names=names.take(pa.array(kept))
        )

    @classmethod
    def of_batch(
        cls, size: int, clusters: NDArray[np.int32], values: _Array, batch: Batch
    ) -> RankedItems:
        """Return the lowest of a batch's items; it reads the names of few others."""
        order = np.lexsort((values, clusters))
        places = _places(clusters[order])
        # The lowest of each cluster, and all that are equal to the last of them: ids break ties.
        firsts = np.flatnonzero(places == 0)
        lengths = np.diff(firsts, append=len(order))
        last = values[order][firsts + np.minimum(size, lengths) - 1]
        rows = order[values[order] <= np.repeat(last, lengths)]
        return cls.of(size, clusters[rows], values[rows], batch.names(rows))

    def merge(self, other: RankedItems) -> RankedItems:
        """Return the lowest of both."""
        return RankedItems.of(
            self.size,
            np.concatenate([self.clusters, other.clusters]),
            np.concatenate([self.values, other.values]),
            pa.concat_arrays([self.names, other.names]),
        )

    def of_cluster(self, cluster: int) -> list[tuple[str, float]]:
        """Return one cluster's items and values, the lowest first."""
        rows = np.flatnonzero(self.clusters == cluster)
        names = self.names.take(pa.array(rows)).to_pylist()
        return list(zip(names, self.values[rows].tolist(), strict=True))


def _places(clusters: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return each row's place among those of its cluster; rows are in the order of clusters."""
    firsts = np.flatnonzero(np.diff(clusters, prepend=-1))
    lengths = np.diff(firsts, append=len(clusters))
    return np.asarray(np.arange(len(clusters)) - np.repeat(firsts, lengths))
