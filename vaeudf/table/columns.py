"""The payload columns of a table, and their types, by its schema alone."""

from __future__ import annotations

import pyarrow as pa

from vaeudf.errors import InputError
from vaeudf.schema import ITEM_ID, LOG_VAR, MU, SOURCE_VERSION
from vaeudf.table.open import PosteriorTable
from vaeudf.table.plain_parquet import schemas_of

OWN = (ITEM_ID, MU, LOG_VAR, SOURCE_VERSION)
"""The columns that are no payload."""


def payload_types(table: PosteriorTable) -> dict[str, list[pa.DataType]]:
    """Return the types that each payload column has, in all files."""
    if table.snapshot.columns is not None:
        schemas = [table.snapshot.columns.schema]
    else:
        schemas = schemas_of(table.files)
    types: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for field in schema:
            if field.name in OWN:
                continue
            own = types.setdefault(field.name, [])
            if field.type not in own:
                own.append(field.type)
    return types


def one_type(option: str, name: str, types: list[pa.DataType]) -> pa.DataType:
    """Return the type that a column's types in all files have in common.

    Args:
        option: What the column is named for.
        name: Its name.
        types: Its types.

    Raises:
        InputError: They have none.
    """
    if len(types) == 1:
        return types[0]
    try:
        return pa.unify_schemas(
            [pa.schema([(name, _plain(kind))]) for kind in types], promote_options="permissive"
        )[0].type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise InputError(
            f"{option} is the column {name!r}, which holds {types[0]} in one file and "
            f"{types[1]} in another; expected one type."
        ) from None


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
