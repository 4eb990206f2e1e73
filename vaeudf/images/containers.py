"""JPEG and PNG files piece by piece: what of a file is its picture, and what is said beside it.

Cameras, editors and shops write much into files that is not the picture: texts, profiles, maps,
whole videos. If that is damaged, or more than Pillow reads, browsers show the picture all the same.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

# What ends a scan's data: FF that is not stuffed, not a restart marker, and not filling.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
SCAN, END, _COMMENT = 0xDA, 0xD9, 0xFE
# The markers that libjpeg passes over by their length. It stops at others; behind these, and in the
# header of a scan, scans are looked for in every byte, so that none is hidden.
_WITH_LENGTH = {*range(0xC0, 0xC8), *range(0xC9, 0xD0), *range(0xDB, 0xDE), *range(0xE0, 0xF0)}
_WITH_LENGTH |= {_COMMENT}
_JFIF, _EXIF, _ADOBE = 0xE0, 0xE1, 0xEE

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# The lengths that a transparent colour has, of a grey level and of red, green and blue.
_KEY_LENGTHS = {0: 2, 2: 6}
# Samples of a pixel, by the kind of colour.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Of an interlaced PNG's passes, the first column and row, and the steps to the next ones.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_INFLATED_AT_ONCE = 2**20


class Segment(NamedTuple):
    """A part of a JPEG: a marker and what belongs to it, up to the next one."""

    marker: int
    start: int
    end: int


def num_scans(data: bytes) -> int:
    """Return how many scans the picture of a JPEG file has, not those behind its end."""
    return sum(segment.marker == SCAN for segment in segments(data))


def without_metadata(data: bytes, kind: str) -> bytes | None:
    """Return a file of the same pixels, transparency and orientation, and nothing else.

    Args:
        data: The file.
        kind: As `vaeudf.images.formats.kind_of` calls it.

    Returns:
        The shorter file, or None if nothing can be left out.
    """
    strip = {"JPEG": _bare_jpeg, "PNG": _bare_png}.get(kind)
    bare = None if strip is None else strip(data)
    return None if bare is None or len(bare) == len(data) else bare


def segments(data: bytes) -> Iterator[Segment]:
    """Yield the parts of a JPEG file, up to its end if it has one."""
    position = 0
    while True:
        found = _MARKER.search(data, position)
        if found is None:
            return
        start, position, marker = found.start(), found.end(), data[found.end() - 1]
        if marker in _WITH_LENGTH:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
        yield Segment(marker, start, position)
        if marker == END:
            return


def _bare_jpeg(data: bytes) -> bytes:
    kept, end = [], 0
    for segment in segments(data):
        is_metadata = 0xE0 <= segment.marker < 0xF0 or segment.marker == _COMMENT
        content = data[segment.start + 4 : segment.start + 8]
        is_seen = segment.marker in (_JFIF, _ADOBE)
        if is_metadata and not is_seen and (segment.marker, content) != (_EXIF, b"Exif"):
            kept.append(data[end : segment.start])
            end = segment.end
        last = segment.end
        if segment.marker == END:
            break
    else:
        last = len(data)
    return b"".join([*kept, data[end:last]])


def _bare_png(data: bytes) -> bytes:
    kept, position = [_PNG_SIGNATURE], len(_PNG_SIGNATURE)
    color_type = data[25] if len(data) > 25 else 0
    while position < len(data):
        chunk = data[
            position : position + 12 + int.from_bytes(data[position : position + 4], "big")
        ]
        name, position = chunk[4:8], position + len(chunk)
        is_key = name == b"tRNS" and len(chunk) - 12 == _KEY_LENGTHS.get(
            color_type, len(chunk) - 12
        )
        if name in _PIXEL_CHUNKS or ((is_key or name == b"eXIf") and _is_sound(chunk)):
            kept.append(chunk)
        if name == b"IEND":
            break
    return b"".join(kept)


def png_lacks_rows(data: bytes) -> bool:
    """Return whether the pixels of a PNG, once decompressed, are fewer than its header says.

    Pillow takes a stream that ends properly for a whole one.
    """
    width, height, depth, color_type, *_, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    bits = depth * _SAMPLES[color_type]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    expected = 0
    for left, top, right, down in passes:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            expected += rows * (1 + -(-columns * bits // 8))
    stream = zlib.decompressobj()
    position, found = len(_PNG_SIGNATURE), 0
    while position + 8 <= len(data) and found < expected:
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"IDAT":
            rest = data[position + 8 : end]
            while rest and not stream.eof and found < expected:
                found += len(stream.decompress(rest, _INFLATED_AT_ONCE))
                rest = stream.unconsumed_tail
        position = end + 4
    return found < expected


def _is_sound(chunk: bytes) -> bool:
    return len(chunk) >= 12 and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
