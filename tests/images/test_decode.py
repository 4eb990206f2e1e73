"""Bytes to pixels: every picture here is made in the test, and its colours are known beforehand."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from tests.support.cases import each_value_once
from tests.support.files import (
    BLUE,
    BOMBS,
    GREEN,
    GREY,
    ODD_JPEG,
    RED,
    SAMPLES,
    WHITE,
    encoded,
    exif,
    photo,
    png,
    quadrants,
    tiff,
)
from tests.support.tolerances import JPEG_LEVELS, assert_same_levels, near_levels
from vaeudf.errors import InputError
from vaeudf.images.decode import REASONS, ImageFailure, decode_image, thumbnail
from vaeudf.images.formats import FORMAT_NAMES
from vaeudf.images.spec import ImageSpec

PILLOW = int(PIL.__version__.split(".")[0])


@pytest.fixture(autouse=True)
def every_warning_is_an_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def stretched(height: int, width: int, **rest: Any) -> ImageSpec:
    return ImageSpec(height, width, resize="stretch", **rest)


def pixels(data: bytes, spec: ImageSpec, **limits: int) -> np.ndarray:
    array = decode_image(data, spec, **limits)
    assert isinstance(array, np.ndarray), array
    assert array.shape == (spec.height, spec.width, spec.channels)
    assert array.dtype == np.uint8 and array.flags.c_contiguous and array.flags.writeable
    return array


def failure(data: Any, spec: ImageSpec | None = None, **limits: int) -> ImageFailure:
    found = decode_image(data, spec or ImageSpec(16, 16), **limits)
    assert isinstance(found, ImageFailure), found
    assert found.reason in REASONS
    assert found.message and "\n" not in found.message
    return found


def colour(data: bytes, **spec: Any) -> tuple[int, ...]:
    """The one colour of a picture that has only one."""
    array = pixels(data, stretched(2, 2, **spec))
    assert (array == array[0, 0]).all()
    return tuple(array[0, 0].tolist())


# ---- what is refused, and how


@pytest.mark.parametrize("data", [None, b"", bytearray()])
def test_no_bytes(data):
    assert failure(data).reason == "empty"


def test_too_many_bytes_are_refused_unread(monkeypatch):
    monkeypatch.setattr(Image, "open", None)
    found = failure(b"\xff\xd8\xff" + bytes(98), max_bytes=100)
    assert found == ImageFailure("too_large", "101 bytes; at most 100 are read.")


OTHER_FILES = [
    (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    (b"\xef\xbb\xbf <!DOCTYPE html><p>404", "HTML"),
    ("<html><body>Größe nicht verfügbar".encode(), "HTML"),
    (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
    (b"\0\0\0\x1cftypheic\0\0\0\0", "HEIC"),
    (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
    (b"\0\0\0\x20ftypisom\0\0\0\0", "an MP4 or QuickTime file"),
    (b"\0\0\1\0\1\0", "ICO"),
    (b"\xff\x0a\x11\x22", "JPEG XL"),
    (b"PK\3\4abc", "a ZIP archive"),
    (b"not found", "text that begins 'not found'"),
    (b"\0" * 500, "unknown bytes that begin 00 00 00 00 00 00 00 00"),
    (b"\x8f\xb1" * 90, "unknown bytes that begin 8f b1 8f b1 8f b1 8f b1"),
]


@pytest.mark.parametrize(
    ("data", "found"), [row for row in OTHER_FILES if row[1] not in FORMAT_NAMES]
)
def test_other_formats_are_named(data, found):
    answer = failure(data)
    assert answer.reason == "unsupported_format"
    assert answer.message == f"{found}; expected {', '.join(FORMAT_NAMES)}."


@pytest.mark.parametrize(
    "format", sorted({"AVIF", "JPEG2000", "PPM", "TGA", "ICO", "PCX"} - {*FORMAT_NAMES})
)
def test_formats_that_pillow_could_open_are_refused(format):
    assert failure(encoded(photo(), format)).reason == "unsupported_format"


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_by_their_header(name):
    began = time.perf_counter()
    found = failure(BOMBS[name])
    assert time.perf_counter() - began < 1
    # libwebp itself does not open a canvas without a picture.
    assert found.reason in ("too_many_pixels", *(["unreadable"] if name == "webp" else []))


def test_pixel_cap_counts_the_header():
    data = encoded(np.zeros((30, 50), np.uint8))
    assert pixels(data, ImageSpec(4, 4), max_pixels=1500).shape == (4, 4, 3)
    found = failure(data, max_pixels=1499)
    assert found.reason == "too_many_pixels"
    assert found.message.startswith("this PNG file has 50 × 30 pixels; at most 1,499 ")


def test_limits_of_pillow_stay_as_they_were():
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    for data in (*BOMBS.values(), *SAMPLES.values()):
        decode_image(data, ImageSpec(8, 8))
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == before


def test_jpeg_with_thousands_of_scans():
    found = failure(SAMPLES["jpeg"][:-2] + b"\xff\xda" * 1000)
    assert found == ImageFailure("unreadable", "a JPEG of 1,001 scans; at most 100.")


@pytest.mark.parametrize("name", SAMPLES)
def test_truncated_files_are_failures_or_whole(name):
    data = SAMPLES[name]
    spec = ImageSpec(20, 20)
    whole = pixels(data, spec)
    cuts = {*range(12, len(data), max(1, len(data) // 60)), *range(len(data) - 6, len(data))}
    for cut in cuts:
        found = decode_image(data[:cut], spec)
        if isinstance(found, np.ndarray):
            assert (found == whole).all()  # what is missing was not part of the first picture
            assert cut > len(data) * 0.3
        elif name != "tiff jpeg" or found.reason == "truncated":
            assert found.reason == "truncated", (cut, found)
            assert re.match(rf"this \w+ file of {cut:,} bytes ends too early\.$", found.message)
        else:
            assert found.reason == "unreadable"


@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_truncated_files_longer_than_a_read(format):
    noise = np.random.default_rng(3).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    data = encoded(noise, format, **({"quality": 95} if format == "JPEG" else {}))
    assert len(data) > 2 * ImageFile.MAXBLOCK
    pixels(data, ImageSpec(8, 8))
    for share in (0.2, 0.5, 0.8, 0.95):
        assert failure(data[: int(share * len(data))]).reason == "truncated"


def test_truncated_run_lengths_of_a_bmp():
    runs = b"".join(bytes([4, level, 0, 0]) for level in range(4)) + b"\0\1"
    palette = b"".join(bytes([level % 28 * 9, 0, 255, 0]) for level in range(256))
    header = struct.pack("<IIIIiiHHIIiiII", 0, 0, 1078, 40, 4, 4, 1, 8, 1, len(runs), *[0] * 4)
    data = b"BM" + header + palette + runs
    assert pixels(data, stretched(4, 4))[:, 0].tolist() == [[255, 0, 9 * i] for i in (3, 2, 1, 0)]
    for missing in range(7, len(runs), 3):
        assert failure(data[:-missing]).reason == "truncated"


def test_half_a_picture_is_never_passed_on(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(InputError, match=r"LOAD_TRUNCATED_IMAGES is True.*expected False"):
        decode_image(SAMPLES["jpeg"], ImageSpec(8, 8))


@pytest.mark.parametrize(
    "error",
    [
        struct.error("unpack requires"),
        SyntaxError("broken"),
        MemoryError(),
        zlib.error("Error -3"),
        OverflowError("too large"),
        RecursionError("maximum depth"),
        ZeroDivisionError(),
        UserWarning("as an error"),
    ],
)
def test_whatever_a_decoder_raises_becomes_a_failure(monkeypatch, error):
    def load(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    found = failure(SAMPLES["bmp"])
    assert found.reason == "unreadable"
    # What the error says, and not what Python calls it.
    assert found.message == f"a damaged BMP: {str(error) or 'Pillow cannot decode it'}."


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_request_to_stop_is_heeded(monkeypatch, error):
    def load(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(error):
        decode_image(SAMPLES["bmp"], ImageSpec(8, 8))


def test_messages_do_not_depend_on_the_run():
    data = b"\x89PNG\r\n\x1a\n" + b"rubbish " * 20
    assert failure(data) == failure(data)
    assert failure(data).message == "begins like PNG, but its header is damaged."


@pytest.mark.parametrize("data", ["text", 5, [1, 2]])
def test_other_types_are_the_callers_mistake(data):
    with pytest.raises(InputError, match=f"is a {type(data).__name__}; expected bytes or None"):
        decode_image(data, ImageSpec(8, 8))


def test_any_kind_of_bytes():
    spec = ImageSpec(8, 8)
    for kind in (bytearray, memoryview):
        assert (pixels(kind(SAMPLES["png"]), spec) == pixels(SAMPLES["png"], spec)).all()


@given(
    name=st.sampled_from(sorted(SAMPLES)),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    header_edits=st.lists(st.tuples(st.integers(4, 60), st.integers(0, 255)), max_size=2),
    cut=st.tuples(st.floats(0, 1), st.integers(0, 40)),
    spec=st.sampled_from([ImageSpec(9, 7), ImageSpec(5, 8, 1, "crop"), stretched(6, 6)]),
)
@settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_files_give_an_array_or_a_reason(name, edits, header_edits, cut, spec):
    data = bytearray(SAMPLES[name])
    for place, value in edits:
        data[int(place * (len(data) - 1))] = value
    for place, value in header_edits:
        data[place] = value
    start = int(cut[0] * len(data))
    del data[start : start + cut[1]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode_image(bytes(data), spec, max_pixels=1_000_000)
        again = decode_image(bytes(data), spec, max_pixels=1_000_000)
    if isinstance(found, ImageFailure):
        assert found.reason in REASONS and found.message
        assert found == again
    else:
        assert found.shape == (spec.height, spec.width, spec.channels)
        assert found.dtype == np.uint8
        assert (found == again).all()


# ---- warnings and threads


def test_odd_metadata_is_decoded_in_silence(recwarn):
    warnings.simplefilter("always")
    with Image.open(io.BytesIO(ODD_JPEG)) as im:
        dict(im.getexif())
    assert len(recwarn) > 0, "this file no longer makes Pillow warn: the test tests nothing"
    recwarn.clear()
    pixels(ODD_JPEG, ImageSpec(8, 8))
    assert len(recwarn) == 0
    warnings.simplefilter("error")
    pixels(ODD_JPEG, ImageSpec(8, 8))


# ---- orientation

# EXIF 2.3, tag 0x0112: where row 0 and column 0 of the stored picture are, seen by a person.
STORED = {
    1: lambda seen: seen,  # top, left
    2: lambda seen: seen[:, ::-1],  # top, right
    3: lambda seen: seen[::-1, ::-1],  # bottom, right
    4: lambda seen: seen[::-1],  # bottom, left
    5: lambda seen: seen.swapaxes(0, 1),  # left, top
    6: lambda seen: seen.swapaxes(0, 1)[::-1],  # right, top
    7: lambda seen: seen.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda seen: seen.swapaxes(0, 1)[:, ::-1],  # left, bottom
}


@each_value_once(("format", ["JPEG", "PNG", "WEBP", "TIFF"]), ("orientation", STORED))
def test_orientation(format, orientation):
    seen = quadrants()
    stored = np.ascontiguousarray(STORED[orientation](seen))
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    data = encoded(stored, format, exif=exif(orientation), **options.get(format, {}))
    assert np.abs(pixels(data, ImageSpec(32, 48)).astype(int) - seen).max() <= 3


@each_value_once(("resize", ["pad", "crop", "stretch"]), ("orientation", STORED))
def test_orientation_is_applied_to_what_is_seen(resize, orientation):
    seen = np.asarray(photo(37, 90))
    spec = ImageSpec(23, 16, resize=resize, background=RED)
    upright = pixels(encoded(seen), spec).astype(int)
    stored = np.ascontiguousarray(STORED[orientation](seen))
    turned = pixels(encoded(stored, exif=exif(orientation)), spec)
    # Equal with Pillow 13; before, rows and columns were rounded and clipped in stored order.
    assert np.abs(turned - upright).max() <= 4


@pytest.mark.parametrize("value", [0, 9, 77, 65535])
def test_orientation_out_of_range_is_ignored(value):
    data = encoded(quadrants(), exif=exif(value))
    assert (pixels(data, ImageSpec(32, 48)) == quadrants()).all()


def test_damaged_exif_does_not_cost_the_picture():
    for junk in (b"Exif\0\0", b"Exif\0\0junk", exif(6)[:-9], b"Exif\0\0II*\0\xff\xff\xff\xff"):
        array = pixels(encoded(quadrants(), exif=junk), ImageSpec(32, 48))
        assert (array == quadrants()).all()


# ---- transparency

BACKGROUND = (200, 100, 40)


def blended(rgb: tuple[int, ...], alpha: float, background=BACKGROUND) -> list[float]:
    share = alpha / 255
    return [share * c + (1 - share) * b for c, b in zip(rgb, background, strict=True)]


@each_value_once(("format", ["PNG", "WEBP", "TIFF"]), ("alpha", [0, 1, 77, 128, 254, 255]))
def test_alpha_is_blended_with_the_background(format, alpha):
    data = encoded(Image.new("RGBA", (6, 4), (10, 240, 90, alpha)), format,
                   **({"lossless": True, "exact": True} if format == "WEBP" else {}))  # fmt: skip
    found = colour(data, background=BACKGROUND)
    assert found == near_levels(blended((10, 240, 90), alpha))
    luma = np.dot(blended((10, 240, 90), alpha), [0.299, 0.587, 0.114])
    assert colour(data, background=BACKGROUND, channels=1) == near_levels((luma,), levels=1.5)


@pytest.mark.skipif(PILLOW < 13, reason="Pillow 12 refuses such TIFFs, or reads them wrongly")
@pytest.mark.parametrize("alpha", [0, 90, 255])
def test_grey_with_alpha(alpha):
    expected = blended((60, 60, 60), alpha)
    for format in ("PNG", "TIFF"):
        data = encoded(Image.new("LA", (6, 4), (60, alpha)), format)
        assert colour(data, background=BACKGROUND) == near_levels(expected)
    data = png(1, 1, 16, 4, b"\0" + struct.pack(">HH", 60 * 257, alpha * 257))
    assert colour(data, background=BACKGROUND) == near_levels(expected)
    stored = round(60 * alpha / 255)  # ExtraSamples 1: the colour is multiplied already
    data = tiff(1, 1, bytes([stored, alpha]), t258=(8, 8), t262=1, t277=2, t338=1)
    assert colour(data, background=BACKGROUND) == near_levels(expected, levels=2)


def test_palette_with_alpha():
    palette = bytes([*RED, *GREEN, *BLUE])
    data = png(3, 1, 8, 3, b"\0\0\1\2", PLTE=palette, tRNS=bytes([0, 128]))
    found = pixels(data, stretched(1, 3, background=BACKGROUND))[0].tolist()
    assert found == [
        list(BACKGROUND),
        near_levels(blended(GREEN, 128)),
        list(BLUE),
    ]
    one = png(3, 1, 8, 3, b"\0\0\1\2", PLTE=palette, tRNS=bytes([255, 0]))
    found = pixels(one, stretched(1, 3, background=BACKGROUND))[0].tolist()
    assert found == [list(RED), list(BACKGROUND), list(BLUE)]
    pa = encoded(Image.new("PA", (2, 2), (0, 128)), "TIFF")
    assert colour(pa, background=BACKGROUND) == near_levels(blended((0, 0, 0), 128))


@pytest.mark.parametrize(
    ("depth", "kind", "row", "key", "expected"),
    [
        (1, 0, b"\x80", struct.pack(">H", 1), [None, 0]),
        (2, 0, b"\x60", struct.pack(">H", 1), [None, 170]),
        (4, 0, b"\xf0", struct.pack(">H", 15), [None, 0]),
        (4, 0, b"\x1f", struct.pack(">H", 1), [None, 255]),
        (8, 0, b"\x07\x09", struct.pack(">H", 7), [None, 9]),
        (16, 0, struct.pack(">2H", 1000, 60000), struct.pack(">H", 1000), [None, 233]),
        (8, 2, bytes([*RED, *GREEN]), struct.pack(">3H", *RED), [None, GREEN]),
        (
            16,
            2,
            struct.pack(">6H", 65535, 1000, 0, 0, 65535, 0),
            struct.pack(">3H", 65535, 1000, 0),
            [None, GREEN],
        ),
    ],
)
def test_one_transparent_colour_at_every_depth(depth, kind, row, key, expected):
    data = png(2, 1, depth, kind, b"\0" + row, tRNS=key)
    found = pixels(data, stretched(1, 2, background=BACKGROUND))[0]
    colours = [BACKGROUND if c is None else (c,) * 3 if isinstance(c, int) else c for c in expected]
    assert found.tolist() == [list(c) for c in colours]


def test_blending_comes_before_resizing():
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[8:20, 5:27] = (120, 30, 220, 255)
    rgba[20:, 9:12] = (250, 30, 20, 100)
    share = rgba[..., 3:] / 255
    flat = np.rint(rgba[..., :3] * share + np.array(BACKGROUND) * (1 - share)).astype(np.uint8)
    spec = ImageSpec(12, 12, background=BACKGROUND)
    assert_same_levels(pixels(encoded(rgba), spec), pixels(encoded(flat), spec))


# ---- first frames


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])  # those with frames
def test_the_first_frame_of_many(format):
    frames = [Image.new("RGB", (8, 8), c) for c in (RED, BLUE, GREEN)]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(data)) as im:
        assert im.n_frames == 3
    assert colour(data) == RED


def test_gif_transparency_and_a_frame_smaller_than_its_canvas():
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([*RED, *GREEN])
    palette.paste(1, (2, 0, 4, 4))
    data = bytearray(encoded(palette, "GIF", transparency=1, interlace=0))
    half = pixels(bytes(data), stretched(4, 4, background=BACKGROUND))
    assert (half[:, :2] == RED).all() and (half[:, 2:] == BACKGROUND).all()
    data = bytearray(encoded(palette, "GIF", interlace=0))
    data[6:10] = struct.pack("<HH", 8, 6)  # the canvas; the frame stays 4 × 4
    array = pixels(bytes(data), stretched(6, 8, background=BACKGROUND))
    assert (array[:4, :2] == RED).all() and (array[:4, 2:4] == GREEN).all()
    assert (array[4:] == BACKGROUND).all() and (array[:, 4:] == BACKGROUND).all()


# ---- sample depths

DEEP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
SHALLOW = np.floor(DEEP / 257 + 0.5).astype(np.uint8)  # 65535 / 255 = 257, no ties


@pytest.mark.parametrize(
    "data",
    [
        encoded(DEEP),
        encoded(DEEP, "TIFF"),
        encoded(DEEP, "TIFF", compression="tiff_lzw"),
        encoded(DEEP.astype(">u2"), "TIFF"),
        encoded(DEEP.astype(np.int32), "TIFF"),
        encoded((DEEP / 65535).astype(np.float32), "TIFF"),
        tiff(256, 256, (65535 - DEEP).astype("<u2").tobytes(), t258=16, t262=0),
        tiff(256, 256, (DEEP // 2).astype("<i2").tobytes(), t258=16, t262=1, t339=2),
        png(256, 256, 16, 2, b"".join(b"\0" + r.astype(">u2").repeat(3).tobytes() for r in DEEP)),
    ],
    ids=["png", "tiff", "lzw", "big-endian", "32 bits", "float", "white is zero", "signed", "rgb"],
)
def test_sixteen_bits_are_scaled_not_clipped(data):
    for channels in (1, 3):
        found = pixels(data, ImageSpec(256, 256, channels))
        assert_same_levels(found, np.broadcast_to(SHALLOW[..., None], found.shape))
    assert found.min() == 0 and found.max() == 255


def test_exact_rounding_of_sixteen_bits():
    assert (pixels(encoded(DEEP), ImageSpec(256, 256, 1))[..., 0] == SHALLOW).all()


def test_twelve_bits():
    levels = (0, 4095, 2048, 100)
    bits = "".join(f"{level:012b}" for level in levels)
    packed = int(bits, 2).to_bytes(6, "big")
    found = pixels(tiff(4, 1, packed, t258=12, t262=1), stretched(1, 4, channels=1))
    assert found.ravel().tolist() == [round(level / 4095 * 255) for level in levels]


@pytest.mark.parametrize("value", [-0.5, 1.5, 255.0, np.nan, np.inf, -np.inf])
def test_floats_of_unknown_scale_are_refused(value):
    array = np.full((4, 4), 0.5, np.float32)
    array[1, 2] = value
    found = failure(encoded(array, "TIFF"))
    assert found.reason == "unsupported_pixels"
    assert re.match(r"samples from \S+ to \S+; expected 0 to 1\.$", found.message)


@pytest.mark.parametrize("value", [-1, 65536, 2**31 - 1])
def test_integers_of_unknown_scale_are_refused(value):
    array = np.full((4, 4), 7, np.int32)
    array[1, 2] = value
    assert failure(encoded(array, "TIFF")).reason == "unsupported_pixels"


def test_few_bits():
    stripes = np.zeros((4, 8), bool)
    stripes[:, ::2] = True
    one_bit = Image.fromarray(stripes)
    for format in ("PNG", "BMP", "TIFF", "GIF"):
        found = pixels(encoded(one_bit, format), stretched(4, 8))
        assert (found == stripes[..., None] * 255).all()
    found = pixels(png(4, 1, 2, 0, b"\0\x1b"), stretched(1, 4, channels=1))
    assert found.ravel().tolist() == [0, 85, 170, 255]


# ---- colours


@pytest.mark.parametrize("cmyk", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255), (30, 140, 200, 60)])
def test_cmyk(cmyk):
    expected = [(255 - ink) * (255 - cmyk[3]) / 255 for ink in cmyk[:3]]
    picture = Image.new("CMYK", (16, 16), cmyk)
    for data in (encoded(picture, "TIFF"), encoded(picture, "JPEG", quality=100)):
        assert colour(data) == near_levels(expected, levels=2)


def test_ycck():
    """The same samples of an Adobe JPEG, once declared CMYK (0) and once YCCK (2)."""
    data = encoded(Image.new("CMYK", (16, 16), (100, 110, 140, 60)), "JPEG", quality=100)
    assert data.count(b"Adobe\0d\0\0\0\0\0") == 1
    data = data.replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2")
    y, cb, cr, k = 155, 145, 115, 195  # Adobe stores 255 - ink
    ink = [
        y + 1.402 * (cr - 128),
        y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128),
        y + 1.772 * (cb - 128),
    ]
    assert colour(data) == near_levels([(255 - i) * k / 255 for i in ink], levels=2)


def test_lab():
    # L* = 50 is sRGB 119; TIFF stores a* and b* as signed bytes.
    data = tiff(1, 1, bytes([128, 0, 0]), t258=(8, 8, 8), t262=8, t277=3)
    assert colour(data) == near_levels((119, 119, 119), levels=2)
    reddish = colour(tiff(1, 1, bytes([128, 60, 0]), t258=(8, 8, 8), t262=8, t277=3))
    assert reddish[0] > 170 and reddish[1] < 80


@pytest.mark.skipif(PILLOW < 13, reason="Pillow 12 refuses such TIFFs, or reads them wrongly")
def test_ycbcr_tiff():
    data = tiff(1, 1, bytes([120, 90, 200]), t258=(8, 8, 8), t262=6, t277=3)
    expected = (120 + 1.402 * 72, 120 + 0.344136 * 38 - 0.714136 * 72, 120 - 1.772 * 38)
    assert colour(data) == near_levels(expected, levels=2)


def test_grey_and_colour():
    assert colour(encoded(Image.new("L", (3, 3), 77))) == (77, 77, 77)
    assert colour(encoded(Image.new("L", (3, 3), 77)), channels=1) == (77,)
    luma = 0.299 * 10 + 0.587 * 200 + 0.114 * 90
    data = encoded(Image.new("RGB", (3, 3), (10, 200, 90)))
    assert colour(data, channels=1) == near_levels((luma,))
    palette = Image.new("P", (3, 3), 1)
    palette.putpalette([0, 0, 0, 10, 200, 90])
    for format in ("PNG", "GIF", "BMP", "TIFF"):
        assert colour(encoded(palette, format)) == (10, 200, 90)


def test_icc_profiles_are_ignored():
    plain = photo()
    with_profile = encoded(plain, icc_profile=b"swaps red and blue, if anyone read it")
    assert (
        pixels(with_profile, ImageSpec(30, 30)) == pixels(encoded(plain), ImageSpec(30, 30))
    ).all()


# ---- size


def test_same_size_is_exact():
    assert (pixels(encoded(quadrants()), ImageSpec(32, 48)) == quadrants()).all()


def test_pad_centres_on_the_background():
    data = encoded(np.full((10, 30, 3), 9, np.uint8))
    array = pixels(data, ImageSpec(32, 32, background=BACKGROUND))
    inside = (array == 9).all(axis=(1, 2))
    assert np.flatnonzero(inside).tolist() == list(range(10, 21))  # 32 × 10 / 30 = 10.7 rows
    assert (array[~inside] == BACKGROUND).all()
    tall = pixels(encoded(np.full((30, 10), 9, np.uint8)), ImageSpec(32, 32, 1))
    assert np.flatnonzero((tall == 9).all(axis=(0, 2))).tolist() == list(range(10, 21))
    grey = pixels(data, ImageSpec(32, 32, 1, background=BACKGROUND))
    assert grey[0, 0, 0] == round(np.dot(BACKGROUND, [0.299, 0.587, 0.114]))


def test_crop_keeps_the_middle():
    stripes = np.zeros((30, 90, 3), np.uint8)
    stripes[:, :30], stripes[:, 30:60], stripes[:, 60:] = RED, GREEN, BLUE
    for picture in (stripes, stripes.swapaxes(0, 1)):
        array = pixels(encoded(np.ascontiguousarray(picture)), ImageSpec(10, 10, resize="crop"))
        assert (array[3:7, 3:7] == GREEN).all()
        assert (array.astype(int) - GREEN).max() < 40  # at the cut, the filter sees beyond it


def test_stretch_takes_everything():
    array = pixels(encoded(quadrants(40, 80)), stretched(20, 20))
    assert (array[:8, :8] == RED).all() and (array[12:, 12:] == GREY).all()


@pytest.mark.parametrize("height", [100, 400, 640])
def test_resizing_a_ramp_samples_it_at_the_centres(height):
    """A kernel that sums to 1 and is even reproduces a straight line, at any ratio."""
    ramp = np.linspace(20, 230, height)[:, None].repeat(10, axis=1)
    array = pixels(encoded(np.rint(ramp).astype(np.uint8)), stretched(160, 10, channels=1))
    centres = (np.arange(160) + 0.5) * height / 160 - 0.5
    expected = 20 + centres * 210 / (height - 1)
    assert np.abs(array[8:-8, :, 0] - expected[8:-8, None]).max() <= 1.2


def test_shrinking_averages():
    chequers = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    array = pixels(encoded(chequers), ImageSpec(16, 16, 1)).astype(int)
    assert np.abs(array - 127.5).max() < 6


@each_value_once(
    ("target", [(64, 64), (1, 1), (1, 64), (64, 1)]),
    ("shape", [(1, 1), (1, 20_000), (20_000, 1), (1, 2), (3, 5000)]),
    ("resize", ["pad", "crop", "stretch"]),
)
def test_extreme_shapes(resize, shape, target):
    data = encoded(np.full(shape, 50, np.uint8))
    array = pixels(data, ImageSpec(*target, resize=resize))
    assert (array == 50).any()
    assert ((array == 50) | (array == 255)).all()


def test_memory_of_a_big_photo():
    """24 megapixels cost one decoded copy, 4 bytes a pixel."""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    script = """
