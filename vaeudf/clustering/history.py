"""Clusters numbered as those of an earlier run that they share items with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from vaeudf.clustering.api import CLUSTER, Clustering, GivenClusters
from vaeudf.clustering.matching import Matching, match_clusters
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.schema import ITEM_ID

_EARLIER, _COUNT = "earlier", "count"


def numbered_like(
    clustering: Clustering,
    earlier: GivenClusters,
    earlier_items: DataFrame,
    next_number: int,
    *,
    same_model: bool,
) -> tuple[Clustering, Matching]:
    """Return a clustering with the numbers of the earlier clusters that it matches.

    Args:
        clustering: A clustering.
        earlier: The clusters of an earlier run.
        earlier_items: Its items, with ``item_id`` and ``cluster``.
        next_number: What a new cluster is called, above all numbers that were ever used.
        same_model: Whether both are of the encodings of one model: where the runs share no item,
            clusters are then matched by their centroids.
    """
    places = {int(number): place for place, number in enumerate(earlier.numbers)}
    own = {int(number): place for place, number in enumerate(clustering.numbers)}
    shared = np.zeros((len(own), len(places)), np.int64)
    before = earlier_items.select(ITEM_ID, F.col(CLUSTER).alias(_EARLIER))
    both = clustering.items().join(before, ITEM_ID).groupBy(CLUSTER, _EARLIER)
    for row in both.agg(F.count("*").alias(_COUNT)).collect():
        shared[own[row[CLUSTER]], places[row[_EARLIER]]] = row[_COUNT]
    divergences = None
    if same_model and not shared.any():
        divergences = _between(clustering, earlier.centroids)
    matching = match_clusters(shared, earlier.numbers, next_number, divergences)
    return replace(clustering, numbers=matching.numbers), matching


def _between(clustering: Clustering, earlier: Gaussians) -> NDArray[np.float64]:
    """Return the divergence of every centroid from every earlier one, (k, m)."""
    k, m = clustering.k, len(earlier)
    new = clustering.centroids.take(np.repeat(np.arange(k), m))
    old = earlier.take(np.tile(np.arange(m), k))
    return clustering.divergence.of_pairs(new, old).reshape(k, m)
