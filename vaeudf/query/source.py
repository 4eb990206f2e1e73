"""What a bulk query searches: a posterior table, by its row groups, or any DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from vaeudf.query.latents import Latents
from vaeudf.spark.cluster import Cluster, current_session
from vaeudf.spark.counters import Counts
from vaeudf.spark.read import read_table
from vaeudf.table.footers import RowGroup, read_row_groups
from vaeudf.table.open import PosteriorTable, open_posteriors


@dataclass(frozen=True)
class Source:
    """The posteriors of a bulk query.

    Attributes:
        spark: The session.
        counts: What the tasks count into.
        frame: The DataFrame; None for a table.
        table: The table; None for a DataFrame.
        groups: The table's row groups; none for a DataFrame.
    """

    spark: SparkSession
    counts: Counts
    frame: DataFrame | None = None
    table: PosteriorTable | None = None
    groups: Sequence[RowGroup] = ()

    @classmethod
    def of(cls, posteriors: str | PosteriorTable | DataFrame, latents: Latents) -> Source:
        """Open the posteriors that these queries ask for.

        Raises:
            InputError: The table has another latent_dim than the queries.
            TableError: The path does not hold posteriors.
        """
        if isinstance(posteriors, DataFrame):
            spark = posteriors.sparkSession
            return cls(spark, Cluster.of(spark).counts(), frame=posteriors)
        spark = current_session()
        counts = Cluster.of(spark).counts()
        table = open_posteriors(posteriors) if isinstance(posteriors, str) else posteriors
        latents.check_latent_dim(table.latent_dim)
        Cluster.of(spark).check_seen(*table.snapshot.files[:1])
        return cls(spark, counts, table=table, groups=read_row_groups(table.snapshot))

    @property
    def num_items(self) -> int | None:
        """How many items there are; None if only the tasks can tell."""
        return None if self.table is None else self.table.num_items

    def payload(self, columns: Sequence[str]) -> DataFrame | None:
        """Return what has the payload columns; None if none are asked for of a table."""
        if self.table is None:
            return self.frame
        # Only if needed: Spark opens the files to find the types of the payload.
        return read_table(self.spark, self.table) if columns else None
