"""Arrow schemas as Spark's, so that no column is stated in both type systems."""

from __future__ import annotations

import pyarrow as pa

from vaeudf.schema import quoted

_NAMES = {
    pa.string(): "string",
    pa.binary(): "binary",
    pa.bool_(): "boolean",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
}


def ddl(schema: pa.Schema) -> str:
    """Return an Arrow schema as Spark's DDL, every column nullable.

    Raises:
        KeyError: A column has a type that no task yields.
    """
    return ", ".join(f"{quoted(field.name)} {_name(field.type)}" for field in schema)


def _name(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"array<{_name(kind.value_type)}>"
    return _NAMES[kind]
