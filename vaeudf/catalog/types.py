"""The types that a catalog's columns have in Spark and in a Delta table, and what widens to what.

Parquet and Arrow have more types than these. One whose values another type holds without loss
becomes that one, as it does in Spark where Spark can read it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types as is_

_INSTANT = pa.timestamp("us", "UTC")
_MOST_DIGITS = 38
_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_DIGITS = dict(zip(_INTEGERS, (3, 5, 10, 19), strict=True))
# An unsigned number needs the next larger signed one.
_SIGNED = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
}
_LISTS = (
    is_.is_list,
    is_.is_large_list,
    is_.is_fixed_size_list,
    is_.is_list_view,
    is_.is_large_list_view,
)
_AS_THEY_ARE = {*_INTEGERS, pa.bool_(), pa.float32(), pa.float64(), pa.date32(), pa.null()}


def num_leaves(kind: pa.DataType) -> int:
    """Return how many columns of numbers or bytes a Parquet file has for a column of a type."""
    children = _children(kind)
    return sum(num_leaves(child.type) for child in children) if children else 1


def carried_type(
    kind: pa.DataType, leaves: Sequence[pq.ColumnSchema] = (), *, nested: bool = False
) -> pa.DataType | None:
    """Return the type in which a column of a Parquet file is carried, or None if there is none.

    Args:
        kind: The column's type, as pyarrow reads it.
        leaves: The file's columns of numbers or bytes that it consists of; what the type alone
            does not tell is in them.
        nested: Whether it is part of another column.
    """
    kind = _storage(kind)
    children = _children(kind)
    if not children:
        return None if is_.is_struct(kind) else _of_leaf(kind, [*leaves, None][0], nested=nested)
    kinds, start = [], 0
    for child in children:
        end = start + num_leaves(child.type)
        kinds.append(carried_type(child.type, leaves[start:end], nested=True))
        start = end
    if None in kinds:
        return None
    if is_.is_struct(kind):
        if _is_variant(kind):
            return None  # its bytes mean nothing to anybody who does not know that it is one
        names = [child.name for child in children]
        if len({name.lower() for name in names}) < len(names):
            return None
        return pa.struct(list(zip(names, kinds, strict=True)))
    return pa.map_(*kinds) if is_.is_map(kind) else pa.list_(kinds[0])


def _is_variant(kind: pa.DataType) -> bool:
    """Whether a struct is how Parquet stores a VARIANT: two fields of bytes, of these names."""
    fields = {child.name: child.type for child in _children(kind)}
    return {"metadata", "value"} <= fields.keys() <= {"metadata", "value", "typed_value"} and all(
        is_.is_binary(fields[name]) for name in ("metadata", "value")
    )


def has_nulls_only(kind: pa.DataType) -> bool:
    """Whether a type, or a part of it, has no value but null."""
    children = _children(kind)
    return is_.is_null(kind) or any(has_nulls_only(child.type) for child in children)


def has_nanoseconds(kind: pa.DataType) -> bool:
    """Whether values may be lost when they are carried in microseconds."""
    if is_.is_timestamp(kind):
        return bool(kind.unit == "ns")
    return any(has_nanoseconds(child.type) for child in _children(_storage(kind)))


def widest(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """Return the type that holds the values of two carried types, or None if there is none.

    A 64-bit integer beside a float becomes a double: :func:`converted` refuses what is not exact.
    """
    if first == second or is_.is_null(second):
        return first
    if is_.is_null(first):
        return second
    if is_.is_struct(first) and is_.is_struct(second):
        return _widest_struct(first, second)
    if is_.is_map(first) and is_.is_map(second):
        kinds = widest(first.key_type, second.key_type), widest(first.item_type, second.item_type)
        return None if None in kinds else pa.map_(*kinds)
    if is_.is_list(first) and is_.is_list(second):
        element = widest(first.value_type, second.value_type)
        return None if element is None else pa.list_(element)
    return _widest_number(first, second)


def same_text(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """Return the type of ids of two types, or None if equal values would give different texts."""
    whole = {first, second} <= set(_INTEGERS)
    return widest(first, second) if whole or first == second else None


def converted(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return the values of a column as a file has them, in the type that they are carried in.

    Nanoseconds are cut off.

    Raises:
        pa.ArrowInvalid: A value does not fit.
    """
    if array.type == kind:
        return array
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    # A fixed size is carried as binary, unless it is that of a UUID.
    if is_.is_fixed_size_binary(array.type) and is_.is_string(kind):
        texts = [
            None if value is None else str(uuid.UUID(bytes=value)) for value in array.to_pylist()
        ]
        return pa.array(texts, kind)
    if _has_views(array.type):
        return pa.array(array.to_pylist(), kind)  # a cast of pyarrow 26 loses elements
    if is_.is_timestamp(array.type) and array.type.unit == "ns":
        array = pc.floor_temporal(array, unit="microsecond")
    elif has_nanoseconds(array.type):
        return array.cast(kind, safe=False)
    return array.cast(kind)


