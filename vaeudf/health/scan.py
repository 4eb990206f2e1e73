"""The pass over a table that its health is read from: a census, and which posteriors are copies.

Tasks read splits of row groups, as a query does, and each makes a census of what it has read; these
are merged as a tree. Besides, every item leaves a row with a fingerprint of its posterior, which
Spark groups: the one thing whose size grows with the table, on the executors' disks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark import Broadcast, StorageLevel
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from vaeudf.errors import TableError
from vaeudf.health.census import Census, Scale
from vaeudf.health.findings import Copies, Duplicates
from vaeudf.schema import ITEM_ID, LOG_VAR, MU
from vaeudf.spark.merging import PART, STATE, STATE_TYPE, merge_states, packed
from vaeudf.spark.passes import FIRST_ITEM, cut
from vaeudf.storage.locations import filesystem
from vaeudf.table.footers import RowGroup, read_footers
from vaeudf.table.open import PosteriorTable
from vaeudf.table.splits import Split, SplitReader
from vaeudf.table.vectors import to_matrix

CANDIDATES = 200
"""Items whose density is computed: those farthest from the mean."""

GROUPS_SHOWN = 24
"""Groups of copies that are named, the largest ones."""

IDS_SHOWN = 6
"""Items of such a group that are named."""

_FINGERPRINT = "fingerprint"
_ROW_TYPE = f"{STATE_TYPE}, {ITEM_ID} string, {_FINGERPRINT} long"
# Of a row group of another tool's, which may have a million rows, so many numbers at a time.
_NUMBERS_PER_BLOCK = 2**20
# What the driver reads before the pass, to know what is far and what is alike.
_ROWS_SAMPLED, _GROUPS_SAMPLED, _NUMBERS_SAMPLED = 65_536, 64, 2**23


def scan(
    spark: SparkSession, table: PosteriorTable, num_sampled: int, seed: int
) -> tuple[Census, Duplicates]:
    """Read all of a table's posteriors once.

    Args:
        spark: The session.
        table: What to read; it has at least one item.
        num_sampled: How many items the census takes a sample of.
        seed: Of that sample: it is chosen by a hash of item_id and seed, wherever the rows are.

    Raises:
        TableError: A file cannot be read.
        InputError: A posterior is not of the table's latent_dim, or not finite.
    """
    groups = [group for group in read_footers(table.files) if group.num_rows]
    scale = sample_scale(groups, table.latent_dim)
    tasks = cut(spark, groups, table.latent_dim)
    num_tasks = len(tasks)
    shared = spark.sparkContext.broadcast((tasks, scale))
    latent_dim = table.latent_dim

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in batch.column(0).to_pylist():
                yield from _count(part, shared, latent_dim, num_sampled, seed)

    found = spark.range(0, num_tasks, 1, num_tasks).mapInArrow(count, _ROW_TYPE)
    found = found.persist(StorageLevel.DISK_ONLY)  # read by two, computed once
    try:
        states = found.where(F.col(STATE).isNotNull())
        census = merge_states(states, num_tasks, Census(latent_dim, CANDIDATES, num_sampled))
        return census, _duplicates(found.where(F.col(_FINGERPRINT).isNotNull()))
    finally:
        found.unpersist()
        shared.unpersist()


def sample_scale(groups: list[RowGroup], latent_dim: int) -> Scale:
    """Return the scale of some rows of some row groups from all over the table, read here.

    Args:
        groups: All of the table's, at least one and none of them empty.
        latent_dim: n.
    """
    rng = np.random.default_rng(0)
    chosen = _one_of_each_part(len(groups), _GROUPS_SAMPLED, rng)
    rows = max(1, min(_ROWS_SAMPLED, _NUMBERS_SAMPLED // latent_dim) // len(chosen))
    parts = [
        _read_rows(group, _one_of_each_part(group.num_rows, rows, rng), latent_dim)
        for group in (groups[place] for place in chosen.tolist())
    ]
    mu, log_var = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Scale.fit(mu, log_var)


def _one_of_each_part(count: int, parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return places below count, ascending: one at random of each of so many equal parts.

    Rows and row groups are in k-d order: the first of each part, or every second one, would all
    be on the same side of their cells.
    """
    parts = min(parts, count)
    return np.asarray((np.arange(parts) + rng.random(parts)) * (count / parts), np.int64)


