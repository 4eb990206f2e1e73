"""What a pass notes of the payload columns of clusters' items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vaeudf.clustering.description.columns import Column
from vaeudf.clustering.description.number_samples import NumberSamples, hashes_of
from vaeudf.clustering.description.value_counts import ValueCounts

_Array = NDArray[np.float64]


@dataclass
class Contents:
    """Counts and samples of the values of some columns, by cluster.

    Attributes:
        columns: Which columns.
        sizes: Items of each cluster, (k,).
        values: Counts, by the name of a column whose values are counted.
        numbers: Samples, by the name of a column that has quantiles.
    """

    columns: tuple[Column, ...]
    sizes: NDArray[np.int64]
    values: dict[str, ValueCounts]
    numbers: dict[str, NumberSamples]

    @classmethod
    def empty(cls, columns: Sequence[Column], k: int) -> Contents:
        """Return the contents of k clusters without items."""
        return cls(
            tuple(columns),
            sizes=np.zeros(k, np.int64),
            values={one.name: ValueCounts.empty(one.type, k) for one in columns if one.counted},
            numbers={one.name: NumberSamples.empty(k) for one in columns if one.ordered},
        )

    def add(self, clusters: NDArray[np.int32], names: pa.Array, payload: pa.Table) -> None:
        """Take in items.

        Args:
            clusters: Of each item, (B,).
            names: Their item_ids.
            payload: Their columns, B rows; one that is not there is null, as Spark reads it.
        """
        self.sizes += np.bincount(clusters, minlength=len(self.sizes))
        hashes = hashes_of(names) if self.numbers else np.empty(0, np.uint64)
        for one in self.columns:
            kind = pa.list_(one.type) if one.is_list else one.type
            if one.name in payload.column_names:
                values = payload.column(one.name).combine_chunks()
                if pa.types.is_dictionary(values.type):
                    values = values.dictionary_decode()
                values = values.cast(kind)
            else:
                values = pa.nulls(len(clusters), kind)
            if one.counted:
                self.values[one.name].add(clusters, values)
            if one.ordered:
                self.numbers[one.name].add(clusters, hashes, as_numbers(values))

    def merge(self, other: Contents) -> None:
        """Take in the contents of other items."""
        self.sizes = self.sizes + other.sizes
        for name, counts in other.values.items():
            self.values[name].merge(counts)
        for name, samples in other.numbers.items():
            self.numbers[name].merge(samples)

    def settle(self) -> None:
        """Make ready to be sent, or looked at."""
        for counts in self.values.values():
            counts.settle()
        for samples in self.numbers.values():
            samples.settle()


def as_numbers(values: pa.Array) -> _Array:
    """Return numbers, days since 1970 or microseconds since 1970; NaN for null."""
    kind = values.type
    if pa.types.is_date(kind):
        values = values.cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        # Other units may not hold every time; what is below a microsecond does not matter.
        values = values.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64())
    floats = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(floats, np.float64)


def as_shown(number: float, kind: pa.DataType) -> int | float | str:
    """Return a number as :func:`as_numbers` has it as people write it; times in UTC."""
    if pa.types.is_integer(kind):
        return int(number)
    if pa.types.is_decimal(kind):
        # Arrow's own conversion may be a unit in the last place off: 3.0100000000000002.
        return float(round(number, kind.scale))
    if pa.types.is_date(kind):
        return str(np.datetime64(int(number), "D"))
    if pa.types.is_timestamp(kind):
        text = str(np.datetime64(int(number), "us")).removesuffix(".000000")
        return text.replace("T", " ") + ("" if kind.tz is None else " UTC")
    return number
