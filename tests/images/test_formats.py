"""Which formats there are, and how files are told apart."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.images.formats import FORMAT_NAMES, FORMATS, IMAGE_SUFFIXES, kind_of
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
    assert len(set(IMAGE_SUFFIXES)) == len(IMAGE_SUFFIXES) == 8
    for one in FORMATS:
        assert one.suffixes and {known[f".{suffix}"] for suffix in one.suffixes} == {one.name}


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypmif1", "HEIC"),
        (b"\0\0\0\x18ftypisom", "an MP4 or QuickTime file"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
        (b"\xff\x0a\0", "JPEG XL"),
        (b"PK\3\4", "a ZIP archive"),
        (b"RIFF\0\0\0\0WAVE", "unknown bytes that begin 52 49 46 46 00 00 00 00"),
        (b"\xef\xbb\xbf <?xml?><SVG>", "SVG"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"not an image", "text that begins 'not an image'"),
        (b"\1\2\3\4", "unknown bytes that begin 01 02 03 04"),
    ],
)
def test_other_files_are_named(data, kind):
    assert kind_of(data) == kind
