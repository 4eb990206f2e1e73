"""``--where``: the items of a table that fulfil a condition, and errors that name it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import (
    ArithmeticException,
    DateTimeException,
    NumberFormatException,
    PySparkException,
)
from pyspark.sql import DataFrame

from vaeudf.errors import InputError, root_cause


def rows_where(frame: DataFrame, condition: str) -> DataFrame:
    """Return the rows of a table that fulfil a condition.

    Raises:
        InputError: It is no condition on the table's columns.
    """
    try:
        found = frame.where(condition)
        found.schema  # noqa: B018  # Spark Connect looks for the names only now
        return found
    except PySparkException as error:
        raise InputError(
            f"where is {condition!r}, which is not a condition on the table's columns "
            f"{', '.join(frame.columns)}: {root_cause(error)}."
        ) from None


@contextmanager
def where_is_to_blame(condition: str | None) -> Iterator[None]:
    """Name the condition in errors where it fits the types of the columns but not their values."""
    try:
        yield
    except (ArithmeticException, DateTimeException, NumberFormatException) as error:
        if condition is None:
            raise
        raise InputError(
            f"where is {condition!r}, which cannot be evaluated for every item: "
            f"{root_cause(error)}."
        ) from None
