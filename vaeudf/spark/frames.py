"""DataFrames that are evaluated once and used several times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark import StorageLevel
from pyspark.sql import DataFrame


@contextmanager
def kept_on_disk(frame: DataFrame) -> Iterator[DataFrame]:
    """Give a DataFrame whose rows are kept on the executors' disks until the block ends.

    What is read from it several times is the same each time, even if its files change meanwhile.
    """
    kept = frame.persist(StorageLevel.DISK_ONLY)
    try:
        yield kept
    finally:
        # Else Spark would take it for a DataFrame of the same files that another run makes.
        kept.unpersist()