def _read_rows(
    group: RowGroup, rows: NDArray[np.int64], latent_dim: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return mu and log_var of some rows of a group, which are in ascending order."""
    at_once = max(1, _NUMBERS_PER_BLOCK // latent_dim)
    found, seen = [], 0
    system, inner = filesystem(group.file)
    try:
        # Neither ahead nor whole: a row group of another tool's may have a million rows.
        with pq.ParquetFile(inner, filesystem=system, pre_buffer=False, buffer_size=2**20) as file:
            # The ids are for messages.
            columns = {"row_groups": [group.index], "columns": [ITEM_ID, MU, LOG_VAR]}
            for batch in file.iter_batches(at_once, **columns):
                own = rows[(rows >= seen) & (rows < seen + batch.num_rows)] - seen
                seen += batch.num_rows
                both = (to_matrix(batch, name, latent_dim, FIRST_ITEM) for name in (MU, LOG_VAR))
                found.append([values[own] for values in both])
    except (OSError, pa.ArrowException) as error:
        raise TableError(
            f"data file {group.file} cannot be read as Parquet ({error}). If the table was "
            "vacuumed since it was opened, run again."
        ) from None
    mu, log_var = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return mu, log_var


def _count(
    part: int,
    shared: Broadcast[tuple[list[list[Split]], Scale]],
    latent_dim: int,
    num_sampled: int,
    seed: int,
) -> Iterator[pa.RecordBatch]:
    """Read a task's splits; yield the items' fingerprints, and last the task's census."""
    tasks, scale = shared.value
    census = Census(latent_dim, CANDIDATES, num_sampled)
    reader = SplitReader(latent_dim, (), FIRST_ITEM)
    for split in tasks[part]:
        mu, log_var = reader.posteriors(split)
        names = reader.items(np.arange(len(mu))).column(ITEM_ID).combine_chunks()
        rows = max(1, _NUMBERS_PER_BLOCK // latent_dim)
        for start in range(0, len(mu), rows):
            own = slice(start, start + rows)
            ids = names[own].to_numpy(zero_copy_only=False)
            census.add(
                mu[own],
                log_var[own],
                lambda places, ids=ids: ids[places].tolist(),  # type: ignore[misc]
                scale.distance(mu[own]),
                lots(ids, seed),
            )
            fingerprints = pa.array(scale.fingerprint(mu[own], log_var[own]))
            yield _rows(len(ids), None, None, names[own], fingerprints)
    yield _rows(1, part, packed(census), None, None)


def lots(ids: NDArray[np.object_], seed: int) -> NDArray[np.float64]:
    """Return a random number of each item_id, in [0, 1), the same wherever the item is."""
    key = f"{seed % 10**16:016d}"
    hashes = pd.util.hash_array(ids, hash_key=key, categorize=False)
    return np.asarray(hashes >> np.uint64(11), np.float64) / 2**53


def _rows(
    count: int,
    part: int | None,
    state: bytes | None,
    ids: pa.Array | None,
    fingerprints: pa.Array | None,
) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array([part] * count, pa.int64()),
            pa.array([state] * count, pa.binary()),
            pa.nulls(count, pa.string()) if ids is None else ids,
            pa.nulls(count, pa.int64()) if fingerprints is None else fingerprints,
        ],
        [PART, STATE, ITEM_ID, _FINGERPRINT],
    )


def _duplicates(items: DataFrame) -> Duplicates:
    """Group items by fingerprint; the largest groups come with some of their names."""
    groups = items.groupBy(_FINGERPRINT).count().where(F.col("count") > 1)
    groups = groups.persist(StorageLevel.DISK_ONLY)
    try:
        total = groups.agg(F.count("*").alias("groups"), F.sum("count").alias("items")).first()
        largest = groups.orderBy(F.desc("count"), _FINGERPRINT).limit(GROUPS_SHOWN).collect()
    finally:
        groups.unpersist()
    if not largest or total is None:
        return Duplicates(0, 0, ())
    counts = {row[_FINGERPRINT]: row["count"] for row in largest}
    # Never all of a group: a placeholder picture may stand a million times.
    first = Window.partitionBy(_FINGERPRINT).orderBy(ITEM_ID)
    wanted = items.where(F.col(_FINGERPRINT).isin(list(counts))).select(ITEM_ID, _FINGERPRINT)
    wanted = wanted.withColumn("place", F.row_number().over(first))
    named: dict[int, list[str]] = {}
    for row in wanted.where(F.col("place") <= IDS_SHOWN).collect():
        named.setdefault(row[_FINGERPRINT], []).append(row[ITEM_ID])
    copies = [Copies(count, tuple(sorted(named[key]))) for key, count in counts.items()]
    copies.sort(key=lambda one: (-one.items, one.item_ids))
    return Duplicates(total["groups"], total["items"], tuple(copies))
