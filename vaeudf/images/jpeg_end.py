"""Whether a JPEG lacks nothing but its end marker, which some programs forget or cut off.

libjpeg reads ahead and so refuses such a file, though it has all pixels; browsers show it. A file
that was cut in its pixels must be refused: the decoder would fill in grey, and not report it. So
the file is continued in several ways. What the decoder makes of them differs, unless it needs
nothing of what follows.

Rarely, the pixels are the same in all of them and yet wrong. Small synthetic pictures were cut a
few bytes into their pixels to count this. Cut by one byte, 5 of 110,000 were taken as complete with
wrong pixels, up to 14 levels off (in an earlier sample 2 of 6,700, up to 19 levels); cut by two to
four bytes, 10 of about 331,000, up to 5 levels off.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vaeudf.images.containers import END, SCAN, segments

_BASELINE, _PROGRESSIVE, _RESTART_INTERVAL = (0xC0, 0xC1), 0xC2, 0xDD
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_COEFFICIENTS = 64
_END_MARKER = b"\xff\xd9"
# The length, and the most that a scan's header has: of 255 components two bytes, and four more.
_LONGEST_SCAN_HEADER = 2 + 2 * 255 + 4
# More bytes than the blocks that are coded together take.
_NUM_BYTES = 4096
_random = random.Random(0)
# The first bits are all that there are, lest they be those that were cut off. A byte of ones is
# written as two.
_CONTINUATIONS = [
    (bytes([first]) + _random.randbytes(_NUM_BYTES)).replace(b"\xff", b"\xff\0")
    for first in (0b00000000, 0b11111111, 0b01010101, 0b10101010)
]


def continuations(data: bytes) -> Iterator[bytes]:
    """Yield a JPEG file with several ends: if all give the same pixels, it lacks none.

    Nothing is yielded for a file that has an end, or lacks scans or parts between restarts; and
    nothing for arithmetic coding, of which bytes may be left out at the end.
    """
    if _lacks_an_end_alone(data):
        bare = data.rstrip(b"\xff")  # half a marker, or half of a byte of ones
        for more in _CONTINUATIONS:
            yield bare + more + _END_MARKER


@dataclass(frozen=True)
class _Frame:
    """What a JPEG says of its picture.

    Attributes:
        is_progressive: Whether its coefficients come in several scans.
        height: Pixels.
        width: Pixels.
        sampling: Of each component, the samples across and down in a unit of all components.
        missing: Of each component, the coefficients that no scan so far has in full.
    """

    is_progressive: bool
    height: int
    width: int
    sampling: Mapping[int, tuple[int, int]]
    missing: dict[int, set[int]] = field(default_factory=dict)

    def num_units(self, components: bytes) -> int:
        """Return how many blocks, or groups of blocks, a scan of some components has."""
        most_across = max(across for across, _ in self.sampling.values())
        most_down = max(down for _, down in self.sampling.values())
        if len(components) > 1:
            width, height = self.width, self.height
            block = 8 * most_across, 8 * most_down
        else:  # the blocks of that component alone
            across, down = self.sampling[components[0]]
            width, height = (
                -(-self.width * across // most_across),
                -(-self.height * down // most_down),
            )
            block = 8, 8
        return -(-width // block[0]) * -(-height // block[1])


def _lacks_an_end_alone(data: bytes) -> bool:
    """Whether the file has no end, but all scans, and all restarts of the last one."""
    frame: _Frame | None = None
    interval = expected = start = 0
    for segment in segments(data):
        if segment.marker == END:
            return False
        # Never all that follows: a file may have millions of segments.
        is_scan = segment.marker == SCAN
        content = data[segment.start + 4 : segment.end + is_scan * _LONGEST_SCAN_HEADER]
        if segment.marker == _RESTART_INTERVAL:
            interval = int.from_bytes(content[:2], "big")
        if segment.marker in (*_BASELINE, _PROGRESSIVE):
            # libjpeg refuses a second one.
            frame = None if frame is not None else _frame(content, segment.marker)
            if frame is None:
                return False
        if is_scan:
            components = _scan(content, frame)
            if frame is None or not components:
                return False
            start = segment.end
            expected = (frame.num_units(components) - 1) // interval if interval else 0
    if frame is None or any(frame.missing.values()):
        return False
    return len(_RESTART.findall(data, start)) >= expected


def _frame(content: bytes, marker: int) -> _Frame | None:
    count = content[5] if len(content) > 5 else 0
    described = [content[6 + 3 * i : 9 + 3 * i] for i in range(count)]
    sampling = {one[0]: (one[1] >> 4, one[1] & 15) for one in described if len(one) == 3}
    if not sampling or not all(all(factors) for factors in sampling.values()):
        return None
    return _Frame(
        marker == _PROGRESSIVE,
        int.from_bytes(content[1:3], "big"),
        int.from_bytes(content[3:5], "big"),
        sampling,
        {component: set(range(_COEFFICIENTS)) for component in sampling},
    )


def _scan(content: bytes, frame: _Frame | None) -> bytes:
    """Note which coefficients a scan has, and return its components; none if it is damaged."""
    count = content[0] if content else 0
    components, rest = content[1 : 1 + 2 * count : 2], content[1 + 2 * count : 4 + 2 * count]
    if frame is None or len(rest) < 3 or not set(components) <= set(frame.sampling):
        return b""
    found = range(rest[0], rest[1] + 1) if frame.is_progressive else range(_COEFFICIENTS)
    if not (frame.is_progressive and rest[2] & 15):  # else the lowest bits come in another scan
        for component in components:
            frame.missing[component].difference_update(found)
    return components
