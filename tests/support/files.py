"""Image files of many kinds, ordinary and odd."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE, GREY = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
    (100, 100, 100),
)


def encoded(picture: Image.Image | np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def png(width: int, height: int, depth: int, kind: int, rows: bytes, **chunks: bytes) -> bytes:
    """A PNG file, written here: Pillow cannot write what several of these tests need."""

    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    middle = b"".join(chunk(name.encode(), content) for name, content in chunks.items())
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + middle + data + chunk(b"IEND", b"")


def tiff(width: int, height: int, data: bytes, **tags: Any) -> bytes:
    """An uncompressed little-endian TIFF of one strip; tags are SHORTs named t<number>."""
    shorts = {int(name[1:]): value for name, value in tags.items()}
    longs = {256: width, 257: height, 273: 8, 278: height, 279: len(data)}
    entries, extra = b"", b""
    count = len(shorts) + len(longs)
    start = 8 + len(data) + 2 + 12 * count + 4
    for tag in sorted({**shorts, **longs}):
        if tag in longs:
            entries += struct.pack("<HHII", tag, 4, 1, longs[tag])
            continue
        values = shorts[tag] if isinstance(shorts[tag], tuple) else (shorts[tag],)
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            entries += struct.pack("<HHII", tag, 3, len(values), start + len(extra))
            extra += packed
        else:
            entries += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    directory = struct.pack("<H", count) + entries + b"\0\0\0\0" + extra
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def exif(orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"


def quadrants(height: int = 32, width: int = 48) -> np.ndarray:
    array = np.empty((height, width, 3), np.uint8)
    array[: height // 2, : width // 2] = RED
    array[: height // 2, width // 2 :] = GREEN
    array[height // 2 :, : width // 2] = BLUE
    array[height // 2 :, width // 2 :] = GREY
    return array


def photo(height: int = 60, width: int = 80) -> Image.Image:
    """A gradient with a patch of noise, so that its files have some length."""
    y, x = np.mgrid[:height, :width]
    array = np.stack([x * 3, y * 4, x + y], -1).astype(np.uint8)
    noise = np.random.default_rng(7).integers(0, 256, (20, 20, 3))
    array[10:30, 20:40] = noise
    return Image.fromarray(array)


def samples() -> dict[str, bytes]:
    picture, turned = photo(), photo().rotate(180)
    palette = picture.quantize(64)
    faint = picture.copy()
    faint.putalpha(100)
    return {
        "jpeg": encoded(picture, "JPEG", exif=exif(6)),
        "progressive": encoded(picture, "JPEG", progressive=True),
        "cmyk": encoded(picture.convert("CMYK"), "JPEG"),
        "mpo": encoded(picture, "MPO", save_all=True, append_images=[turned]),
        "png": encoded(picture),
        "png rgba": encoded(faint, exif=exif(3)),
        "png palette": encoded(palette, transparency=3),
        "png deep": encoded(np.arange(4800, dtype=np.uint16).reshape(60, 80) * 13),
        "apng": encoded(picture, save_all=True, append_images=[turned]),
        "webp": encoded(picture, "WEBP"),
        "webp lossless": encoded(faint, "WEBP", lossless=True, exif=exif(5)),
        "webp animated": encoded(picture, "WEBP", save_all=True, append_images=[turned]),
        "gif": encoded(palette, "GIF", transparency=5),
        "gif animated": encoded(palette, "GIF", save_all=True, append_images=[turned]),
        "bmp": encoded(picture, "BMP"),
        "tiff": encoded(picture, "TIFF"),
        "tiff lzw": encoded(picture, "TIFF", compression="tiff_lzw"),
        "tiff jpeg": encoded(picture, "TIFF", compression="jpeg"),
        "tiff float": encoded(np.linspace(0, 1, 4800, dtype=np.float32).reshape(60, 80), "TIFF"),
    }


SAMPLES = samples()


BOMBS = {
    "png": png(100_000, 100_000, 8, 2, b""),
    # Between Pillow's limit for a warning and its limit for an error.
    "png that pillow would warn of": png(12_000, 12_000, 8, 2, b""),
    "long png": png(50_000_000, 1, 8, 0, b""),
    "gif": b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;",
    "gif that outgrows its screen": b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;",
    "bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 50_000, 50_000, 1, 24, *[0] * 6),
    "tiff": tiff(200_000, 200_000, b"\0" * 9, t258=(8, 8, 8), t262=2, t277=3),
    "webp": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xfe\x3f\0" * 2,
    "jpeg": SAMPLES["jpeg"].replace(b"\x08\0\x3c\0\x50", b"\x08\xff\xdc\xff\xdc"),
}  # fmt: skip


# Metadata that points behind its own end: Pillow warns, and decodes.
ODD_EXIF = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 0x010F, 2, 900, 5000) * 2


ODD_JPEG = encoded(quadrants(), "JPEG", exif=ODD_EXIF)
