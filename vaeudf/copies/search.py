"""The search for copies on Spark: groups of items that near pairs connect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.copies.forest import Groups, connected
from vaeudf.copies.shares import Shares
from vaeudf.copies.tasks import SCHEMA, Task, too_many
from vaeudf.copies.threshold import Threshold
from vaeudf.errors import raised_in_task
from vaeudf.schema import ITEM_ID, LOG_VAR, MU
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.raised import SPARK_ERRORS
from vaeudf.spark.tasks import numbered_tasks
from vaeudf.table.footers import read_row_groups
from vaeudf.table.open import PosteriorTable
from vaeudf.table.splits import SplitReader

NUMBER, LABEL = "__vaeudf_number", "__vaeudf_label"
"""Which item of the table a row is, and which group it belongs to, in no particular order."""

_MEMBERS = pa.schema(
    [
        (NUMBER, pa.int64()),
        (LABEL, pa.int64()),
        (ITEM_ID, pa.string()),
        (MU, pa.list_(pa.float64())),
        (LOG_VAR, pa.list_(pa.float64())),
    ]
)
_TASKS_PER_CORE = 3
_ROWS_PER_BATCH = 16_384


@dataclass(frozen=True)
class Copies:
    """What a search has found.

    Attributes:
        shares: The table in shares.
        groups: The groups.
        num_pairs: How many pairs are near.
        num_compared: How many were compared; boxes and reaches have excluded the others.
        rows_read: How many items the tasks have read.
        pairs: The pairs as rows of two numbers of items and their ``divergence``, if they were
            asked for.
    """

    shares: Shares
    groups: Groups
    num_pairs: int
    num_compared: int
    rows_read: int
    pairs: DataFrame | None

    def members(self, spark: SparkSession) -> DataFrame:
        """Return the groups' items: number, label, ``item_id``, ``mu`` and ``log_var``."""
        shares, groups = self.shares, self.groups
        firsts = np.searchsorted(groups.items, shares.starts)
        wanted = [place for place in range(len(shares.splits)) if firsts[place] < firsts[place + 1]]
        num_tasks = max(1, min(len(wanted), _TASKS_PER_CORE * Cluster.of(spark).num_cores))
        shared = Cluster.of(spark).share((shares, groups, firsts, wanted))

        def rows(number: int) -> Iterator[pa.RecordBatch]:
            shares, groups, firsts, wanted = shared.value
            reader = SplitReader(shares.latent_dim, (), "the table's first item has")
            for place in wanted[number::num_tasks]:
                some = slice(firsts[place], firsts[place + 1])
                own = groups.items[some] - shares.starts[place]
                mu, log_var = (x[own] for x in reader.posteriors(shares.splits[place]))
                columns = [
                    pa.array(groups.items[some]),
                    pa.array(groups.labels[some]),
                    reader.items(own).column(ITEM_ID).combine_chunks(),
                    *(_lists(vectors) for vectors in (mu, log_var)),
                ]
                table = pa.table(columns, schema=_MEMBERS).combine_chunks()
                yield from table.to_batches(max_chunksize=_ROWS_PER_BATCH)

        return numbered_tasks(spark, num_tasks, rows, from_arrow_schema(_MEMBERS))


@contextmanager
def find_copies_of(
    spark: SparkSession,
    table: PosteriorTable,
    threshold: Threshold,
    *,
    max_pairs: int,
    wants_pairs: bool = False,
) -> Iterator[Copies]:
    """Give all groups of items that pairs within a threshold connect.

    Args:
        spark: The session.
        table: Where the items are.
        threshold: How near a pair is.
        max_pairs: How many pairs there may be; of equal items one counts, unless pairs are wanted.
        wants_pairs: Whether the pairs are wanted themselves; they are on the executors' disks until
            the block ends.

    Raises:
        InputError: There are more pairs, or a row's posterior is none.
        TableError: A data file cannot be read.
    """
    Cluster.of(spark).check_seen(*table.snapshot.files[:1])
    groups = [group for group in read_row_groups(table.snapshot) if group.num_rows]
    num_tasks = _TASKS_PER_CORE * Cluster.of(spark).num_cores
    shares = Shares.of(groups, table.latent_dim, num_tasks)
    task = Task(shares, threshold, max_pairs, wants_pairs)
    shared = Cluster.of(spark).share(task)

    def rows(number: int) -> Iterator[pa.RecordBatch]:
        yield from shared.value.rows(number)

    found = numbered_tasks(spark, len(shares), rows, from_arrow_schema(SCHEMA))
    if wants_pairs:
        found = found.persist(StorageLevel.DISK_ONLY)
    try:
        is_pair = F.col("divergence").isNotNull()
        try:
            edges = found.where(~is_pair).drop("divergence").toArrow()
        except SPARK_ERRORS as error:
            raise raised_in_task(error) or error from None
        done = edges.filter(edges["pairs"].is_valid())
        edges = edges.filter(edges["one"].is_valid())
        num_pairs, compared, rows_read = (
            sum(done[name].to_pylist()) for name in ("pairs", "compared", "rows_read")
        )
        if wants_pairs and num_pairs > max_pairs:
            raise too_many(task, num_pairs, table.num_items)
        yield Copies(
            shares,
            connected(edges["one"].to_numpy(), edges["other"].to_numpy()),
            num_pairs,
            compared,
            rows_read,
            found.where(is_pair).select("one", "other", "divergence") if wants_pairs else None,
        )
    finally:
        if wants_pairs:
            found.unpersist()
        shared.free()


def _lists(vectors: NDArray[np.floating]) -> pa.Array:
    ends = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(vectors.astype(np.float64).ravel()))
