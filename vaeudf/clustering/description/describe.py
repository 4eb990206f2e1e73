"""Clusters described by what a pass has noted of their payload."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vaeudf.clustering.description.apart import log_likelihood_ratio
from vaeudf.clustering.description.columns import Column
from vaeudf.clustering.description.contents import Contents, as_shown
from vaeudf.clustering.description.found import (
    QUANTILES,
    ClusterDescription,
    ColumnFacts,
    ColumnOfCluster,
    Description,
    Kind,
    Shown,
    Telling,
    ValueShare,
)
from vaeudf.clustering.description.names import suggested_names
from vaeudf.clustering.description.number_samples import NumberSamples
from vaeudf.clustering.description.value_counts import MOST_NUMBERS, ValueCounts

# Values that are told of a column in a cluster, and of all columns as what sets it apart.
_FREQUENT, _TELLING = 10, 10
# Values of a column that may be told as what sets a cluster apart, or be part of its name.
_COMPARED = 25


def describe(contents: Contents, numbers: Sequence[int]) -> Description:
    """Return what clusters are made of.

    Args:
        contents: Of all their items.
        numbers: Of the clusters, k of them.
    """
    contents.settle()
    kinds = {one.name: _kind(contents, one) for one in contents.columns}
    shares = {
        name: _Shares(contents.values[name], contents.sizes)
        for name, kind in kinds.items()
        if kind == "values"
    }
    tellings = [
        _telling({name: own.telling(cluster) for name, own in shares.items()})
        for cluster in range(len(contents.sizes))
    ]
    names = suggested_names(tellings, numbers)
    clusters = []
    for cluster, name in enumerate(names):
        columns = {}
        for one in contents.columns:
            if kinds[one.name] == "values":
                nulls = int(contents.values[one.name].nulls[cluster])
                frequent = tuple(shares[one.name].frequent(cluster))
                columns[one.name] = ColumnOfCluster(nulls, values=frequent)
            elif kinds[one.name] == "quantiles":
                samples = contents.numbers[one.name]
                columns[one.name] = ColumnOfCluster(
                    int(samples.nulls[cluster]), quantiles=_quantiles(samples, cluster, one)
                )
        clusters.append(ClusterDescription(name, tuple(tellings[cluster][:_TELLING]), columns))
    facts = tuple(_facts(contents, one, kinds[one.name]) for one in contents.columns)
    return Description(facts, tuple(clusters))


def _kind(contents: Contents, one: Column) -> Kind:
    if not one.counted:
        return "quantiles"
    counts = contents.values[one.name]
    if counts.given_up:
        # Whole numbers that are many. In lists they have no quantiles: one item has several.
        return "quantiles" if one.ordered else "ids"
    totals = counts.totals
    with_value = int(contents.sizes.sum() - counts.nulls.sum())
    many = len(totals) > MOST_NUMBERS and len(totals) > with_value / 2
    # Where values were forgotten, the most frequent may be no more frequent than these.
    none_recurs = counts.missed > 0 and int(totals.max(initial=0)) <= counts.missed
    return "ids" if many or none_recurs else "values"


def _facts(contents: Contents, one: Column, kind: Kind) -> ColumnFacts:
    if kind == "quantiles":
        samples = contents.numbers[one.name]
        k = len(contents.sizes)
        return ColumnFacts(
            one.name,
            kind,
            nulls=int(samples.nulls.sum()),
            sampled=samples.size if samples.counts.max(initial=0) > samples.size else None,
            quantiles=_quantiles(samples, k, one),
        )
    counts = contents.values[one.name]
    return ColumnFacts(
        one.name,
        kind,
        nulls=int(counts.nulls.sum()),
        distinct=len(counts.values) if counts.exact else None,
        missed=counts.missed,
    )


def _quantiles(samples: NumberSamples, group: int, one: Column) -> tuple[Shown, ...] | None:
    found = samples.quantiles(group, QUANTILES)
    return None if found is None else tuple(as_shown(number, one.type) for number in found)


class _Shares:
    """The shares of a column's values, of which few are looked at for each cluster."""

    def __init__(self, counts: ValueCounts, sizes: NDArray[np.int64]) -> None:
        # In the values' order, by which ties go wherever the items are stored.
        order = pc.sort_indices(counts.values).to_numpy()
        self._values = counts.values.take(pa.array(order))
        self._counts, self._totals = counts.counts[order], counts.totals[order]
        self._sizes, self._total = sizes, int(sizes.sum())

    def frequent(self, cluster: int) -> list[ValueShare]:
        """Return the values that most items of a cluster have."""
        inside = self._counts[:, cluster]
        places = np.argsort(-inside, kind="stable")[:_FREQUENT]
        return self._told(cluster, places[inside[places] > 0])

    def telling(self, cluster: int) -> list[ValueShare]:
        """Return the values that set a cluster apart most, of those more frequent in it."""
        g = self._g(cluster, slice(None))
        places = np.argsort(-g, kind="stable")[:_COMPARED]
        return self._told(cluster, places[g[places] > 0])

    def _g(self, cluster: int, places: NDArray[np.int64] | slice) -> NDArray[np.float64]:
        inside, everywhere = self._counts[places, cluster], self._totals[places]
        return log_likelihood_ratio(inside, self._sizes[cluster], everywhere, self._total)

    def _told(self, cluster: int, places: NDArray[np.int64]) -> list[ValueShare]:
        values = self._values.take(pa.array(places, pa.int64())).to_pylist()
        counts, totals = self._counts[places, cluster], self._totals[places]
        g = self._g(cluster, places)
        shares, of_all = counts / max(1, self._sizes[cluster]), totals / self._total
        columns = (counts, shares, of_all, shares / of_all, g)
        numbers = zip(*(column.tolist() for column in columns), strict=True)
        return [ValueShare(value, *own) for value, own in zip(values, numbers, strict=True)]


def _telling(by_column: dict[str, list[ValueShare]]) -> list[Telling]:
    """Return what sets a cluster apart, of all columns, the most telling first."""
    found = [Telling(**vars(one), column=name) for name, own in by_column.items() for one in own]
    # Stable: equals go by the columns' order, and then by the values'.
    return sorted(found, key=lambda one: -one.g)
