"""DataFrames of what is here, such as are evaluated once and used again, and files of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.storage.locations import exists, filesystem, make_folder, spark_uri

_TIMESTAMPS = "spark.sql.parquet.outputTimestampType"


def frame_of(spark: SparkSession, table: pa.Table) -> DataFrame:
    """Return a table's rows as a DataFrame."""
    if table.num_rows == 0:
        # Of a table without rows, Spark Connect does not take the types.
        return spark.createDataFrame([], from_arrow_schema(table.schema))
    # In one chunk: of a table in several, createDataFrame may drop rows (PySpark 4.3).
    return spark.createDataFrame(table.combine_chunks())


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


def write_parquet(frame: DataFrame, folder: str) -> None:
    """Write a DataFrame's rows as Parquet into a folder that is not there yet.

    Args:
        frame: The rows.
        folder: A path or URI.

    Raises:
        FileExistsError: It is there.
    """
    _make_new(folder)
    frame.write.mode("append").parquet(spark_uri(folder))


def write_text(frame: DataFrame, folder: str) -> None:
    """Write a DataFrame's only column, of text without line ends, as lines; as write_parquet does.

    Args:
        frame: The rows.
        folder: A path or URI.

    Raises:
        FileExistsError: It is there.
    """
    _make_new(folder)
    frame.write.mode("append").text(spark_uri(folder), lineSep="\n")


@contextmanager
def timestamps_for_all(spark: SparkSession) -> Iterator[None]:
    """Let Spark write timestamps as Parquet's own: those of its default have no time zone."""
    before = spark.conf.get(_TIMESTAMPS)
    spark.conf.set(_TIMESTAMPS, "TIMESTAMP_MICROS")
    try:
        yield
    finally:
        spark.conf.set(_TIMESTAMPS, str(before))


def _make_new(folder: str) -> None:
    # Else Spark would write the rows beside others.
    if exists(folder):
        raise FileExistsError(f"{folder} is there already.")
    # Spark's folders are closed to other users, whatever the umask. A server of Spark Connect may
    # be one, and then the job could neither rename nor remove what it has had written.
    make_folder(*filesystem(folder))
