"""Items that stand alone: where the posteriors of all others are least dense.

The query engine's sums over all items are no help here. An outlier's own posterior is nearly all
there is at its mu, and to take it off again would leave rounding: it has to be left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import Broadcast
from pyspark.sql import SparkSession

from vaeudf.gaussian import log_prob
from vaeudf.health.examine import log_mean_without_self
from vaeudf.health.findings import Outlier
from vaeudf.numerics.log_sums import LogSums
from vaeudf.numerics.sketches import TopList
from vaeudf.schema import ITEM_ID
from vaeudf.spark.merging import STATE_TYPE, merge_states, state_batch
from vaeudf.spark.passes import FIRST_ITEM, cut
from vaeudf.table.delta import PosteriorTable
from vaeudf.table.footers import read_footers
from vaeudf.table.splits import Split, SplitReader

# Pairs that are scored at a time: some MB for each array of them.
_PAIRS = 2**20


def outliers(
    spark: SparkSession, table: PosteriorTable, candidates: TopList, most: int
) -> list[Outlier]:
    """Return the candidates at whose mu the other items' posteriors are least dense, lowest first.

    Every item is scored for every candidate, in float64, by a second pass over the table.

    Args:
        spark: The session.
        table: What they are items of.
        candidates: Items, with their distance.
        most: How many to return.
    """
    if len(candidates) == 0 or table.num_items < 2:
        return []
    others = _sums_of_others(spark, table, candidates)
    density = log_mean_without_self(candidates.mu, candidates.log_var, others, table.num_items)
    found = [
        Outlier(name, float(log_density), float(distance))
        for name, log_density, distance in zip(
            candidates.ids, density, candidates.values, strict=True
        )
    ]
    found.sort(key=lambda one: (one.log_density, -one.distance, one.item_id))
    return found[:most]


def _sums_of_others(
    spark: SparkSession, table: PosteriorTable, candidates: TopList
) -> NDArray[np.float64]:
    """Return log Σ q(mu_c|x') over the items that are no candidates, shape (C,)."""
    count, latent_dim = len(candidates), table.latent_dim
    if table.num_items <= count:
        return np.full(count, -np.inf)
    groups = [group for group in read_footers(table.files) if group.num_rows]
    tasks = cut(spark, groups, latent_dim)
    shared = spark.sparkContext.broadcast((tasks, candidates.mu, candidates.ids))

    def add_up(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in batch.column(0).to_pylist():
                yield state_batch(part, _add_up(part, shared, latent_dim))

    states = spark.range(0, len(tasks), 1, len(tasks)).mapInArrow(add_up, STATE_TYPE)
    try:
        return merge_states(states, len(tasks), LogSums(count)).logarithms()
    finally:
        shared.unpersist()


def _add_up(
    part: int,
    shared: Broadcast[tuple[list[list[Split]], NDArray[np.float64], list[str]]],
    latent_dim: int,
) -> LogSums:
    tasks, z, ids = shared.value
    own = pa.array(ids, pa.string())
    sums = LogSums(len(z))
    reader = SplitReader(latent_dim, (), FIRST_ITEM)
    rows = max(1, _PAIRS // len(z))
    for split in tasks[part]:
        mu, log_var = reader.posteriors(split)
        names = reader.items(np.arange(len(mu))).column(ITEM_ID)
        others = np.flatnonzero(~pc.is_in(names, own).to_numpy())
        for start in range(0, len(others), rows):
            block = others[start : start + rows]
            sums.add(log_prob(z, mu[block], log_var[block]))
    return sums
