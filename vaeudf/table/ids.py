"""Ids of any type as text."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.compute as pc

from vaeudf.errors import InputError

# From here on a float64 is not every whole number, and an id may have been rounded to another one.
_EXACT = 2.0**53


def ids_as_text(column: pa.ChunkedArray, what: str) -> pa.ChunkedArray:
    """Return ids as text, the same text for the same id whatever wrote it.

    Args:
        column: Text, numbers, dates, UTF-8 bytes or UUIDs.
        what: What has them, with its verb, for messages: "the posteriors have item_id".

    Raises:
        InputError: They are of a type that is not text, or may have been rounded to others.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        if kind == pa.uuid():
            texts = [
                None if one is None else str(uuid.UUID(bytes=one)) for one in column.to_pylist()
            ]
            return pa.chunked_array([pa.array(texts, pa.string())])
    if pa.types.is_floating(kind) and pc.any(pc.greater_equal(pc.abs(column), _EXACT)).as_py():
        raise InputError(
            f"{what} of type {kind}, and some of 2^53 or more, where that type has no longer every "
            "whole number; expected text or int64. Write them again from where they are still "
            "exact."
        )
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowException:
        raise InputError(
            f"{what} of type {kind}, which is not text; expected text or whole numbers."
        ) from None
