"""JPEG files without their last bytes, from the encoder at many settings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from tests.support.files import encoded, exif
from vaeudf.images.decode import ImageFailure, decode_image, thumbnail
from vaeudf.images.jpeg_end import continuations
from vaeudf.images.spec import ImageSpec

SHAPES = [(64, 64), (37, 53), (150, 233)]
END = b"\xff\xd9"


def picture(shape: tuple[int, int], noise: float) -> np.ndarray:
    """Ramps of three colours, with some noise."""
    down, across = (np.linspace(0, 200, side) for side in shape)
    ramp = np.add.outer(down, across) % 256
    levels = np.stack([ramp, ramp[::-1], 255 - ramp], -1)
    levels += np.random.default_rng(4).normal(0, noise, levels.shape)
    return levels.clip(0, 255).astype(np.uint8)


def decoded(data: bytes, shape: tuple[int, int]) -> np.ndarray | ImageFailure:
    """The pixels of a file as they are, neither resized nor turned."""
    return decode_image(data, ImageSpec(*shape))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restarts", [0, 3])
@pytest.mark.parametrize("quality", [5, 40, 75, 95])
def test_only_the_end_is_missing(quality, restarts, progressive):
    for shape, subsampling, mode in itertools.product(SHAPES, (0, 1, 2), ("RGB", "L")):
        data = encoded(
            Image.fromarray(picture(shape, 15.0)).convert(mode),
            "JPEG",
            quality=quality,
            progressive=progressive,
            subsampling=subsampling,
            restart_marker_blocks=restarts,
        )
        assert data.endswith(END)
        whole = decoded(data, shape)
        for cut in (data[:-1], data[:-2]):
            found = decoded(cut, shape)
            assert isinstance(found, np.ndarray), (shape, subsampling, mode, found)
            assert (found == whole).all()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restarts", [0, 1])
def test_pixels_are_missing(restarts, progressive):
    """What is cut off is seen, or does not matter: such as bits to fill a byte."""
    rng = np.random.default_rng(8)
    for shape, quality in itertools.product(SHAPES[:2], (30, 90)):
        data = encoded(
            picture(shape, 15.0),
            "JPEG",
            quality=quality,
            progressive=progressive,
            restart_marker_rows=restarts,
        )
        whole = decoded(data, shape)
        start = data.index(b"\xff\xda")
        for length in {*range(len(data) - 12, len(data) - 3), *rng.integers(start, len(data), 20)}:
            found = decoded(data[:length], shape)
            if isinstance(found, ImageFailure):
                assert found.reason == "truncated"
            else:
                assert len(data) - length < 8 and (found == whole).all()


def test_a_scan_or_a_restart_is_missing():
    """What there is decodes in one way only, and is not the picture."""
    shape = (150, 233)
    data = encoded(picture(shape, 15.0), "JPEG", quality=75, progressive=True)
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for place in scans[1:]:
        found = decoded(data[:place], shape)
        assert isinstance(found, ImageFailure) and found.reason == "truncated"
    for progressive in (False, True):
        data = encoded(picture(shape, 15.0), "JPEG", restart_marker_rows=1, progressive=progressive)
        restarts = [i for i in range(len(data)) if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]
        for place in restarts[-3:]:
            for cut in (data[:place], data[: place + 1]):
                found = decoded(cut, shape)
                assert isinstance(found, ImageFailure) and found.reason == "truncated"


def test_with_other_things_that_pictures_have():
    shape = (37, 53)
    pixels = picture(shape, 5.0)
    cmyk = encoded(Image.fromarray(pixels).convert("CMYK"), "JPEG")
    assert (decoded(cmyk[:-2], shape) == decoded(cmyk, shape)).all()
    plain = encoded(pixels, "JPEG")
    damaged = plain[:2] + b"\xff\xed\0\x16Photoshop 3.0\0008BIMxx" + plain[2:-2]
    assert (decoded(damaged, shape) == decoded(plain, shape)).all()
    turned = encoded(pixels, "JPEG", exif=exif(3))
    assert (decoded(turned[:-2], shape) == decoded(turned, shape)).all()
    assert thumbnail(turned[:-2], 32) == thumbnail(turned, 32)
    spec = ImageSpec(8, 8, jpeg_draft=True)
    big = encoded(picture((300, 300), 15.0), "JPEG")
    assert (decode_image(big[:-2], spec) == decode_image(big, spec)).all()


class Counted(bytes):
    """A file that counts the bytes which are copied out of it."""

    num_copied = 0

    def __getitem__(self, place):
        found = super().__getitem__(place)
        self.num_copied += len(found) if isinstance(found, bytes) else 1
        return found


@pytest.mark.parametrize(
    "segment",
    [
        b"\xff\xdb\0\2",  # quantization tables, but none
        b"\xff\xfe\0\5abc",
        b"\xff\xdd\0\4\0\0",
        b"\xff\xc0\0\x11\x08\0\x40\0\x40\x03\x01\x22\0\x02\x11\1\x03\x11\1",
        b"\xff\xc0\0\x08\x08\0\x40\0\x40\xff",  # a frame that lacks its components
        b"\xff\xd8",
    ],
)
def test_a_file_of_many_segments(segment):
    """It is read once, not all that follows for each segment."""
    data = encoded(picture((64, 64), 15.0), "JPEG")[:-2]
    middle = data.index(b"\xff\xda")
    for place in (2, middle, len(data)):
        file = Counted(data[:place] + 30_000 * segment + data[place:])
        for _ in continuations(file):
            pass
        assert file.num_copied < 2 * len(file)


def test_what_is_not_tried():
    data = encoded(picture((64, 64), 15.0), "JPEG")
    frame = data.index(b"\xff\xc0")
    arithmetic = data[: frame + 1] + b"\xc9" + data[frame + 2 : -2]
    header = data[frame : frame + 19]
    twice = data[:frame] + header + data[frame:-2]
    unlike = data[:frame] + header[:9] + b"\0" + header[10:] + data[frame:-2]
    others = (data, data[:frame], data[: frame + 9], arithmetic, twice, unlike, b"\xff\xd8", b"")
    for other in others:
        assert [*continuations(other)] == []
    assert len([*continuations(data[:-2])]) > 1