import io, re
from PIL import Image
from vaeudf.images.spec import ImageSpec
from vaeudf.images.decode import decode_image
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
decode_image({small!r}, ImageSpec(64, 64))
before = peak()
assert decode_image(open({path!r}, "rb").read(), ImageSpec(64, 64)).shape == (64, 64, 3)
print((peak() - before) / 24e6)
"""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        Image.new("RGB", (6000, 4000), GREY).save(file.name, "JPEG")
        code = script.format(small=encoded(photo(), "JPEG"), path=file.name)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
    assert float(done.stdout) < 4.5
    assert done.stderr == ""


# ---- thumbnails


def reopened(data: bytes | None) -> Image.Image:
    assert data is not None
    im = Image.open(io.BytesIO(data))
    im.load()
    return im


@pytest.mark.parametrize(
    ("shape", "max_side", "size"),
    [
        ((40, 80), 20, (20, 10)),
        ((80, 40), 20, (10, 20)),
        ((5, 4), 20, (4, 5)),
        ((1, 900), 30, (30, 1)),
    ],
)
def test_thumbnail_size(shape, max_side, size):
    im = reopened(thumbnail(encoded(np.zeros((*shape, 3), np.uint8)), max_side))
    assert (im.format, im.size) == ("JPEG", size)


def test_thumbnail_is_upright_and_on_white():
    stored = np.ascontiguousarray(STORED[6](quadrants(64, 96)))
    im = reopened(thumbnail(encoded(stored, "JPEG", exif=exif(6)), 48))
    assert im.size == (48, 32)
    assert ImageOps.exif_transpose(im).size == (48, 32)
    for place, expected in {(8, 8): RED, (40, 8): GREEN, (8, 24): BLUE, (40, 24): GREY}.items():
        assert im.getpixel(place) == near_levels(expected, levels=2 * JPEG_LEVELS)
    clear = encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))
    assert reopened(thumbnail(clear, 8)).getpixel((4, 4)) == WHITE
    assert reopened(thumbnail(encoded(DEEP), 32)).mode == "L"


def test_thumbnail_of_what_cannot_be_decoded():
    for data in (None, b"", b"text", SAMPLES["png"][:200], BOMBS["png"]):
        assert thumbnail(data, 32) is None
    with pytest.raises(InputError, match=r"max_side is 0; expected 1 or more\."):
        thumbnail(SAMPLES["png"], 0)


# ---- the filter, and JPEG's own reduction


@pytest.mark.parametrize("name", ["bicubic", "bilinear", "lanczos", "box", "nearest"])
def test_the_filter_is_pillows(name):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    found = decode_image(stream.getvalue(), ImageSpec(16, 8, resize="stretch", interpolation=name))
    expected = Image.fromarray(pixels).resize((8, 16), getattr(Image.Resampling, name.upper()))
    assert (found == np.asarray(expected)).all()


def _photo(width, height, **options):
    """A JPEG with something in it at every scale."""
    y, x = np.mgrid[:height, :width]
    waves = 127 + 60 * np.sin(x / 3 + y / 11) + 60 * np.cos(y / 29)
    stream = io.BytesIO()
    Image.fromarray(waves.astype(np.uint8)).convert("RGB").save(stream, "JPEG", **options)
    return stream.getvalue()


def _orientation_tag(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize(
    ("resize", "orientation", "whole", "drafted"),
    [  # the size that the whole picture would have, and the smallest of an eighth … that is larger
        ("pad", 1, (30, 15), (50, 25)),
        ("crop", 1, (40, 20), (50, 25)),
        ("stretch", 1, (30, 20), (50, 25)),
        ("pad", 6, (20, 10), (50, 25)),
        ("crop", 6, (60, 30), (100, 50)),
        ("stretch", 6, (20, 30), (100, 50)),
    ],
)
def test_draft_of_the_first_bundles_is_what_pillow_makes_of_it(resize, orientation, whole, drafted):
    data = _photo(400, 200, exif=_orientation_tag(orientation))
    spec = ImageSpec(20, 30, resize=resize, jpeg_draft=True, jpeg_draft_gap=1)
    with Image.open(io.BytesIO(data)) as im:
        im.draft(None, whole)
        halved = im.convert("RGB")
    assert halved.size == drafted
    stream = io.BytesIO()
    halved.save(stream, "PNG", exif=_orientation_tag(orientation))
    whole_spec = replace(spec, jpeg_draft=False, jpeg_draft_gap=2)
    expected = decode_image(stream.getvalue(), whole_spec)
    found = decode_image(data, spec)
    assert (found == expected).all()
    plain = decode_image(data, whole_spec)
    assert (found != plain).any()
    assert np.abs(found.astype(int) - plain).mean() < 12


def test_draft_leaves_small_and_other_pictures_alone():
    spec = ImageSpec(150, 150, jpeg_draft=True)
    small = _photo(200, 160)
    assert (decode_image(small, spec) == decode_image(small, replace(spec, jpeg_draft=False))).all()
    stream = io.BytesIO()
    Image.open(io.BytesIO(_photo(900, 900))).save(stream, "PNG")
    png = stream.getvalue()
    assert (decode_image(png, spec) == decode_image(png, replace(spec, jpeg_draft=False))).all()


def test_draft_does_not_let_big_headers_pass():
    found = decode_image(_photo(400, 400), ImageSpec(8, 8, jpeg_draft=True), max_pixels=100_000)
    assert isinstance(found, ImageFailure) and found.reason == "too_many_pixels"
