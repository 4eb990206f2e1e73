"""The page of an inspection: reads the pictures, and takes everything else from the findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import SparkSession

from vaeudf.health.findings import Findings
from vaeudf.pages.health_page import pictured, write_health_page
from vaeudf.pages.picture_agreement import ExamplePictures
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.page_pictures import PagePictures, read_page_pictures
from vaeudf.workflows.pictures import read_facts


@dataclass(frozen=True)
class HealthPage:
    """Where the page goes, and where its pictures come from.

    Attributes:
        folder: Where to write it.
        pictures: The catalog; None if it is not known where it is.
        examples: The pictures of hits beside those of z, if they were compared.
    """

    folder: str
    pictures: PagePictures | None
    examples: ExamplePictures | None = None

    def write(
        self,
        spark: SparkSession,
        table: PosteriorTable,
        findings: Findings,
        seconds: Mapping[str, float],
    ) -> str:
        """Write the page and return its path."""
        item_ids = sorted(pictured(findings))
        images = None
        if self.pictures is not None:
            images = read_page_pictures(spark, self.pictures, item_ids)
        facts = read_facts(spark, table, item_ids) if item_ids else {}
        return write_health_page(self.folder, findings, images, facts, seconds, self.examples)
