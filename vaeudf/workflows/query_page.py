"""The page of pictures at the end of a bulk query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import Row, SparkSession

from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.scores import Score
from vaeudf.pages.query_page import BlendMember, Hit, Part, Result, write_query_page
from vaeudf.query.blends import Blends
from vaeudf.query.latents import Latents
from vaeudf.query.per_value import Per
from vaeudf.schema import (
    CANDIDATE_RANK,
    ITEM_ID,
    LOG_P_X_GIVEN_Z,
    PICTURE_ERROR,
    QUERY_ID,
    RANK,
)
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.cli import Summary
from vaeudf.workflows.page_pictures import PagePictures, read_page_pictures
from vaeudf.workflows.photos import read_photos
from vaeudf.workflows.pictures import closing_facts, read_facts, slider_range
from vaeudf.workflows.share_table import LEAST_TOLD, Leading

if TYPE_CHECKING:
    from vaeudf.model.bundle import Bundle

# How many values' shares the page has room for beside each query.
_PARTS = 5


@dataclass(frozen=True)
class QueryPage:
    """What a page of hits is made from.

    Attributes:
        folder: Where to write it.
        decoder: The model that decodes z.
        pictures: Where the items' pictures are.
        num_queries: How many queries to show at most.
        slider_range: a of the sliders' travel [-a, a]; chosen so that all fits unless given.
        photos: Whether the queries are photos, named by their paths.
        items: Queries, or members of blends, that are items of the catalog.
    """

    folder: str
    decoder: Bundle
    pictures: PagePictures
    num_queries: int
    slider_range: float | None
    photos: bool = False
    items: frozenset[str] = frozenset()

    def write(
        self,
        spark: SparkSession,
        table: PosteriorTable,
        latents: Latents,
        hits: Sequence[Row],
        score: Score,
        summary: Summary,
        shares: Mapping[str, Leading],
    ) -> str:
        """Write the page and return its path.

        Args:
            spark: The session, to read the pictures and payload of the items that are shown.
            table: What was searched.
            latents: The queries.
            hits: The hits of those that are shown, at least.
            score: What they are ranked by.
            summary: What is known of the run.
            shares: The leading shares of those that are shown, where they were asked for.
        """
        shown = latents.ids[: self.num_queries]
        rows = sorted((hit for hit in hits if hit[QUERY_ID] in shown), key=lambda hit: hit[RANK])
        item_ids = sorted({row[ITEM_ID] for row in rows})
        blends = latents if isinstance(latents, Blends) else None
        members = {} if blends is None else {name: blends.shown_members(name) for name in shown}
        named = {name for some in members.values() for name, _ in some}
        images = read_page_pictures(
            spark, self.pictures, sorted({*item_ids, *(named & self.items)})
        )
        facts = read_facts(spark, table, item_ids)
        # A dimension that is left open is shown at 0, the prior's mean.
        z = np.nan_to_num(latents.z)
        decoded = self.decoder.decode(z[: len(shown)])
        asked = shown if blends is None else sorted(named - self.items)
        photos = read_photos(asked) if self.photos else {}
        results, reranked = [], "rerank" in summary
        for place, query_id in enumerate(shown):
            own = [
                Hit(
                    rank=row[RANK],
                    item_id=row[ITEM_ID],
                    score=row[LOG_P_X_GIVEN_Z if reranked else score.name],
                    image=images.get(row[ITEM_ID]),
                    facts=[*facts.get(row[ITEM_ID], ()), *_of_pictures(row, reranked=reranked)],
                )
                for row in rows
                if row[QUERY_ID] == query_id
            ]
            parts = _parts(shares.get(query_id), summary.get("share", ""))
            if blends is None:
                photo = photos.get(query_id)
                results.append(
                    Result(query_id, latents.z[place], decoded[place], own, photo, parts)
                )
                continue
            pictured = [
                BlendMember(item_id=name, image=(photos | images).get(name), liked=liked)
                for name, liked in members[query_id]
                if name in self.items or name in photos
            ]
            results.append(
                Result(
                    blends.title(query_id),
                    latents.z[place],
                    decoded[place],
                    own,
                    parts=parts,
                    members=pictured,
                    caption=blends.caption(query_id),
                )
            )
        return write_query_page(
            self.folder,
            results,
            title="Most like these",
            num_items=summary["items"],
            score=score,
            rule=_rule(summary),
            share_of=summary.get("share", ""),
            blends=blends is not None,
            candidates=summary["candidates"] if reranked else None,
            facts=_facts_of_run(summary),
            slider_range=self.slider_range or slider_range(self.decoder, z),
            omitted=len(latents) - len(shown),
        )


def _of_pictures(hit: Row, *, reranked: bool) -> list[tuple[str, str]]:
    """Return what an item's card says of a hit that was ranked by its picture."""
    if not reranked:
        return []
    told = [("candidate rank", f"was no. {hit[CANDIDATE_RANK]:,}")]
    if hit[PICTURE_ERROR] is not None:
        told.append(("picture error", f"error {hit[PICTURE_ERROR]:.4f}"))
    return told