def is_exact(array: pa.Array, kind: pa.DataType) -> bool:
    """Whether a column with nanoseconds has the same values in the type that it is carried in."""
    try:
        array.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _has_views(kind: pa.DataType) -> bool:
    if is_.is_list_view(kind) or is_.is_large_list_view(kind):
        return True
    return any(_has_views(child.type) for child in _children(kind))


def _storage(kind: pa.DataType) -> pa.DataType:
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind


def _children(kind: pa.DataType) -> list[pa.Field]:
    kind = _storage(kind)
    if is_.is_struct(kind):
        return list(kind)
    if is_.is_map(kind):
        return [kind.key_field, kind.item_field]
    if any(is_one(kind) for is_one in _LISTS):
        return [kind.value_field]
    return []


def _of_leaf(
    kind: pa.DataType, leaf: pq.ColumnSchema | None, *, nested: bool
) -> pa.DataType | None:
    if leaf is not None and str(leaf.logical_type.type) == "UUID":
        return None if nested else pa.string()  # text is more than a cast
    if leaf is not None and leaf.physical_type == "INT96":
        # How Spark has written instants for long; pyarrow takes them for local times.
        return _INSTANT
    if is_.is_dictionary(kind):
        kind = kind.value_type
    if kind in _AS_THEY_ARE:
        return kind
    if kind in _SIGNED:
        return _SIGNED[kind]
    if is_.is_float16(kind):
        return pa.float32()
    if is_.is_date64(kind):
        return pa.date32()
    if is_.is_duration(kind):
        return pa.int64()  # what the file has; that it is a duration, only pyarrow knows
    if is_.is_timestamp(kind):
        return pa.timestamp("us") if kind.tz is None else _INSTANT
    if is_.is_decimal(kind):
        fits = kind.precision <= _MOST_DIGITS and kind.scale >= 0
        return pa.decimal128(kind.precision, kind.scale) if fits else None
    if is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind):
        return pa.string()
    if is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_binary_view(kind):
        return pa.binary()
    return pa.binary() if is_.is_fixed_size_binary(kind) else None


def _widest_struct(first: pa.StructType, second: pa.StructType) -> pa.DataType | None:
    kinds = {field.name: field.type for field in first}
    for field in second:
        kind = widest(kinds.get(field.name, pa.null()), field.type)
        if kind is None:
            return None
        kinds[field.name] = kind
    if len({name.lower() for name in kinds}) < len(kinds):
        return None
    return pa.struct(list(kinds.items()))


def _widest_number(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    both = {first, second}
    if both <= set(_INTEGERS):
        return max(first, second, key=_INTEGERS.index)
    if both <= {*_INTEGERS, pa.float32(), pa.float64()}:
        return pa.float32() if both <= {pa.int8(), pa.int16(), pa.float32()} else pa.float64()
    if any(map(is_.is_decimal, both)):
        digits = [
            (_DIGITS[kind], 0) if kind in _DIGITS else (kind.precision - kind.scale, kind.scale)
            for kind in both
            if kind in _DIGITS or is_.is_decimal(kind)
        ]
        whole, scale = (max(part) for part in zip(*digits, strict=True))
        if len(digits) == 2 and whole + scale <= _MOST_DIGITS:
            return pa.decimal128(whole + scale, scale)
    return None
