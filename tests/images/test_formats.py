"""Which formats there are, and how files are told apart."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from tests.support.files import SAMPLES
from tests.support.jobs import ROOT
from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.images.formats import FORMAT_NAMES, FORMATS, IMAGE_SUFFIXES, OTHER_KINDS, kind_of
from vaeudf.images.spec import ImageSpec


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_files_as_pillow_writes_them_are_known_and_decoded(name):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, name)
    assert kind_of(stream.getvalue()) == name
    found = decode_image(stream.getvalue(), ImageSpec(8, 8))
    assert not isinstance(found, ImageFailure) and found.shape == (8, 8, 3)


def test_suffixes_are_those_that_pillow_knows():
    known = Image.registered_extensions()
    assert len(set(IMAGE_SUFFIXES)) == len(IMAGE_SUFFIXES)
    for one in FORMATS:
        assert one.suffixes and {known[f".{suffix}"] for suffix in one.suffixes} == {one.name}


OTHER_FILES = [
    (b"\0\0\0\x1cftypavif", "AVIF"),
    (b"\0\0\0\x18ftypheic", "HEIC"),
    (b"\0\0\0\x18ftypmif1", "HEIC"),
    (b"\0\0\0\x18ftypisom", "an MP4 or QuickTime file"),
    (b"%PDF-1.7", "PDF"),
    (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
    (b"\xff\x0a\0", "JPEG XL"),
    (b"PK\3\4", "a ZIP archive"),
    (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "a Git LFS pointer, for a file that was not fetched",
    ),
    (b"\x93NUMPY\1\0v\0{'descr'", "an array of NumPy"),
    (base64.b64encode(b"\xff\xd8\xff\xe0\0\x10JFIF"), "a picture as text (base64)"),
    (base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "a picture as text (base64)"),
    (b"data:image/webp;base64,UklGR", "a picture as text (base64)"),
    (b"RIFF\0\0\0\0WAVE", "unknown bytes that begin 52 49 46 46 00 00 00 00"),
    (b"\xef\xbb\xbf <?xml?><SVG>", "SVG"),
    (b"<!DOCTYPE html>", "HTML"),
    (b"not an image", "text that begins 'not an image'"),
    (b"\1\2\3\4", "unknown bytes that begin 01 02 03 04"),
]


@pytest.mark.parametrize(
    ("data", "kind"), [row for row in OTHER_FILES if row[1] not in FORMAT_NAMES]
)
def test_other_files_are_named(data, kind):
    assert kind_of(data) == kind


def test_no_format_is_called_another_kind_as_well():
    others = [name for name, _ in OTHER_KINDS]
    both = [name for name in FORMAT_NAMES if name in others]
    assert not both, f"OTHER_KINDS in vaeudf/images/formats.py still has {', '.join(both)}"


def test_every_format_has_a_sample():
    known = {kind_of(data) for data in SAMPLES.values()}
    missing = [name for name in FORMAT_NAMES if name not in known]
    assert not missing, f"SAMPLES in tests/support/files.py needs a file of {', '.join(missing)}"


def test_the_documentation_lists_every_suffix_and_format():
    text = (ROOT / "docs" / "catalogs.md").read_text()
    suffixes = re.search(r"^- Files named `(.*?)`", text, re.M)
    assert suffixes and suffixes[1].split() == [f".{suffix}" for suffix in IMAGE_SUFFIXES]
    formats = re.search(r"^1\. (.*), by content and not by name", text, re.M)
    assert formats
    assert re.split(", | AND ", formats[1].upper()) == list(FORMAT_NAMES)
