"""Compare two tables item by item: what was added and removed, and how far the rest moved."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.health.drift import Drift
from vaeudf.schema import ITEM_ID, LOG_VAR, MU
from vaeudf.spark.passes import FIRST_ITEM, merge_in_place, pass_over_frame
from vaeudf.spark.read import read_table
from vaeudf.table.open import PosteriorTable
from vaeudf.table.vectors import to_matrix

_OLD_MU, _OLD_LOG_VAR, _IS_NEW, _IS_OLD = "old_mu", "old_log_var", "is_new", "is_old"


def compare(
    spark: SparkSession, table: PosteriorTable, old: PosteriorTable, *, posteriors: bool
) -> Drift:
    """Join two tables by item_id.

    Args:
        spark: The session.
        table: The new one.
        old: The old one.
        posteriors: Whether to compare the posteriors as well; they must be of one model.

    Raises:
        InputError: A posterior is not of the table's latent_dim, or not finite.
    """
    new_rows = _rows(spark, table, posteriors).withColumn(_IS_NEW, F.lit(True))
    old_rows = _rows(spark, old, posteriors).withColumn(_IS_OLD, F.lit(True))
    if posteriors:
        old_rows = old_rows.withColumnsRenamed({MU: _OLD_MU, LOG_VAR: _OLD_LOG_VAR})
    joined = new_rows.join(old_rows, ITEM_ID, "full_outer")
    if not posteriors:
        both = F.col(_IS_NEW).isNotNull() & F.col(_IS_OLD).isNotNull()
        row = joined.agg(
            F.count_if(F.col(_IS_OLD).isNull()).alias("added"),
            F.count_if(F.col(_IS_NEW).isNull()).alias("removed"),
            F.count_if(both).alias("common"),
        ).first()
        drift = Drift(table.latent_dim)
        assert row is not None
        drift.added, drift.removed, drift.common = row["added"], row["removed"], row["common"]
        return drift
    # The most partitions that the join can have.
    num_partitions = int(spark.conf.get("spark.sql.shuffle.partitions") or 200)
    count = partial(_count_batches, latent_dim=table.latent_dim)
    return pass_over_frame(joined, num_partitions, count, merge_in_place)


def _rows(spark: SparkSession, table: PosteriorTable, posteriors: bool) -> DataFrame:
    frame = read_table(spark, table)
    names = [MU, LOG_VAR] if posteriors else []
    return frame.select(F.col(ITEM_ID).cast("string").alias(ITEM_ID), *names)


def _count_batches(batches: Iterator[pa.RecordBatch], latent_dim: int) -> Drift:
    drift = Drift(latent_dim)
    for batch in batches:
        is_new, is_old = (pc.is_valid(batch.column(name)) for name in (_IS_NEW, _IS_OLD))
        drift.added += pc.sum(pc.invert(is_old)).as_py() or 0
        drift.removed += pc.sum(pc.invert(is_new)).as_py() or 0
        both = batch.filter(pc.and_(is_new, is_old))
        if both.num_rows:
            drift.add_common(
                both.column(ITEM_ID).to_pylist(),
                *(
                    to_matrix(both, name, latent_dim, FIRST_ITEM)
                    for name in (MU, LOG_VAR, _OLD_MU, _OLD_LOG_VAR)
                ),
            )
    return drift
