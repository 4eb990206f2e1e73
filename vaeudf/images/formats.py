"""The image formats that are decoded, and what files of other kinds are called.

To add a format is to add a row to `FORMATS`, and to remove its row from `OTHER_KINDS` if there is
one: folders are searched for its suffixes, and files are known by how they begin.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class ImageFormat:
    """A format that is decoded.

    Attributes:
        name: What Pillow calls it.
        suffixes: Of files that are named as such, in lower case.
        begins: Matches the first bytes of a file.
        plugin: Pillow's module for it.
    """

    name: str
    suffixes: tuple[str, ...]
    begins: re.Pattern[bytes]
    plugin: str


FORMATS = (
    ImageFormat(
        "JPEG", ("jpg", "jpeg", "jfif", "jpe"), re.compile(rb"\xff\xd8\xff"), "JpegImagePlugin"
    ),
    ImageFormat("PNG", ("png",), re.compile(rb"\x89PNG\r\n\x1a\n"), "PngImagePlugin"),
    ImageFormat("WEBP", ("webp",), re.compile(rb"RIFF....WEBP", re.DOTALL), "WebPImagePlugin"),
    ImageFormat("BMP", ("bmp",), re.compile(rb"BM"), "BmpImagePlugin"),
    ImageFormat("GIF", ("gif",), re.compile(rb"GIF8[79]a"), "GifImagePlugin"),
    ImageFormat("TIFF", ("tif", "tiff"), re.compile(rb"II[*+]\0|MM\0[*+]"), "TiffImagePlugin"),
)
FORMAT_NAMES = tuple(one.name for one in FORMATS)
IMAGE_SUFFIXES = tuple(suffix for one in FORMATS for suffix in one.suffixes)

OTHER_KINDS = (
    ("AVIF", re.compile(rb"....ftypavi", re.DOTALL)),
    ("HEIC", re.compile(rb"....ftyp(hei|hev|mif|msf)", re.DOTALL)),
    ("an MP4 or QuickTime file", re.compile(rb"....ftyp", re.DOTALL)),
    ("PDF", re.compile(rb"%PDF")),
    ("PostScript", re.compile(rb"%!PS")),
    ("Photoshop PSD", re.compile(rb"8BPS")),
    ("ICO", re.compile(rb"\0\0\x01\0")),
    ("JPEG 2000", re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51")),
    ("JPEG XL", re.compile(rb"\0\0\0\x0cJXL |\xff\x0a")),
    ("a ZIP archive", re.compile(rb"PK\x03\x04")),
    ("a gzip file", re.compile(rb"\x1f\x8b")),
    ("a Git LFS pointer, for a file that was not fetched", re.compile(rb"version https://git-lfs")),
    ("an array of NumPy", re.compile(rb"\x93NUMPY")),
    ("a picture as text (base64)", re.compile(rb"data:image/|/9j/4|iVBORw0KGgo")),
)
"""What a message calls a file that is not decoded, and how it begins; the first match counts."""


def register_formats() -> None:
    """Import Pillow's modules of these formats; Image.open would import every one that it has."""
    for one in FORMATS:
        importlib.import_module(f"PIL.{one.plugin}")


def kind_of(data: bytes) -> str:
    """Return one of `FORMAT_NAMES`, or words for what the bytes are instead."""
    for one in FORMATS:
        if one.begins.match(data):
            return one.name
    for kind, begins in OTHER_KINDS:
        if begins.match(data):
            return kind
    head = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip()
    text = " ".join(head.decode("utf-8", "ignore").split())
    if not text or not text.isprintable() or len(text.encode()) < len(head) // 2:
        return f"unknown bytes that begin {data[:8].hex(' ')}"
    for tag, kind in {"<svg": "SVG", "<html": "HTML", "<!doctype html": "HTML"}.items():
        if tag in text.lower():
            return kind
    return f"text that begins {text[:40]!r}"
