"""What is found of clusters' payload: counts, shares, quantiles, and what sets them apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Value = str | bool | int
Shown = int | float | str

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Kind = Literal["values", "quantiles", "ids"]
"""values: counted; quantiles: of numbers or times; ids: hardly a value recurs, nothing is told."""


@dataclass(frozen=True)
class ColumnFacts:
    """A column, over all clusters.

    Attributes:
        name: Its name.
        kind: What is told of it.
        nulls: Items without a value.
        distinct: How many values there are; None where not counted, or where more than fit.
        missed: By how much a count may be too low; 0: all are exact.
        sampled: How many numbers of a cluster the quantiles are taken of at most; None: of all.
        quantiles: Of the items of all clusters, for :data:`QUANTILES`; None if there are none.
    """

    name: str
    kind: Kind
    nulls: int
    distinct: int | None = None
    missed: int = 0
    sampled: int | None = None
    quantiles: tuple[Shown, ...] | None = None


@dataclass(frozen=True)
class ValueShare:
    """A value in a cluster.

    Attributes:
        value: The value.
        count: Items of the cluster that have it.
        share: That, as a part of the cluster's items.
        share_of_all: The same part of the items of all clusters.
        lift: share / share_of_all.
        g: How far it sets the cluster apart, by
            :func:`vaeudf.clustering.description.apart.log_likelihood_ratio`.
    """

    value: Value
    count: int
    share: float
    share_of_all: float
    lift: float
    g: float


@dataclass(frozen=True)
class Telling(ValueShare):
    """A value that is more frequent in a cluster than elsewhere.

    Attributes:
        column: The column that has it.
    """

    column: str


@dataclass(frozen=True)
class ColumnOfCluster:
    """A column in a cluster.

    Attributes:
        nulls: Items without a value.
        values: The most frequent values, by count descending; None unless they are counted.
        quantiles: For :data:`QUANTILES`; None where there are no numbers.
    """

    nulls: int
    values: tuple[ValueShare, ...] | None = None
    quantiles: tuple[Shown, ...] | None = None


@dataclass(frozen=True)
class ClusterDescription:
    """A cluster.

    Attributes:
        name: A suggestion, made of the values that set it apart; None where none does.
        apart: These values, the most telling first.
        columns: By name, without columns of which nothing is told.
    """

    name: str | None
    apart: tuple[Telling, ...]
    columns: Mapping[str, ColumnOfCluster]


@dataclass(frozen=True)
class Description:
    """What clusters are made of.

    Attributes:
        columns: The columns, over all clusters.
        clusters: The clusters, in the order of their centroids.
    """

    columns: tuple[ColumnFacts, ...]
    clusters: tuple[ClusterDescription, ...]

    def as_json(self, numbers: list[int]) -> dict[str, Any]:
        """Return it as ``clustering.json`` has it.

        Args:
            numbers: Of the clusters.
        """
        return {
            "described_by": [_facts(one) for one in self.columns],
            "clusters": [
                {
                    "cluster": number,
                    "name": one.name,
                    "apart": [dataclasses.asdict(telling) for telling in one.apart],
                    "columns": {name: _column(own) for name, own in one.columns.items()},
                }
                for number, one in zip(numbers, self.clusters, strict=True)
            ],
        }


def _facts(one: ColumnFacts) -> dict[str, Any]:
    facts: dict[str, Any] = {"column": one.name, "kind": one.kind, "nulls": one.nulls}
    if one.kind == "quantiles":
        return facts | {"sampled": one.sampled, "quantiles": _by_share(one.quantiles)}
    return facts | {"distinct": one.distinct, "missed": one.missed}


def _column(own: ColumnOfCluster) -> dict[str, Any]:
    if own.values is None:
        return {"nulls": own.nulls, "quantiles": _by_share(own.quantiles)}
    return {"nulls": own.nulls, "values": [dataclasses.asdict(value) for value in own.values]}


def _by_share(quantiles: tuple[Shown, ...] | None) -> dict[str, Shown] | None:
    if quantiles is None:
        return None
    return {f"{share:g}": value for share, value in zip(QUANTILES, quantiles, strict=True)}
