"""What query_topk tells of a run at its end."""

from __future__ import annotations

import logging
from typing import Any

from vaeudf.query.bulk import BulkQuery
from vaeudf.query.latents import Latents
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.blending import facts_of
from vaeudf.workflows.cli import Summary
from vaeudf.workflows.hits import rule_of
from vaeudf.workflows.query_page import tolerance_text

log = logging.getLogger(__name__)

# Above this share of the queries an item is a hub, if there are enough queries to tell.
_HUB_SHARE = 0.1
_QUERIES_FOR_HUBS = 20


def summary_of(
    options: Any,
    table: PosteriorTable,
    query: BulkQuery,
    latents: Latents,
    hub: tuple[str, float] | None,
) -> Summary:
    """Return what the job tells of a run, and say so if an item is a hit of many queries.

    Args:
        options: Those of query_topk.
        table: What was searched.
        query: The bulk query, evaluated.
        latents: The queries.
        hub: The most frequent hit, and of what part of the queries it is one.
    """
    items = table.num_items if options.where is None else query.counts.num_items.value
    summary: Summary = {
        "queries": len(latents),
        "items": items,
        **({"all": True} if options.all else {"k": options.num_hits}),
        "score": query.score.name,
        "tolerance": options.query_options().tolerance
        if latents.tolerance is None
        else "of each query",
        **facts_of(latents),
        **rule_of(options),
        "table": table.uri,
        "version": table.version,
        "scored_fraction": round(query.counts.scored.value / max(1, len(latents) * items), 6),
        "rows_shuffled_per_query": round(query.counts.rows_out.value / len(latents), 1),
    }
    if query.row_groups:
        summary["row_groups"] = query.row_groups
        summary["row_groups_read"] = query.counts.row_groups.value
    if hub is not None:
        item_id, share = hub
        summary["hub_share"] = round(share, 4)
        summary["hub_item"] = item_id
        # Hits that were ranked again are what the decoder prefers, whatever the tolerance.
        by_score = options.rerank is None
        if by_score and share > _HUB_SHARE and len(latents) >= _QUERIES_FOR_HUBS:
            log.info(
                "item %r is among the hits of %.0f %% of the queries: where z is far from all "
                "items, those with the widest posteriors win. If z is meant only roughly, say how "
                "roughly with --tolerance (now %s), such as a hundredth of the sliders' range.",
                item_id,
                100 * share,
                tolerance_text(summary["tolerance"]),
            )
    return summary
