"""What is told of copies: a row for each member of a group, and one for each pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, StructType

from vaeudf.copies.forest import Groups
from vaeudf.copies.join import divergences_of_pairs
from vaeudf.copies.search import LABEL, NUMBER, Copies
from vaeudf.copies.threshold import Threshold
from vaeudf.errors import InputError
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, quoted
from vaeudf.spark.frames import frame_of, kept_on_disk
from vaeudf.spark.read import read_items_once
from vaeudf.spark.tasks import Batches, tasks_on
from vaeudf.table.open import PosteriorTable

GROUP, SIZE, KEPT, KEPT_ID, DIVERGENCE = "group", "size", "kept", "kept_item_id", "divergence"
OTHER_ID = "other_item_id"
_OWN = (GROUP, SIZE, ITEM_ID, KEPT, KEPT_ID, DIVERGENCE)
_KEPT_MU, _KEPT_LOG_VAR, _PLACE = "__vaeudf_kept_mu", "__vaeudf_kept_log_var", "__vaeudf_place"


def check_columns(names: Sequence[str], found: Sequence[str]) -> None:
    """Check that payload columns can be carried into the result.

    Args:
        names: The columns.
        found: Those that the table has.

    Raises:
        InputError: A column is not there, or has the name of another.
    """
    taken = {name.lower() for name in _OWN}
    for name in names:
        if name.lower() in taken:
            raise InputError(f"column {name!r} is in the result already; leave it out.")
        if name not in found:
            there = f"found {', '.join(found)}" if found else "it has none"
            raise InputError(f"the table has no column {name!r} to carry into the result; {there}.")
        taken.add(name.lower())


@contextmanager
def copies_as_rows(
    spark: SparkSession,
    table: PosteriorTable,
    copies: Copies,
    threshold: Threshold,
    order: Sequence[Column],
    ordered_by: Sequence[str],
    columns: Sequence[str],
) -> Iterator[tuple[DataFrame, DataFrame | None]]:
    """Give a row for each member of a group, and one for each pair, if pairs were asked for.

    Groups are numbered from 0, the largest first, and of one size by the item that is kept, so that
    the numbers do not depend on how the table is stored.

    Args:
        spark: The session.
        table: Where the items are.
        copies: What was found.
        threshold: Says by which divergence.
        order: Of a group's items; the first is kept.
        ordered_by: The payload columns that the order reads.
        columns: The payload columns that the rows of members have.
    """
    members = copies.members(spark)
    carried = list(dict.fromkeys([*ordered_by, *columns]))
    if carried:
        payload = read_items_once(spark, table).select(
            F.col(ITEM_ID).cast("string").alias(ITEM_ID), *(F.col(quoted(x)) for x in carried)
        )
        members = members.join(payload, ITEM_ID, "left")
    with kept_on_disk(members) as rows:
        first = Window.partitionBy(LABEL).orderBy(*order, F.col(NUMBER))
        kept = rows.withColumn(_PLACE, F.row_number().over(first)).where(F.col(_PLACE) == 1)
        kept = kept.select(
            LABEL,
            F.col(ITEM_ID).alias(KEPT_ID),
            F.col(NUMBER).alias(_PLACE),
            F.col(MU).alias(_KEPT_MU),
            F.col(LOG_VAR).alias(_KEPT_LOG_VAR),
        )
        numbers = _numbered(copies.groups, kept.select(LABEL, KEPT_ID).toArrow())
        found = rows.join(kept, LABEL).join(frame_of(spark, numbers), LABEL)
        found = found.withColumn(KEPT, F.col(NUMBER) == F.col(_PLACE))
        told = _measured(found, threshold, columns)
        told = told.orderBy(GROUP, F.desc(KEPT), DIVERGENCE, ITEM_ID)
        pairs = None
        if copies.pairs is not None:
            pairs = _named(copies.pairs, found.select(NUMBER, GROUP, ITEM_ID))
        yield told, pairs


def _numbered(groups: Groups, kept: pa.Table) -> pa.Table:
    """Return the number and the size of each label's group.

    Args:
        groups: The groups.
        kept: The label of each, and the item that is kept.
    """
    sizes = groups.sizes[kept[LABEL].to_numpy()]
    ordered = pa.table({SIZE: sizes, KEPT_ID: kept[KEPT_ID], LABEL: kept[LABEL]}).sort_by(
        [(SIZE, "descending"), (KEPT_ID, "ascending"), (LABEL, "ascending")]
    )
    number = pa.array(np.arange(len(ordered)))
    return pa.table({LABEL: ordered[LABEL], GROUP: number, SIZE: ordered[SIZE]})


def _measured(found: DataFrame, threshold: Threshold, columns: Sequence[str]) -> DataFrame:
    """Return members with their divergences from the items that are kept."""
    posteriors = (MU, LOG_VAR, _KEPT_MU, _KEPT_LOG_VAR)
    names = [GROUP, SIZE, ITEM_ID, KEPT, KEPT_ID, *columns]
    rows = found.select(*(F.col(quoted(name)) for name in (*names, *posteriors)))
    told = StructType([rows.schema[name] for name in names]).add(DIVERGENCE, DoubleType())

    def measure(batches: Batches) -> Batches:
        for batch in batches:
            if batch.num_rows == 0:
                continue
            vectors = [_matrix(batch.column(name)) for name in posteriors]
            values = pa.array(divergences_of_pairs(threshold, *vectors))
            yield pa.RecordBatch.from_arrays(
                [*(batch.column(name) for name in names), values], names=[*names, DIVERGENCE]
            )

    return tasks_on(rows, measure, told)


def _matrix(column: pa.Array) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(column), -1)


def _named(pairs: DataFrame, members: DataFrame) -> DataFrame:
    """Return pairs of numbers as pairs of items, each with its group."""
    one, other = (
        members.select(F.col(NUMBER).alias(name), F.col(ITEM_ID).alias(f"{name}_id"), *more)
        for name, more in (("one", [GROUP]), ("other", []))
    )
    named = pairs.join(one, "one").join(other, "other")
    return named.select(
        GROUP,
        F.least("one_id", "other_id").alias(ITEM_ID),
        F.greatest("one_id", "other_id").alias(OTHER_ID),
        DIVERGENCE,
    ).orderBy(GROUP, ITEM_ID, OTHER_ID)
