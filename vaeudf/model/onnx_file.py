"""Files of ONNX: whether all of their numbers are in them, and putting in those that are not.

An ONNX file is a message of protocol buffers. Its tensors may name other files that hold their
numbers. onnxruntime would open these, wherever they are; so a bundle holds none that do, and this
module follows the message down to its tensors. It needs no package for that: a field is a number, a
kind and a value, and only the fields that lead to tensors are looked into.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from vaeudf.errors import BundleError

MOST_BYTES = 2**31 - 1
"""The most that a message of protocol buffers can have."""

# The fields of onnx.proto that lead to tensors: of what, and to what.
_INNER: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        **{5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
        **{22: "sparse", 23: "sparse"},
    },
    "sparse": {1: "tensor", 2: "tensor"},
}
# Fields of a tensor.
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14
_EXTERNAL = 1
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_DEEPEST = 100
_32_BITS = 2**32 - 1

_Read = Callable[[dict[str, str]], bytes]


def read_whole(path: Path) -> bytes:
    """Read a file of ONNX, with the numbers that it keeps in files beside it.

    Raises:
        BundleError: It is no such file, or a file that it names is missing or elsewhere.
    """

    def read_beside(entry: dict[str, str]) -> bytes:
        return _read_beside(path, entry)

    try:
        if not path.is_file():
            raise BundleError(f"{path} does not exist; expected a model of ONNX.")
        if path.stat().st_size > MOST_BYTES:
            raise BundleError(
                f"{path} has {path.stat().st_size:,} bytes; an ONNX file has at most "
                f"{MOST_BYTES:,}."
            )
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from None
    return _complete(content, str(path), read_beside)


def check_whole(content: bytes, name: str) -> None:
    """Check that all numbers of a model are in its file.

    Args:
        content: Of the file.
        name: What messages call it.

    Raises:
        BundleError: It names another file, or is not ONNX.
    """

    def refuse(entry: dict[str, str]) -> bytes:
        raise BundleError(
            f"{name} keeps numbers in another file, {entry.get('location')!r}; a bundle's own "
            "file has all of them. Export the model again."
        )

    _complete(content, name, refuse)


def _complete(content: bytes, name: str, read: _Read) -> bytes:
    try:
        message = memoryview(content)
        numbers = {number for number, *_ in _fields(message)}
        if not {1, 7} <= numbers:  # the version of the format, and the graph
            raise ValueError
        parts = _rewritten(message, "model", read, 0)
    except BundleError:
        raise
    except (ValueError, IndexError):
        raise BundleError(f"{name} is not an ONNX file, or is damaged.") from None
    whole = content if parts is None else parts
    if len(whole) > MOST_BYTES:
        raise BundleError(
            f"{name} has {len(whole):,} bytes with the files that it names; an ONNX file has at "
            f"most {MOST_BYTES:,}."
        )
    return whole


def _rewritten(message: memoryview, kind: str, read: _Read, depth: int) -> bytes | None:
    """Return a message with the numbers of its tensors in it; None if it has them already."""
    if depth > _DEEPEST:
        raise ValueError
    if kind == "tensor":
        return _rewritten_tensor(message, read)
    parts: list[memoryview | bytes] = []
    changed = False
    for number, wire, field, value in _fields(message):
        inner = _INNER[kind].get(number) if wire == _BYTES else None
        new = None if inner is None else _rewritten(value, inner, read, depth + 1)
        changed |= new is not None
        parts.append(field if new is None else _bytes_field(number, new))
    return b"".join(parts) if changed else None


def _rewritten_tensor(message: memoryview, read: _Read) -> bytes | None:
    fields = list(_fields(message))
    # Of several places the last one counts, if it is one that protocol buffers know, as a number of
    # 32 bits. Any that may count is enough here.
    places = [
        _varint(value, 0)[0] & _32_BITS
        for number, wire, _, value in fields
        if number == _DATA_LOCATION and wire == _VARINT
    ]
    if _EXTERNAL not in places:
        return None
    entry: dict[str, str] = {}
    for number, _, _, value in fields:
        if number == _EXTERNAL_DATA:
            pair = {n: bytes(text).decode() for n, _, _, text in _fields(value)}
            entry[pair.get(1, "")] = pair.get(2, "")
    kept = [field for number, _, field, _ in fields if number not in _DROPPED]
    return b"".join([*kept, _bytes_field(_RAW_DATA, read(entry))])


_DROPPED = (_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION)


def _read_beside(path: Path, entry: dict[str, str]) -> bytes:
    """Read what a tensor names: bytes of a file beside the model's."""
    location = entry.get("location", "")
    folder = path.parent.resolve()
    file = (folder / location).resolve()
    if not location or os.path.isabs(location) or folder not in file.parents:
        raise BundleError(
            f"{path} keeps numbers in {location!r}, which is not beside it; expected a file in the "
            "same folder. Save the model again, in one file."
        )
    offset, length = int(entry.get("offset") or 0), entry.get("length")
    try:
        with open(file, "rb") as opened:
            opened.seek(offset)
            data = opened.read(-1 if not length else int(length))
    except OSError as error:
        raise BundleError(
            f"{path} keeps numbers in {location}, which cannot be read ({error.strerror}); copy "
            "it to the same folder, or save the model again, in one file."
        ) from None
    if length and len(data) != int(length):
        raise BundleError(
            f"{path} keeps numbers in {location}, up to byte {offset + int(length):,}; that file "
            f"has {offset + len(data):,}. Copy it again."
        )
    return data


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview, memoryview]]:
    """Yield a message's fields: number, kind, all of its bytes, and those of the value."""
    place = 0
    while place < len(message):
        start = place
        tag, place = _varint(message, place)
        number, wire = (tag & _32_BITS) >> 3, tag & 7  # further bits are dropped in reading it
        if wire == _VARINT:
            begin, (_, place) = place, _varint(message, place)
        elif wire == _BYTES:
            length, begin = _varint(message, place)
            place = begin + length
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            begin, place = place, place + (8 if wire == _EIGHT_BYTES else 4)
        else:
            raise ValueError
        if place > len(message) or number == 0:
            raise ValueError
        yield number, wire, message[start:place], message[begin:place]


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError


def _bytes_field(number: int, value: bytes) -> bytes:
    return _encoded(number << 3 | _BYTES) + _encoded(len(value)) + value


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
