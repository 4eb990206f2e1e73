"""JPEGs decoded at the size that is needed, beside Pillow's draft mode and whole pictures."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.support.files import BLUE, GREEN, GREY, RED, encoded, exif, quadrants
from tests.support.tolerances import JPEG_LEVELS, assert_same_levels
from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.images.spec import ImageSpec

TRANSPOSED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270}


def waves(width: int, height: int) -> Image.Image:
    """Something at every scale, other at each edge."""
    y, x = np.mgrid[:height, :width]
    grey = 127 + 50 * np.sin(x / 3 + y / 11) + 50 * np.cos(y / 29) + 20 * x / width
    return Image.merge(
        "RGB", [Image.fromarray(np.roll(grey, n, 1).astype(np.uint8)) for n in (0, 40, 90)]
    )


def found(data: bytes, spec: ImageSpec) -> np.ndarray:
    array = decode_image(data, spec)
    assert isinstance(array, np.ndarray), array
    return array


def whole(data: bytes, spec: ImageSpec) -> np.ndarray:
    return found(data, replace(spec, jpeg_draft=False))


# The size that the whole picture is resized to (as it is stored), twice which is asked of the
# decoder; the part of the whole picture that is; the decoder's factor.
CASES = [
    ("pad", (1001, 1335), 1, (48, 64), None, 8),
    ("pad", (1335, 1001), 6, (64, 48), None, 8),
    ("pad", (777, 258), 3, (64, 21), None, 4),
    ("stretch", (1335, 263), 1, (64, 64), None, 2),
    ("crop", (1335, 515), 1, (64, 64), (410, 0, 925, 515), 4),
    ("crop", (1335, 515), 6, (64, 64), (410, 0, 925, 515), 4),
    ("crop", (517, 4003), 3, (64, 64), (0, 1743, 517, 2260), 4),
    ("Resize(64), CenterCrop(64)", (1335, 1001), 1, (85, 64), None, 4),
    ("Resize(64), CenterCrop(64)", (1335, 1001), 6, (85, 64), None, 4),
    ("Resize((64, 64))", (1335, 1001), 3, (64, 64), None, 4),
]


@pytest.mark.parametrize(("resize", "stored", "orientation", "size", "part", "factor"), CASES)
def test_it_is_pillows_draft_at_twice_the_size(resize, stored, orientation, size, part, factor):
    data = encoded(waves(*stored), "JPEG", quality=90, exif=exif(orientation))
    with Image.open(io.BytesIO(data)) as im:
        left, top, right, bottom = part or (0, 0, *stored)
        ratios = (stored[0] / (right - left), stored[1] / (bottom - top))
        wanted = [2 * side * ratio for side, ratio in zip(size, ratios, strict=True)]
        _, box = im.draft("RGB", (int(wanted[0]), int(wanted[1])))
        assert im.size == tuple(-(-side // factor) for side in stored)
        assert box == (0, 0, stored[0] / factor, stored[1] / factor)
        assert all(side >= least for side, least in zip(box[2:], wanted, strict=True))
        part_left = tuple(edge / factor for edge in (left, top, right, bottom))
        in_steps = "Resize" in resize
        kind = "BILINEAR" if in_steps else "BICUBIC"
        small = im.resize(size, Image.Resampling[kind], part_left)
    turn = TRANSPOSED[orientation]
    upright = small if turn is None else small.transpose(turn)
    expected = Image.new("RGB", (64, 64), "white")
    margins = [(64 - side) / 2 for side in upright.size]
    expected.paste(upright, [round(x) if in_steps else math.floor(x) for x in margins])
    spec = ImageSpec(64, 64, resize=resize, jpeg_draft=True)
    array = found(data, spec)
    assert (array == np.asarray(expected)).all()
    full = whole(data, spec)
    assert (array != full).any()
    # The same part of the picture at the same place: a pixel beside it, they differ by ten levels.
    assert np.abs(array.astype(int) - full).mean() < 1.5


@pytest.mark.parametrize("resize", ["pad", "crop", "stretch", "Resize((32, 32))"])
def test_never_below_twice_the_size(resize):
    spec = ImageSpec(32, 32, resize=resize, jpeg_draft=True)
    for side, is_drafted in ((127, False), (128, True)):
        data = encoded(waves(side, side), "JPEG", quality=90)
        assert (found(data, spec) != whole(data, spec)).any() == is_drafted
    data = encoded(waves(127, 400), "JPEG", quality=90)  # the shorter side decides
    assert (found(data, spec) != whole(data, spec)).any() == (resize == "pad")


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {}),
        ("RGB", {"progressive": True}),
        ("RGB", {"subsampling": "4:2:0"}),
        ("RGB", {"subsampling": "4:4:4"}),
        ("CMYK", {}),
        ("CMYK", {"progressive": True}),
    ],
)
def test_colours_and_places_are_those_of_the_whole_picture(mode, options):
    picture = Image.fromarray(quadrants(512, 768)).convert(mode)
    data = encoded(picture, "JPEG", quality=90, **options)
    array = found(data, ImageSpec(32, 48, jpeg_draft=True))
    corners = [array[place] for place in ((3, 3), (3, 44), (28, 3), (28, 44))]
    assert_same_levels(corners, [RED, GREEN, BLUE, GREY], levels=JPEG_LEVELS)


def test_grey_pictures_and_grey_models():
    picture = waves(801, 600)
    for mode in ("L", "RGB"):
        data = encoded(picture.convert(mode), "JPEG", quality=90)
        for channels in (1, 3):
            spec = ImageSpec(40, 40, channels=channels, jpeg_draft=True)
            array, full = found(data, spec), whole(data, spec)
            assert array.shape == (40, 40, channels) and (array != full).any()
            assert np.abs(array.astype(int) - full).mean() < 1.5


def test_the_first_picture_of_several():
    picture = waves(801, 600)
    several = encoded(picture, "MPO", save_all=True, append_images=[waves(300, 600)], quality=90)
    spec = ImageSpec(40, 40, jpeg_draft=True)
    assert (found(several, spec) == found(encoded(picture, "JPEG", quality=90), spec)).all()
    assert (found(several, spec) != whole(several, spec)).any()


def test_damaged_files_are_told_as_without_it():
    data = encoded(waves(800, 600), "JPEG", quality=90)
    spec = ImageSpec(32, 32, jpeg_draft=True)
    for broken in (data[:5000], data[: len(data) // 2], data[:-400]):
        failure = decode_image(broken, spec)
        assert isinstance(failure, ImageFailure) and failure.reason == "truncated"
        assert failure == decode_image(broken, replace(spec, jpeg_draft=False))
    bare = data[:-2]  # its end marker is all that it lacks
    assert (found(bare, spec) == found(data, spec)).all()