def _parts(found: Leading | None, column: str) -> list[Part]:
    """Return a query's shares of a column's values as the page shows them."""
    if found is None:
        return []
    shown = found.values[:_PARTS]
    parts = [Part(f"no {column}" if value is None else value, share) for value, share in shown]
    others = found.others + len(found.values) - len(shown)
    rest = found.rest + sum(share for _, share in found.values[_PARTS:])
    if others and rest >= LEAST_TOLD:
        parts.append(Part("1 other" if others == 1 else f"{others:,} others", rest))
    return parts


def tolerance_text(tolerance: Tolerance | str) -> str:
    """Return a tolerance, one for each dimension, or a text instead, as people read it."""
    if isinstance(tolerance, str):
        return tolerance
    return ", ".join(f"{tau:g}" for tau in np.atleast_1d(tolerance))


def _rule(summary: Summary) -> str:
    """Return, for the page, by what rule hits were chosen besides their score; "" for none."""
    if "per" in summary:
        per = Per.of(summary["per"])
        return f"At most {per.at_most} of each {per.column}."
    if "distinct" in summary:
        hidden = f"{summary['hidden']:,} nearer ones were hidden"
        return f"No two hits are nearer to each other than {summary['distinct']:g} nats; {hidden}."
    if "diversify" in summary:
        count = f"{summary['candidates']:,}"
        return f"They are chosen from the best {count} of each query to be unlike each other."
    return ""


def _facts_of_run(summary: Summary) -> list[tuple[str, str]]:
    """Return what a page says of the run."""
    facts = [
        ("queries", f"{summary['queries']:,}"),
        ("items", f"{summary['items']:,}"),
        ("ranked by", summary["score"]),
        ("tolerance", tolerance_text(summary["tolerance"])),
        ("pairs scored", f"{summary['scored_fraction']:.2%}"),
        ("rows shuffled per query", f"{summary['rows_shuffled_per_query']:g}"),
    ]
    if "rerank" in summary:
        unread = summary["pictures_unreadable"]
        facts.append(("ranked again by", f"p(x|z) of {summary['candidates']:,} candidates"))
        facts.append(("likelihood", summary["likelihood"]))
        facts.append(("pictures read", f"{summary['pictures_read']:,}, unreadable {unread:,}"))
    if "without_bound" in summary:
        count = f"{summary['without_bound']:,} of {summary['queries']:,}"
        facts.append(("blends scored by the formula alone", count))
    if "row_groups" in summary:
        read = f"{summary['row_groups_read']:,} of {summary['row_groups']:,}"
        facts.append(("row groups read", read))
    if "hub_share" in summary:
        share = f"{summary['hub_item']}, in {summary['hub_share']:.0%} of the queries"
        facts.append(("most frequent hit", share))
    return facts + closing_facts(summary)
