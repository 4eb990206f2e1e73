"""Items that could not be encoded: held against a limit, and kept in quarantine."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.catalog.reader import UNAVAILABLE
from vaeudf.errors import TooManyFailures
from vaeudf.schema import ITEM_ID, MESSAGE, REASON, SOURCE_VERSION
from vaeudf.spark.frames import write_parquet
from vaeudf.storage.locations import exists, spark_literal
from vaeudf.table.runs import quarantine_folder

log = logging.getLogger(__name__)

_ROWS_PER_FILE = 1_000_000


def check_failures(
    rows: DataFrame, quarantined: Mapping[str, int], total: int, max_fraction: float
) -> None:
    """Raise an error if too many items could not be encoded, or all.

    Args:
        rows: Has ``item_id``, ``reason`` and ``message``; only read for the error's examples.
        quarantined: Failures by reason.
        total: How many items there are.
        max_fraction: The fraction of them that may fail.

    Raises:
        TooManyFailures: More have failed.
    """
    failed = sum(quarantined.values())
    if failed / total <= max_fraction and failed < total:
        return
    examples = rows.where(F.col(REASON).isNotNull()).orderBy(ITEM_ID).limit(5).collect()
    raise TooManyFailures(
        f"{failed} of {total} items cannot be encoded, more than --max-error-fraction "
        f"{max_fraction:g} allows; nothing was published. By reason: "
        f"{', '.join(f'{reason} {count}' for reason, count in quarantined.items())}. For example: "
        + "; ".join(f"{row[ITEM_ID]}: {row[MESSAGE].rstrip('.')}" for row in examples)
        + ". What could be encoded is kept for the next run."
    )


def write_quarantine(rows: DataFrame, num_failed: int, table: str, run_id: str) -> None:
    """Write the items that could not be encoded to the run's quarantine folder.

    Args:
        rows: Has ``item_id``, ``source_version``, ``reason`` and ``message``.
        num_failed: How many of them have a reason.
        table: The table.
        run_id: The run.
    """
    failures = rows.where(F.col(REASON).isNotNull())
    failures = failures.select(ITEM_ID, SOURCE_VERSION, REASON, MESSAGE)
    num_files = -(-num_failed // _ROWS_PER_FILE)
    write_parquet(failures.repartition(num_files), quarantine_folder(table, run_id))


def log_quarantine(quarantined: Mapping[str, int], folder: str) -> None:
    """Say how many items are in quarantine, and where.

    Args:
        quarantined: Failures by reason.
        folder: The run's quarantine.
    """
    if quarantined:
        reasons = ", ".join(f"{count} {reason}" for reason, count in quarantined.items())
        total = sum(quarantined.values())
        log.info("%d items are in quarantine (%s): see %s.", total, reasons, folder)


def read_quarantine(spark: SparkSession, table: str, run_id: str) -> DataFrame | None:
    """Return what a run has put into quarantine; None if that is nothing."""
    folder = quarantine_folder(table, run_id)
    return spark.read.parquet(spark_literal(folder)) if exists(folder) else None


def not_tried_again(rows: DataFrame | None, *, retry_quarantined: bool) -> DataFrame | None:
    """Leave out failures that another try may mend, though the image is the same.

    Args:
        rows: Has ``reason``, null for items that were encoded; None if there are none.
        retry_quarantined: Whether all failures are tried again, or only images that could not be
            opened or read.
    """
    if rows is None:
        return None
    if retry_quarantined:
        return rows.where(F.col(REASON).isNull())
    return rows.where(F.coalesce(REASON, F.lit("")) != UNAVAILABLE)


def same_failures(rows: DataFrame, quarantine: DataFrame | None) -> bool:
    """Whether all that failed is in quarantine already, for the same reason.

    Args:
        rows: Has ``item_id``, ``source_version`` and ``reason``.
        quarantine: As :func:`read_quarantine` returns it.
    """
    failures = rows.where(F.col(REASON).isNotNull()).select(ITEM_ID, SOURCE_VERSION, REASON)
    if quarantine is not None:
        failures = failures.join(quarantine, failures.columns, "left_anti")
    return failures.isEmpty()
