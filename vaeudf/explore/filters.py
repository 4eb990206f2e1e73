"""Which items fulfil a condition in SQL, as ``query_topk --where`` takes it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vaeudf.errors import InputError


class Filters:
    """Conditions on a table's columns."""

    def __init__(self, items: pa.Table) -> None:
        """Take in the columns that conditions may be on."""
        self._items = items

    def matching(self, where: str) -> NDArray[np.bool_]:
        """Return which items fulfil a condition, shape (N,).

        Raises:
            InputError: It is no condition on the table's columns.
        """
        import duckdb
        import sqlglot

        try:
            condition = sqlglot.parse_one(where, read="spark").sql(dialect="duckdb")
            with duckdb.connect(config={"enable_external_access": "false"}) as connection:
                connection.register("items", self._items)
                found = connection.sql(f"SELECT coalesce(({condition}), false) FROM items")
                return np.asarray(found.fetchnumpy()[found.columns[0]], np.bool_)
        except (duckdb.Error, sqlglot.ParseError) as error:
            raise InputError(
                f"where is {where!r}, which is not a condition on the table's columns "
                f"{', '.join(self._items.schema.names)}: {error}."
            ) from None
