"""Files whose picture is sound, while what is said beside it is damaged or too much.

Chromium shows each of them as these tests expect it (but for the APNG, whose animation it plays).
"""

from __future__ import annotations

import io
import math
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.support.files import encoded, exif, photo, quadrants
from vaeudf.images.containers import num_scans, without_metadata
from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.images.spec import ImageSpec

SPEC = ImageSpec(32, 48)
PIXELS = quadrants()
JPEG = encoded(PIXELS, "JPEG", quality=95, subsampling=0)
PNG = encoded(PIXELS)
WEBP = encoded(PIXELS, "WEBP", lossless=True)
GIF = encoded(Image.fromarray(PIXELS).quantize(8), "GIF")
# Two megabytes of a video, which has the bytes of a scan's beginning every 65,536 bytes or so.
VIDEO = (
    np.random.default_rng(0).integers(0, 256, 2**21, dtype=np.uint8).tobytes() + b"\xff\xda" * 99
)


def chunk(name: bytes, content: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(name + content) if crc is None else crc
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


def before_pixels(*chunks: bytes) -> bytes:
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def after_pixels(*chunks: bytes) -> bytes:
    return PNG[:-12] + b"".join(chunks) + PNG[-12:]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def with_segment(marker: int, content: bytes) -> bytes:
    return JPEG[:2] + segment(marker, content) + JPEG[2:]


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [
        name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
        for name, content in chunks
    ]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


VP8X = (b"VP8X", b"\x08\0\0\0" + b"\x2f\0\0" + b"\x1f\0\0")
VP8L = (b"VP8L", WEBP[20 : 20 + struct.unpack("<I", WEBP[16:20])[0]])
HUGE = zlib.compress(b"x" * 3_000_000)

SOUND = {
    "jpeg with a video behind it": JPEG + b"\0\0\0\x18ftypmp42" + VIDEO,
    "jpeg with zeros behind it": JPEG + b"\0" * 5000,
    "jpeg with another jpeg behind it": JPEG + encoded(photo(), "JPEG", progressive=True) * 50,
    "jpeg without an end": JPEG[:-2],
    "jpeg without an end, with zeros": JPEG[:-2] + b"\0" * 500,
    "jpeg with scans in a comment": with_segment(0xFE, b"\xff\xda" * 30_000),
    "jpeg with thumbnails in it": with_segment(0xE5, (JPEG * 200)[:60_000]),
    "jpeg with damaged Exif": with_segment(0xE1, b"Exif\0\0zz"),
    "jpeg with a damaged profile": with_segment(0xE2, b"ICC_PROFILE\0\x01\x02"),
    "jpeg with damaged Photoshop data": with_segment(0xED, b"Photoshop 3.0\0008BIMxx"),
    "jpeg with damaged MPF": with_segment(0xE2, b"MPF\0junk"),
    "jpeg with filling bytes": JPEG[:2] + b"\xff\xff\xff" + JPEG[2:],
    "jpeg of CMYK, inverted as by Adobe": encoded(
        Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=95
    ),
    "mpo": encoded(PIXELS, "MPO", save_all=True, append_images=[photo()], quality=95),
    "png with a bad checksum of a text": before_pixels(chunk(b"tEXt", b"a\0b", 7)),
    "png with a bad checksum of gAMA": before_pixels(chunk(b"gAMA", b"\0\0\xb1\x8f", 7)),
    "png with a bad checksum of tRNS": before_pixels(chunk(b"tRNS", b"\0\xff\0\0\0\0", 7)),
    "png with a bad checksum behind": after_pixels(chunk(b"tEXt", b"a\0b", 7)),
    "png with a short tRNS": before_pixels(chunk(b"tRNS", b"a")),
    "png with short chunks": before_pixels(
        *(chunk(name, b"a") for name in (b"pHYs", b"gAMA", b"cHRM", b"acTL", b"sRGB"))
    ),
    "png with a chunk of an odd name": before_pixels(chunk(b"a\0b1", b"junk")),
    "png with a large iTXt": before_pixels(chunk(b"iTXt", b"a\0\0\0\0\0" + b"x" * 3_000_000)),
    "png with a large iTXt, compressed": before_pixels(chunk(b"iTXt", b"a\0\1\0\0\0" + HUGE)),
    "png with a large zTXt": before_pixels(chunk(b"zTXt", b"a\0\0" + HUGE)),
    "png with a large iCCP": before_pixels(chunk(b"iCCP", b"a\0\0" + HUGE)),
    "png with iCCP of another method": before_pixels(chunk(b"iCCP", b"a\0\7junk")),
    "png with 40 large texts": before_pixels(
        *(chunk(b"zTXt", b"%d\0\0" % i + zlib.compress(b"x" * 2**20)) for i in range(80))
    ),
    "png with text cut short behind": PNG[:-12] + chunk(b"tEXt", b"a\0" + b"b" * 100)[:-50],
    "png without an end": PNG[:-12],
    "png with bytes behind it": PNG + VIDEO,
    "png with Exif that is none": before_pixels(chunk(b"eXIf", b"junk")),
    "gif without an end": GIF[:-1],
    "gif with bytes behind it": GIF + VIDEO,
    "webp with bytes behind it": WEBP + VIDEO,
    "webp with more chunks": riff(VP8X, (b"abcd", b"abc" * 999), VP8L, (b"JUNK", b"abc")),
    "webp with damaged Exif": riff(VP8X, VP8L, (b"EXIF", b"junk")),
    "bmp with bytes behind it": encoded(PIXELS, "BMP") + VIDEO,
    "tiff with bytes behind it": encoded(PIXELS, "TIFF") + VIDEO,
}


@pytest.mark.parametrize("name", SOUND)
def test_pictures_whose_pixels_are_sound(name):
    found = decode_image(SOUND[name], SPEC)
    assert not isinstance(found, ImageFailure), found
    # A level or two for JPEG in the middle of each colour; its edges have waves around them.
    near = PIXELS.astype(int) - found
    assert np.abs(near).max() <= (0 if not name.startswith(("jpeg", "mpo")) else 125)
    for rows, columns in [(8, 12), (8, 36), (24, 12), (24, 36)]:
        assert np.abs(near[rows, columns]).max() <= 2


def bmp_with_alpha(alpha: np.ndarray) -> bytes:
    pixels = np.dstack([PIXELS[..., ::-1], alpha])[::-1].astype(np.uint8)
    header = struct.pack("<IiiHHIIiiII", 108, 48, 32, 1, 32, 3, pixels.nbytes, 0, 0, 0, 0)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    start = struct.pack("<2sIHHI", b"BM", 122 + pixels.nbytes, 0, 0, 122)
    return start + header + masks + pixels.tobytes()


def test_a_bmp_whose_transparency_nobody_has_written():
    alpha = np.zeros((32, 48), np.uint8)
    assert (decode_image(bmp_with_alpha(alpha), SPEC) == PIXELS).all()
    alpha[0, 0] = 255
    found = decode_image(bmp_with_alpha(alpha), SPEC)
    assert (found[0, 0] == PIXELS[0, 0]).all() and (found[1:] == 255).all()


def test_bmp_of_16_bits():
    levels = PIXELS.astype(np.uint16) >> 3
    words = (levels[..., 0] << 10 | levels[..., 1] << 5 | levels[..., 2]).astype("<u2")
    header = struct.pack("<IiiHHIIiiII", 40, 48, -32, 1, 16, 0, words.nbytes, 0, 0, 0, 0)
    data = b"BM" + struct.pack("<III", 54 + words.nbytes, 0, 54) + header + words.tobytes()
    found = decode_image(data, SPEC)
    assert np.abs(found.astype(int) - PIXELS).max() <= 7  # of five bits each


def apng(hidden: np.ndarray, shown: np.ndarray) -> bytes:
    def packed(picture: np.ndarray) -> bytes:
        return zlib.compress(b"".join(b"\0" + row.tobytes() for row in picture))

    frame = struct.pack(">IIIIIHHBB", 0, 48, 32, 0, 0, 1, 10, 0, 0)
    return PNG[:33] + b"".join(
        [
            chunk(b"acTL", struct.pack(">II", 1, 0)),
            chunk(b"IDAT", packed(hidden)),
            chunk(b"fcTL", frame),
            chunk(b"fdAT", struct.pack(">I", 1) + packed(shown)),
            chunk(b"IEND", b""),
        ]
    )


def test_of_an_apng_the_default_image_is_taken():
    """Also if its animation leaves it out: it is what programs without animation show."""
    data = apng(PIXELS, PIXELS[::-1])
    assert (decode_image(data, SPEC) == PIXELS).all()
    out_of_order = data.replace(
        struct.pack(">IIIII", 0, 48, 32, 0, 0), b"\0\0\0\x09" + b"\xff" * 16
    )
    assert out_of_order != data
    assert (decode_image(out_of_order, SPEC) == PIXELS).all()


def test_transparency_and_orientation_are_kept():
    """Where the rest of a file is passed over, these are not."""
    bad = chunk(b"tEXt", b"a\0b", 7)
    key = chunk(b"tRNS", struct.pack(">HHH", 255, 0, 0))
    turn = chunk(b"eXIf", exif(3)[6:])
    found = decode_image(before_pixels(bad, key, turn), SPEC)
    expected = PIXELS.copy()
    expected[:16, :24] = 255
    assert (found == expected[::-1, ::-1]).all()
    photoshop = segment(0xED, b"Photoshop 3.0\0008BIMxx")
    data = JPEG[:2] + photoshop + segment(0xE1, exif(3)) + JPEG[2:]
    turned = decode_image(data, SPEC)
    assert np.abs(turned[8, 12].astype(int) - PIXELS[24, 36]).max() <= 2
    cmyk = SOUND["jpeg of CMYK, inverted as by Adobe"]
    found = decode_image(cmyk[:2] + photoshop + cmyk[2:], SPEC)
    assert (found == decode_image(cmyk, SPEC)).all()


# ---- what is damaged stays in quarantine


def idat_ends_early() -> bytes:
    start = PNG.index(b"IDAT") - 4
    return PNG[: start + 40]


def png_of(raw: bytes, *, depth: int, kind: int, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", 13, 10, depth, kind, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(48)) if kind == 3 else b""
    chunks = [chunk(b"IHDR", header), palette, chunk(b"IDAT", zlib.compress(raw)), PNG[-12:]]
    return PNG[:8] + b"".join(chunks)


# Which pixels a pass of an interlaced PNG has, as its specification draws them.
ADAM7 = ["16462646", "77777777", "56565656", "77777777"] * 2
ADAM7[4] = "36463646"


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(
    ("depth", "kind"),
    [*((d, 0) for d in (1, 2, 4, 8, 16)), *((d, 3) for d in (1, 4, 8))]
    + [(d, k) for d in (8, 16) for k in (2, 4, 6)],
)
def test_rows_that_are_missing(depth, kind, interlaced):
    """A stream of pixels that ends properly, too early."""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    seen = [[ADAM7[y % 8][x % 8] if interlaced else "1" for x in range(13)] for y in range(10)]
    rows = [row.count(one) for one in "1234567" for row in seen if one in row]
    raw = bytes(sum(1 + math.ceil(pixels * bits / 8) for pixels in rows))
    whole = decode_image(png_of(raw, depth=depth, kind=kind, interlaced=interlaced), SPEC)
    assert not isinstance(whole, ImageFailure), whole
    for lost in (1, len(raw) // 2, len(raw)):
        data = png_of(raw[:-lost], depth=depth, kind=kind, interlaced=interlaced)
        found = decode_image(data, SPEC)
        assert isinstance(found, ImageFailure) and found.reason == "truncated", (lost, found)


DAMAGED = {
    "jpeg cut in its pixels": (encoded(photo(), "JPEG")[:-300], "truncated"),
    "jpeg with only metadata": (JPEG[:2] + segment(0xED, b"Photoshop 3.0\0008BIMxx"), "truncated"),
    "png cut in its pixels": (idat_ends_early(), "truncated"),
    "png cut, with a bad text": (before_pixels(chunk(b"tEXt", b"a\0b", 7))[:70], "unreadable"),
    "png with a bad header": (PNG[:20] + b"\1" + PNG[21:], "unreadable"),
    "png with damaged pixels": (
        PNG.replace(PNG[60:70], bytes(255 - b for b in PNG[60:70])),
        "unreadable",
    ),
    "webp that says it is longer": (WEBP[:4] + struct.pack("<I", 10**6) + WEBP[8:], "truncated"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_pictures_are_still_refused(name):
    data, reason = DAMAGED[name]
    found = decode_image(data, SPEC)
    assert isinstance(found, ImageFailure) and found.reason == reason


def progressive(scans: int, between: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan comes so many times more."""
    data = encoded(photo(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + (between + data[last:-2]) * scans + data[-2:]


@pytest.mark.parametrize(
    "between",
    [
        b"",
        b"\xff\x02\xff\xff",  # passed over by libjpeg at most alone, without what it seems to begin
        b"\xff\xd0",
        b"\xff\xc8\xff\xff",
        b"\xff\xd8",
        b"\0\0\xff\xff",
        b"\xff\xff\xff",
        segment(0xFE, b"\xff\xd9"),
        segment(0xE3, b"\xff\xd9" * 9),
        b"\xff\xfe\0\0",
    ],
)
def test_too_many_scans_are_refused_wherever_they_hide(between):
    found = decode_image(progressive(300, between), SPEC)
    assert found == ImageFailure("unreadable", f"a JPEG of {310} scans; at most 100.")


def test_scans_are_counted_up_to_the_end():
    few = progressive(0)
    scans = num_scans(few)
    assert scans == few.count(b"\xff\xda") == 10
    assert num_scans(few + few) == scans
    assert num_scans(few[:2] + segment(0xE1, few) + few[2:]) == scans
    assert num_scans(few[: len(few) // 2]) < scans
    assert [num_scans(b"\xff\xd8" + b"\xff\xda" * n) for n in (0, 1, 99)] == [0, 1, 99]


def test_a_bomb_behind_damaged_metadata_is_refused():
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    bad = chunk(b"tEXt", b"a\0b", 7)
    data = PNG[:8] + chunk(b"IHDR", header) + bad + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    found = decode_image(data, SPEC)
    assert isinstance(found, ImageFailure) and found.reason in ("unreadable", "too_many_pixels")
    bare = without_metadata(data, "PNG")
    assert bare is not None
    found = decode_image(bare, SPEC)
    assert isinstance(found, ImageFailure) and found.reason == "too_many_pixels"


def test_what_is_left_out():
    assert without_metadata(PNG, "PNG") is None and without_metadata(WEBP, "WEBP") is None
    bare = without_metadata(SOUND["png with a large zTXt"], "PNG")
    assert bare == PNG
    bare = without_metadata(with_segment(0xED, b"any") + VIDEO, "JPEG")
    assert bare == JPEG
    assert without_metadata(b"\x89PNG\r\n\x1a\n" + b"\xff" * 99, "PNG") == b"\x89PNG\r\n\x1a\n"
    assert re.fullmatch(b"\xff\xd8", without_metadata(b"\xff\xd8\xff\xe5\xff", "JPEG") or b"")
    with Image.open(io.BytesIO(bare)) as im:
        assert im.size == (48, 32)
