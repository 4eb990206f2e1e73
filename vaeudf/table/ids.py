"""Ids of any type as text."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.compute as pc

from vaeudf.errors import InputError, root_cause

_BITS_OF_WHOLE_NUMBERS = {pa.float16(): 11, pa.float32(): 24, pa.float64(): 53}


def bits_of_whole_numbers(kind: pa.DataType) -> int:
    """Return how many bits a whole number may have that a floating-point type holds exactly.

    From 2 to that power on the type can no longer represent every whole number, and an id may have
    been rounded to another one.
    """
    return _BITS_OF_WHOLE_NUMBERS[kind]


def check_text(column: pa.ChunkedArray, what: str) -> None:
    """Refuse text that is no UTF-8, as files may hold it that their writers have not checked.

    Args:
        column: Of any type.
        what: What has it, with its verb, for messages: "the posteriors have item_id".

    Raises:
        InputError: It has such text, perhaps in lists.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{what} with text that is not UTF-8 ({root_cause(error).rstrip('.')}); expected "
            "UTF-8, as Parquet's text is. Write it again from where its encoding is known."
        ) from None


def without_formulas(column: pa.Array) -> pa.Array:
    """Return texts of CSV, ="007" as 007: so programs write what Excel shall not take for a number.

    Args:
        column: Texts.
    """
    if not pc.any(pc.starts_with(column, '="')).as_py():
        return column
    bare = pc.replace_substring_regex(column, r'\A="([^"]*)"\z', r"\1")
    return pc.if_else(pc.equal(bare, ""), None, bare)


def ids_as_text(column: pa.ChunkedArray, what: str) -> pa.ChunkedArray:
    """Return ids as text, the same text for the same id whatever wrote it.

    Args:
        column: Text, numbers, dates, UTF-8 bytes or UUIDs.
        what: What has them, with its verb, for messages: "the posteriors have item_id".

    Raises:
        InputError: They are of a type that is not text, or no UTF-8, or may have been rounded to
            others.
    """
    check_text(column, what)
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        if kind == pa.uuid():
            texts = [
                None if one is None else str(uuid.UUID(bytes=one)) for one in column.to_pylist()
            ]
            return pa.chunked_array([pa.array(texts, pa.string())])
    if pa.types.is_floating(kind):
        bits = bits_of_whole_numbers(kind)
        numbers = pc.cast(column, pa.float64())
        if pc.any(pc.greater_equal(pc.abs(numbers), 2.0**bits)).as_py():
            raise InputError(
                f"{what} of type {kind}, and some of 2^{bits} or more, where that type can no "
                "longer represent every whole number; expected text or int64. Write them again "
                "from where they are still exact."
            )
        # Not as 1e+15, which is no text of a whole number.
        whole = pc.equal(pc.round(numbers), numbers)
        digits = pc.cast(pc.cast(pc.if_else(whole, numbers, None), pa.int64()), pa.string())
        return pc.if_else(whole, digits, pc.cast(column, pa.string()))
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowException:
        raise InputError(
            f"{what} of type {kind}, which is not text; expected text or whole numbers."
        ) from None
