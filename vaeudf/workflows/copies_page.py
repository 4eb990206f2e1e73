"""The page of pictures at the end of a search for copies."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from vaeudf.copies.results import DIVERGENCE, GROUP, KEPT, SIZE
from vaeudf.pages.copies_page import Copy, CopyGroup, write_copies_page
from vaeudf.schema import ITEM_ID
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.cli import Summary
from vaeudf.workflows.page_pictures import PagePictures, read_page_pictures
from vaeudf.workflows.pictures import closing_facts, read_facts

_PLACE = "__vaeudf_place"


@dataclass(frozen=True)
class CopiesPage:
    """What a page of copies is made from.

    Attributes:
        folder: Where to write it.
        pictures: The catalog that has the items' pictures.
        num_groups: How many groups to show at most.
        num_items: How many items to show of each at most.
    """

    folder: str
    pictures: PagePictures
    num_groups: int
    num_items: int

    def write(
        self, spark: SparkSession, table: PosteriorTable, members: DataFrame, summary: Summary
    ) -> str:
        """Write the page and return its path.

        Args:
            spark: The session, to read the pictures and payload of the items that are shown.
            table: Where the items are.
            members: A row for each member of a group.
            summary: The run's last line on stdout, so far.
        """
        order = Window.partitionBy(GROUP).orderBy(F.desc(KEPT), DIVERGENCE, ITEM_ID)
        shown = members.where(F.col(GROUP) < self.num_groups)
        shown = shown.withColumn(_PLACE, F.row_number().over(order))
        shown = shown.where(F.col(_PLACE) <= self.num_items).orderBy(GROUP, _PLACE)
        rows = shown.select(GROUP, SIZE, ITEM_ID, KEPT, DIVERGENCE).collect()
        item_ids = sorted({row[ITEM_ID] for row in rows})
        images = read_page_pictures(spark, self.pictures, item_ids) if rows else {}
        facts = read_facts(spark, table, item_ids) if rows else {}
        groups = []
        for number, own in groupby(rows, key=lambda row: int(row[GROUP])):
            found = list(own)
            copies = [
                Copy(
                    item_id=row[ITEM_ID],
                    image=images.get(row[ITEM_ID]),
                    facts=facts.get(row[ITEM_ID], ()),
                    divergence=row[DIVERGENCE],
                    kept=row[KEPT],
                )
                for row in found
            ]
            groups.append(CopyGroup(number, found[0][SIZE], copies))
        return write_copies_page(
            self.folder,
            groups,
            num_items=summary["items"],
            num_groups=summary["groups"],
            num_copies=summary["copies"],
            divergence=summary["divergence"],
            nats=summary["nats"],
            facts=[
                ("items", f"{summary['items']:,}"),
                ("pairs", f"{summary['pairs']:,}"),
                ("groups", f"{summary['groups']:,}"),
                ("divergence", f"{summary['divergence']}, at most {summary['nats']:g} nats"),
                *closing_facts(summary),
            ],
        )
