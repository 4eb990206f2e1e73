"""The pass over a table that examines its health: a census, and which posteriors are copies.

Each task makes a census of what it has read, and these are merged. Each item also leaves a row with
a fingerprint of its posterior on the executors' disks, for Spark to group: only these rows grow in
number with the table.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark import StorageLevel
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from vaeudf.errors import TableError, root_cause
from vaeudf.health.census import Census, Scale
from vaeudf.health.findings import Copies, Duplicates
from vaeudf.schema import ITEM_ID, LOG_VAR, MU
from vaeudf.spark.passes import FIRST_ITEM, TablePasses, merge_in_place
from vaeudf.storage.locations import filesystem
from vaeudf.table.footers import RowGroup
from vaeudf.table.passes import Batch
from vaeudf.table.vectors import to_matrix

CANDIDATES = 200
"""How many items' density is computed: those farthest from the mean."""

GROUPS_SHOWN = 24
"""How many groups of copies are named: the largest ones."""

IDS_SHOWN = 6
"""How many items of such a group are named."""

_FINGERPRINT = "fingerprint"
_ITEM_SCHEMA = pa.schema([(ITEM_ID, pa.string()), (_FINGERPRINT, pa.int64())])
# Numbers of a row group that are read at a time: other tools write row groups of a million rows.
_NUMBERS_PER_BLOCK = 2**20
# The sample that the driver reads before the pass, to know which items are far and which are alike.
_ROWS_SAMPLED, _GROUPS_SAMPLED, _NUMBERS_SAMPLED = 65_536, 64, 2**23


def scan(passes: TablePasses, *, num_sampled: int, seed: int) -> tuple[Census, Duplicates]:
    """Read all of a table's posteriors once.

    Args:
        passes: Runs passes over the table, which has at least one item.
        num_sampled: How many items the census takes a sample of.
        seed: Seed of that sample, which a hash of item_id and seed chooses, wherever the rows are.

    Raises:
        TableError: A file cannot be read.
        InputError: A posterior is not of the table's latent_dim, or not finite.
    """
    latent_dim = passes.table.latent_dim
    count = partial(
        _count_batches,
        census=Census(latent_dim, CANDIDATES, num_sampled),
        scale=sample_scale(passes.groups, latent_dim),
        seed=seed,
    )
    with passes.result_and_rows(count, _ITEM_SCHEMA, merge_in_place) as (census, items):
        return census, _duplicates(items)


def sample_scale(groups: list[RowGroup], latent_dim: int) -> Scale:
    """Return the scale of a sample of rows from all over the table, read by the driver.

    Args:
        groups: The table's row groups, at least one and none of them empty.
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
    """Return numbers below count, ascending: one at random from each of so many equal parts.

    Rows and row groups are in k-d order: the first of each part would all be on the same side of
    their cells.
    """
    parts = min(parts, count)
    return np.asarray((np.arange(parts) + rng.random(parts)) * (count / parts), np.int64)


def _read_rows(
    group: RowGroup, rows: NDArray[np.int64], latent_dim: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return mu and log_var of some rows of a group, which are in ascending order."""
    at_once = max(1, _NUMBERS_PER_BLOCK // latent_dim)
    rows, found, seen = group.stored_places(rows), [], 0
    names = [ITEM_ID, MU, LOG_VAR]
    system, inner = filesystem(group.file)
    try:
        # Neither read ahead nor as a whole, for the row group may be large.
        with pq.ParquetFile(inner, filesystem=system, pre_buffer=False, buffer_size=2**20) as file:
            # The ids are for messages.
            columns = names if group.columns is None else group.columns.stored(names)
            for batch in file.iter_batches(at_once, row_groups=[group.index], columns=columns):
                own = rows[(rows >= seen) & (rows < seen + batch.num_rows)] - seen
                seen += batch.num_rows
                chosen = pa.Table.from_batches([batch]).take(own)
                if group.columns is not None:
                    chosen = group.columns.declared(chosen)
                found.append(
                    [to_matrix(chosen, name, latent_dim, FIRST_ITEM) for name in (MU, LOG_VAR)]
                )
    except (OSError, pa.ArrowException) as error:
        raise TableError(
            f"data file {group.file} cannot be read as Parquet ({root_cause(error)}). If the table "
            "was vacuumed since it was opened, run again."
        ) from None
    mu, log_var = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return mu, log_var


def _count_batches(
    batches: Iterator[Batch], census: Census, scale: Scale, seed: int
) -> Generator[pa.RecordBatch, None, Census]:
    """Yield the fingerprint of each item, and return the census of them all."""
    for batch in batches:
        mu, log_var = batch.items.mu, batch.items.log_var
        names = batch.names(np.arange(len(mu)))
        ids = names.to_numpy(zero_copy_only=False)
        census.add(
            mu,
            log_var,
            ids=lambda rows, ids=ids: ids[rows].tolist(),  # type: ignore[misc]
            distances=scale.distance(mu),
            lots=lots(ids, seed),
        )
        fingerprints = pa.array(scale.fingerprint(mu, log_var))
        yield pa.RecordBatch.from_arrays([names, fingerprints], schema=_ITEM_SCHEMA)
    return census


def lots(ids: NDArray[np.object_], seed: int) -> NDArray[np.float64]:
    """Return a random number in [0, 1) for each item_id, the same wherever the item is stored."""
    key = f"{seed % 10**16:016d}"
    hashes = pd.util.hash_array(ids, hash_key=key, categorize=False)
    return np.asarray(hashes >> np.uint64(11), np.float64) / 2**53


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
        return Duplicates(groups=0, items=0, largest=())
    counts = {row[_FINGERPRINT]: row["count"] for row in largest}
    # Never all of a group: a placeholder picture may occur a million times.
    first = Window.partitionBy(_FINGERPRINT).orderBy(ITEM_ID)
    wanted = items.where(F.col(_FINGERPRINT).isin(list(counts))).select(ITEM_ID, _FINGERPRINT)
    wanted = wanted.withColumn("place", F.row_number().over(first))
    named: dict[int, list[str]] = {}
    for row in wanted.where(F.col("place") <= IDS_SHOWN).collect():
        named.setdefault(row[_FINGERPRINT], []).append(row[ITEM_ID])
    copies = [
        Copies(items=count, item_ids=tuple(sorted(named[key]))) for key, count in counts.items()
    ]
    copies.sort(key=lambda one: (-one.items, one.item_ids))
    return Duplicates(groups=total["groups"], items=total["items"], largest=tuple(copies))
