"""At most so many hits of each value of a payload column: ``--per category:2``.

Such a limit is mergeable: with "the best under the limit" for each value's N best and of these the
k best, the best under the limit of a union are those of the union of its parts' best.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from vaeudf.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Per:
    """At most so many items of each value of a column; null is a value.

    Attributes:
        column: Name of the payload column.
        at_most: How many items.
    """

    column: str
    at_most: int = 1

    def __post_init__(self) -> None:
        whole = isinstance(self.at_most, int | np.integer) and not isinstance(self.at_most, bool)
        if not whole or self.at_most < 1 or not isinstance(self.column, str) or not self.column:
            raise InputError(
                f"per is {self.column!r} and {self.at_most!r}; expected the name of a payload "
                "column, and how many items of each of its values, at least 1."
            )

    @classmethod
    def of(cls, given: str | tuple[str, int]) -> Per:
        """Return what is meant by ``"category:2"``, ``"category"`` or ``("category", 2)``.

        Raises:
            InputError: It is none of these.
        """
        if not isinstance(given, str):
            if not isinstance(given, tuple | list) or len(given) != 2:
                raise InputError(f'per is {given!r}; expected such as "category:2".')
            return cls(*given)
        column, colon, number = given.rpartition(":")
        if not colon:
            column, number = given, "1"
        if not column or not (number.isascii() and number.isdigit()) or int(number) < 1:
            hint = f"; for the column {given!r} say {given}:1" if column and colon else ""
            raise InputError(
                f"per is {given!r}; expected COLUMN or COLUMN:N, with N at least 1, such as "
                f"category:2{hint}."
            )
        return cls(column, int(number))

    def with_more(self, number: int, k: int) -> tuple[int, Per]:
        """Return what to ask for so that without any m items, k under this limit are left.

        N + m of each value leave N. Before the k-th that is left there are k - 1 others, the m
        items, and of each value that has filled its N places, of which there are at most
        (k - 1) / N, no more than m beyond these.

        Args:
            number: m.
            k: How many items.
        """
        full = (k - 1) // self.at_most
        return k + number * (1 + full), Per(self.column, self.at_most + number)

    def codes(self, items: pa.Table) -> NDArray[np.int32]:
        """Return a number for the value of each of these items; equal values have the same."""
        if self.column not in items.column_names:
            # What a file of plain Parquet lacks is null.
            return np.zeros(len(items), np.int32)
        values = items.column(self.column).combine_chunks()
        if len(values) == 0 or pa.types.is_null(values.type):
            return np.zeros(len(items), np.int32)
        if not pa.types.is_dictionary(values.type):
            values = pa.compute.dictionary_encode(values, null_encoding="encode")
        indices = pa.compute.fill_null(values.indices.cast(pa.int32()), len(values.dictionary))
        return np.array(indices.to_numpy(zero_copy_only=False), np.int32)

    def allows(self, queries: NDArray[np.int64], codes: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which candidates are among the first ``at_most`` of their query and code."""
        order = np.lexsort((np.arange(len(codes)), codes, queries))
        new = (np.diff(queries[order], prepend=-1) != 0) | (np.diff(codes[order], prepend=-1) != 0)
        firsts = np.flatnonzero(new)
        ranks = np.arange(len(order)) - np.repeat(firsts, np.diff(firsts, append=len(order)))
        allowed = np.empty(len(order), bool)
        allowed[order] = ranks < self.at_most
        return allowed


def tell_of_few(per: str, k: int, num_hits: int, num_queries: int) -> None:
    """Say so if the limit leaves fewer than k items for a query; then it does so for all."""
    if num_hits < k * num_queries:
        log.info(
            "k is %d, but per %s allows only %.4g items per query: all of these are returned.",
            k,
            per,
            num_hits / num_queries,
        )
