"""A posterior table as a DataFrame."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from vaeudf.storage.locations import spark_literal
from vaeudf.table.open import PosteriorTable


def read_table(spark: SparkSession, table: PosteriorTable) -> DataFrame:
    """Return a posterior table's version as a DataFrame, payload included."""
    return spark.read.parquet(*(spark_literal(uri) for uri in table.files))
