"""Which item of a group is kept: an order over payload columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F

from vaeudf.errors import InputError
from vaeudf.schema import ITEM_ID, quoted
from vaeudf.table.columns import one_type, payload_types
from vaeudf.table.open import PosteriorTable

_TERM = re.compile(r"^(?P<name>.+?)(?:\s+(?P<way>asc|desc))?$", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Term:
    """A column to order by.

    Attributes:
        name: The column.
        descending: Whether the largest comes first.
        floating: Whether it may hold NaN, which comes last, as what is null does.
    """

    name: str
    descending: bool
    floating: bool = False


def parse_keep(text: str | None) -> tuple[Term, ...]:
    """Return the terms of "COLUMN asc, COLUMN desc, …"; ascending where nothing is said.

    Raises:
        InputError: A term is empty, or names a column again.
    """
    if text is None:
        return ()
    terms: list[Term] = []
    for part in text.split(","):
        found = _TERM.match(part.strip())
        if found is None:
            raise InputError(
                f"keep is {text!r}; expected columns with commas between, each with asc or desc "
                "after it, such as 'price desc, added asc'."
            )
        name = found["name"]
        if any(term.name == name for term in terms):
            raise InputError(f"keep names {name!r} twice; name each column once.")
        terms.append(Term(name, (found["way"] or "asc").lower() == "desc"))
    return tuple(terms)


def check_keep(table: PosteriorTable, terms: Sequence[Term]) -> tuple[Term, ...]:
    """Return the terms with what is known of their columns, without reading more than the schema.

    Raises:
        InputError: A column is not there, or its values have no order.
    """
    types = payload_types(table)
    found = []
    for term in terms:
        if term.name == ITEM_ID:
            found.append(term)
            continue
        if term.name not in types:
            there = f"found {', '.join(types)}" if types else "it has none"
            raise InputError(
                f"keep is {term.name!r}; expected a payload column of the table, or {ITEM_ID}: "
                f"{there}."
            )
        kind = one_type("keep", term.name, types[term.name])
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_nested(kind) or pa.types.is_null(kind):
            raise InputError(
                f"keep is the column {term.name!r}, which holds {kind}; expected text, numbers, "
                "booleans, dates or timestamps."
            )
        found.append(Term(term.name, term.descending, bool(pa.types.is_floating(kind))))
    return tuple(found)


def spark_order(terms: Sequence[Term]) -> list[Column]:
    """Return the order of a group's items, in which the one to keep comes first."""
    order = []
    for term in terms:
        column = F.col(quoted(term.name))
        if term.floating:
            column = F.nanvl(column, F.lit(None))
        order.append(column.desc_nulls_last() if term.descending else column.asc_nulls_last())
    return [*order, F.col(ITEM_ID).asc()]
