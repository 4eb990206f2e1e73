"""The constraints that others have put on a table, checked on what a run is going to publish.

delta-rs does not check them, and a version that breaks one is accepted.
"""

from __future__ import annotations

import re

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from vaeudf.errors import InputError, TableError, root_cause
from vaeudf.schema import ITEM_ID
from vaeudf.table.open import PosteriorTable

_EXAMPLES = 3


def check_conditions(spark: SparkSession, schema: pa.Schema, table: PosteriorTable | None) -> None:
    """Check that a table's constraints can be checked at all on rows of a schema.

    Raises:
        TableError: One has a column or a function that is not there.
    """
    if table is None or not table.snapshot.constraints:
        return
    nothing = spark.createDataFrame([], from_arrow_schema(schema))
    for name, condition in table.snapshot.constraints.items():
        try:
            nothing.where(_is_broken(condition)).schema  # noqa: B018  # Spark looks for the names
        except PySparkException as error:
            raise TableError(
                f"constraint {name} of table {table.uri} ({condition}) cannot be checked: "
                f"{_cause(error)}. Drop the constraint, or encode to another --table."
            ) from None


def check_constraints(rows: DataFrame, table: PosteriorTable | None) -> None:
    """Check that rows fulfil the constraints of the table that they are to be published to.

    As in Delta, a condition must be true; null is not.

    Raises:
        InputError: A row does not.
    """
    constraints = {} if table is None else table.snapshot.constraints
    if table is None or not constraints:
        return
    broken = [_is_broken(condition) for condition in constraints.values()]
    counted = rows.agg(*(F.count_if(one).alias(str(place)) for place, one in enumerate(broken)))
    try:
        counts = counted.first()
    except PySparkException as error:
        raise TableError(
            f"the constraints of table {table.uri} ({'; '.join(constraints.values())}) cannot be "
            f"checked: {_cause(error)}. Nothing was published; mend the catalog, or drop the "
            "constraint."
        ) from None
    assert counts is not None
    for number, (name, condition) in zip(counts, constraints.items(), strict=True):
        if number:
            found = rows.where(_is_broken(condition)).select(ITEM_ID)
            examples = found.orderBy(ITEM_ID).limit(_EXAMPLES).collect()
            names = ", ".join(repr(row[ITEM_ID]) for row in examples)
            raise InputError(
                f"{number} items break the constraint {name} of table {table.uri} ({condition}), "
                f"such as {names}. Nothing was published; mend the catalog, or drop the constraint."
            )


def _cause(error: PySparkException) -> str:
    """Return the first line of what Spark says, without its class of error and its SQLSTATE."""
    line = root_cause(error).split(" SQLSTATE")[0]
    return re.sub(r"^\[[A-Z0-9_.]+\] ", "", line).rstrip(". ")


def _is_broken(condition: str) -> Column:
    return ~F.coalesce(F.expr(condition), F.lit(False))
