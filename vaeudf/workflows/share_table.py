"""``--share``: how shares are told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from tabulate import tabulate

from vaeudf.query.latents import Latents
from vaeudf.schema import QUERY_ID, SHARE, quoted

# How many values of each query are told, and the least share that is told of one.
_TOLD = 10
LEAST_TOLD = 0.0005
_VALUE = "__vaeudf_value"
_VALUES = "__vaeudf_values"


@dataclass(frozen=True)
class Leading:
    """The values that have most of a query's density.

    Attributes:
        values: Value as text, None for null, and share; the largest first.
        others: How many other values there are.
    """

    values: Sequence[tuple[str | None, float]]
    others: int

    @property
    def rest(self) -> float:
        """What all others have together."""
        return max(0.0, 1.0 - sum(share for _, share in self.values))


def leading(
    found: DataFrame, column: str, queries: Sequence[str] | None = None
) -> dict[str, Leading]:
    """Return the values that have most of each query's density.

    Args:
        found: As of :func:`vaeudf.shares`.
        column: What the shares are of.
        queries: Of which queries; of all unless given.
    """
    if queries is not None:
        found = found.where(F.col(QUERY_ID).isin(list(queries)))
    of_query = Window.partitionBy(QUERY_ID)
    largest_first = of_query.orderBy(F.desc(SHARE), F.asc_nulls_last(quoted(column)))
    rows = (
        found.withColumn("__vaeudf_place", F.row_number().over(largest_first))
        .withColumn(_VALUES, F.count(F.lit(1)).over(of_query))
        .where((F.col("__vaeudf_place") == 1) | (F.col(SHARE) >= LEAST_TOLD))
        .where(F.col("__vaeudf_place") <= _TOLD)
        .select(QUERY_ID, F.col(quoted(column)).cast("string").alias(_VALUE), SHARE, _VALUES)
        .collect()
    )
    own: dict[str, list[tuple[str | None, float]]] = {}
    counts: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: (-row[SHARE], row[_VALUE] is None, row[_VALUE])):
        own.setdefault(row[QUERY_ID], []).append((row[_VALUE], row[SHARE]))
        counts[row[QUERY_ID]] = row[_VALUES]
    return {name: Leading(values, counts[name] - len(values)) for name, values in own.items()}


def print_shares(found: dict[str, Leading], column: str, latents: Latents) -> None:
    """Print shares as text, queries in the order they were asked in."""
    rows = []
    for name in latents.ids:
        if name not in found:
            continue
        for value, share in found[name].values:
            rows.append([name, "null" if value is None else value, f"{share:.1%}"])
        if found[name].others and found[name].rest >= LEAST_TOLD:
            rows.append([name, f"({found[name].others:,} others)", f"{found[name].rest:.1%}"])
    table = tabulate(
        rows,
        headers=[QUERY_ID, column, SHARE],
        tablefmt="plain",
        disable_numparse=True,
        colalign=["left", "left", "right"] if rows else None,
    )
    sys.stdout.write(table + "\n")
