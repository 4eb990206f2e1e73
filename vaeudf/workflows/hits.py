"""Hits as text, and the item that is among the hits of most queries."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from tabulate import tabulate

from vaeudf.query.latents import Latents
from vaeudf.schema import (
    COSTLIEST,
    ITEM_ID,
    LOG_AGGREGATE_POSTERIOR_ERROR,
    QUERY_ID,
    RANK,
    RESPONSIBILITY,
)


def most_frequent(hits: DataFrame, num_queries: int) -> tuple[str, float] | None:
    """Return the item that is among the hits of most queries, and of what part of them."""
    counted = hits.groupBy(ITEM_ID).count().orderBy(F.desc("count"), ITEM_ID).limit(1).collect()
    return (counted[0][ITEM_ID], counted[0]["count"] / num_queries) if counted else None


def most_frequent_of(hits: Sequence[Row], num_queries: int) -> tuple[str, float] | None:
    """Return the same of hits that are here already."""
    counted = Counter(hit[ITEM_ID] for hit in hits)
    if not counted:
        return None
    item_id, count = min(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return item_id, count / num_queries


def print_table(hits: Sequence[Row], columns: Sequence[str], latents: Latents) -> None:
    """Print every hit as text, queries in the order they were asked in."""
    order = {name: place for place, name in enumerate(latents.ids)}
    rows = sorted(hits, key=lambda row: (order[row[QUERY_ID]], row[RANK]))
    numbers = [
        all(isinstance(row[name], (int, float)) for row in rows) and bool(rows) for name in columns
    ]
    table = tabulate(
        [[_cell(name, row[name]) for name in columns] for row in rows],
        headers=columns,
        tablefmt="plain",
        disable_numparse=True,
        colalign=["right" if number else "left" for number in numbers] if rows else None,
    )
    sys.stdout.write(table + "\n")


def _cell(name: str, value: object) -> str:
    if name == COSTLIEST and isinstance(value, list):
        return ", ".join(f"z{cost['dimension']} {cost['nats']:.1f}" for cost in value)
    if name in (RESPONSIBILITY, LOG_AGGREGATE_POSTERIOR_ERROR):
        return f"{value:.3g}"
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
