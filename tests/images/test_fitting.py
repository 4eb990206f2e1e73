"""Pictures as torchvision's transforms make them, by the formulas of its documentation.

torchvision itself is not needed: `transformed` is written from the documentation of ``Resize`` and
``CenterCrop``, and ``torch.nn.functional.interpolate`` is what they call for tensors.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.files import encoded, exif, photo
from tests.support.tolerances import assert_rounded_to_levels, assert_within
from vaeudf.errors import InputError
from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.images.spec import ImageSpec
from vaeudf.workflows.export_model import ExportModel
from vaeudf.workflows.train_vae import TrainVae

TAPS = 16
"""The products in the sum that is a bicubic pixel."""

Steps = list[tuple[str, int | tuple[int, int]]]


def transformed(picture: Image.Image, steps: Steps, filter: str = "BILINEAR") -> np.ndarray:
    """What torchvision gives for a PIL image: sizes are (height, width) or one number."""
    for name, size in steps:
        width, height = picture.size
        if name == "Resize":
            if isinstance(size, tuple):
                wanted = size[::-1]
            elif width < height:
                wanted = (size, int(size * height / width))
            else:
                wanted = (int(size * width / height), size)
            picture = picture.resize(wanted, Image.Resampling[filter])
            continue
        h, w = size if isinstance(size, tuple) else (size, size)
        array = np.asarray(picture)
        above, beside = max(h - height, 0), max(w - width, 0)
        array = np.pad(
            array,
            ((above // 2, (above + 1) // 2), (beside // 2, (beside + 1) // 2), (0, 0)),
        )
        top = round((array.shape[0] - h) / 2.0)
        left = round((array.shape[1] - w) / 2.0)
        picture = Image.fromarray(array[top : top + h, left : left + w])
    return np.asarray(picture)


def text_of(steps: Steps) -> str:
    return ", ".join(f"{name}({size})" for name, size in steps)


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def found(data: bytes, spec: ImageSpec) -> np.ndarray:
    array = decode_image(data, spec)
    assert not isinstance(array, ImageFailure), array
    assert array.shape == (spec.height, spec.width, spec.channels)
    return array


sizes = st.integers(1, 60) | st.tuples(st.integers(1, 60), st.integers(1, 60))
fixed = st.tuples(st.integers(1, 60), st.integers(1, 60))


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    steps=st.lists(st.tuples(st.sampled_from(["Resize", "CenterCrop"]), sizes), max_size=3),
    last=st.tuples(st.just("CenterCrop"), sizes) | st.tuples(st.just("Resize"), fixed),
    orientation=st.integers(1, 8),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(300, 225, [("Resize", 64)], ("CenterCrop", 64), 1)
@example(300, 225, [("Resize", 64)], ("CenterCrop", 64), 6)
@example(218, 178, [("CenterCrop", 148)], ("Resize", (64, 64)), 1)
@example(218, 178, [("CenterCrop", 148), ("Resize", 64)], ("CenterCrop", 64), 3)
@example(45, 31, [("Resize", 20)], ("CenterCrop", 33), 1)  # padded across, 13 pixels
@example(31, 45, [("Resize", 20)], ("CenterCrop", (33, 21)), 2)  # padded down, cut across
def test_steps_are_torchvisions(height, width, steps, last, orientation):
    stored = noise(height, width)
    data = encoded(stored, exif=exif(orientation))
    turns = [
        None,
        *(Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180),
        *(Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE),
        *(Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90),
    ]
    turn = turns[orientation - 1]
    seen = stored if turn is None else stored.transpose(turn)
    steps = [*steps, last]
    h, w = last[1] if isinstance(last[1], tuple) else (last[1], last[1])
    for treatment, picture in {"apply": seen, "ignore": stored}.items():
        spec = ImageSpec(h, w, resize=text_of(steps), exif=treatment)
        assert (found(data, spec) == transformed(picture, steps)).all()


@pytest.mark.parametrize("filter", ["bicubic", "bilinear", "lanczos", "box", "nearest"])
def test_steps_take_every_filter(filter):
    picture = photo(91, 60)
    steps: Steps = [("Resize", 33), ("CenterCrop", (30, 28))]
    spec = ImageSpec(30, 28, resize=text_of(steps), interpolation=filter)
    assert (found(encoded(picture), spec) == transformed(picture, steps, filter.upper())).all()


def test_crop_is_not_the_steps_but_half_a_pixel_off():
    """Why there are steps: 64 · 300 / 225 is 85.33, of which torchvision keeps rows 10 to 73."""
    picture = photo(300, 225)
    exact = found(encoded(picture), ImageSpec(64, 64, resize="Resize(64), CenterCrop(64)"))
    near = found(encoded(picture), ImageSpec(64, 64, resize="crop", interpolation="bilinear"))
    assert np.abs(exact.astype(int) - near).max() > 20
    stretched = ImageSpec(64, 48, resize="stretch", interpolation="bilinear")
    assert (
        found(encoded(picture), stretched)
        == found(encoded(picture), ImageSpec(64, 48, resize="Resize((64, 48))"))
    ).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_with_antialias_the_filter_is_that_of_tensors_to_a_level(interpolation):
    picture = photo(90, 70)
    spec = ImageSpec(40, 33, resize="Resize((40, 33))", interpolation=interpolation)
    expected = interpolated(picture, (40, 33), interpolation, antialias=True)
    # Pillow rounds between rows and columns, too: half a level, widened by a filter's overshoot.
    assert_within(found(encoded(picture), spec), expected, 1.5, why="it is rounded twice")


def interpolated(
    picture: Image.Image, size: tuple[int, int], mode: str, *, antialias: bool
) -> np.ndarray:
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].double()
    small = torch.nn.functional.interpolate(tensor, size, mode=mode, antialias=antialias)
    return small[0].permute(1, 2, 0).clamp(0, 255).numpy()


@given(
    height=st.integers(1, 80),
    width=st.integers(1, 80),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
@settings(max_examples=60, deadline=None)
@example(80, 60, (7, 40), "bilinear")
@example(3, 2, (40, 39), "bicubic")
def test_without_antialias_it_is_what_tensors_are_interpolated_to(
    height, width, size, interpolation
):
    picture = noise(height, width, seed=3)
    spec = ImageSpec(*size, resize=f"Resize({size})", interpolation=interpolation, antialias=False)
    expected = interpolated(picture, size, interpolation, antialias=False)
    assert_rounded_to_levels(found(encoded(picture), spec), expected, terms=TAPS)


def test_without_antialias_a_large_picture_is_taken_in_strips():
    picture = noise(1500, 2000)
    spec = ImageSpec(30, 40, resize="stretch", interpolation="bilinear", antialias=False)
    expected = interpolated(picture, (30, 40), "bilinear", antialias=False)
    assert_rounded_to_levels(found(encoded(picture, compress_level=1), spec), expected, terms=TAPS)


def test_without_antialias_pictures_are_padded_and_cropped_alike():
    picture = noise(60, 90)
    padded = ImageSpec(30, 30, interpolation="bilinear", antialias=False, background=(1, 2, 3))
    array = found(encoded(picture), padded)
    expected = interpolated(picture, (20, 30), "bilinear", antialias=False)
    assert_rounded_to_levels(array[5:25], expected, terms=TAPS)
    assert (array[:5] == (1, 2, 3)).all()
    cropped = ImageSpec(30, 30, resize="crop", interpolation="bilinear", antialias=False)
    middle = picture.crop((15, 0, 75, 60))
    expected = interpolated(middle, (30, 30), "bilinear", antialias=False)
    assert_rounded_to_levels(found(encoded(picture), cropped), expected, terms=TAPS)
    grey = ImageSpec(20, 20, 1, resize="stretch", interpolation="bilinear", antialias=False)
    expected = np.asarray(picture.convert("L").convert("RGB"))
    expected = interpolated(Image.fromarray(expected), (20, 20), "bilinear", antialias=False)
    assert_rounded_to_levels(
        found(encoded(picture.convert("L")), grey), expected[..., :1], terms=TAPS
    )


def test_orientation_can_be_ignored():
    stored = photo(40, 60)
    data = encoded(stored, "JPEG", quality=95, exif=exif(6))
    plain = encoded(stored, "JPEG", quality=95)
    for resize in ("pad", "crop", "stretch", "Resize(20), CenterCrop(24)"):
        spec = ImageSpec(24, 24, resize=resize, exif="ignore")
        assert (found(data, spec) == found(plain, spec)).all()
        assert (found(data, ImageSpec(24, 24, resize=resize)) != found(plain, spec)).any()
    draft = ImageSpec(4, 8, jpeg_draft=True, exif="ignore")
    assert (found(data, draft) == found(plain, draft)).all()


def test_a_step_that_would_fill_the_memory_is_refused():
    data = encoded(noise(2, 60_000))
    failure = decode_image(data, ImageSpec(64, 64, resize="Resize(1024), CenterCrop(64)"))
    assert failure == ImageFailure(
        "too_many_pixels",
        "Resize(1024) makes 30,720,000 × 1,024 pixels of the 60,000 × 2; at most 100,000,000 are "
        "made.",
    )


# ---- what is written down

BOTH = "CenterCrop((148, 148)), Resize((224, 224))"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Resize(256), CenterCrop(224)", "Resize(256), CenterCrop(224)"),
        (" Resize( 256 ),CenterCrop(size=224)", "Resize(256), CenterCrop(224)"),
        ("v2.CenterCrop([ 148,148 ]), transforms.v2.Resize((224,224,))", BOTH),
        ("CenterCrop(178), Resize(224)", "CenterCrop(178), Resize(224)"),
    ],
)
def test_steps_are_kept_as_one_text(written, kept):
    spec = ImageSpec(224, 224, resize=written)
    assert spec.resize == kept
    assert spec == ImageSpec(224, 224, resize=spec.resize)
    assert ImageSpec.from_dict(spec.to_dict()) == spec
    assert spec.interpolation == "bilinear"  # torchvision's default


def test_what_older_bundles_say_is_kept_as_it_was():
    content = {
        **{"height": 64, "width": 64, "channels": 3, "resize": "crop"},
        **{"background": [255, 255, 255], "scaling": "zero_one", "interpolation": "bicubic"},
        **{"jpeg_draft": False, "mean": None, "std": None},
    }
    spec = ImageSpec.from_dict(content)
    assert spec == ImageSpec(64, 64, resize="crop")
    assert list(spec.to_dict().items()) == list(content.items())
    changed = ImageSpec(64, 64, interpolation="bilinear", antialias=False, exif="ignore")
    assert changed.to_dict()["antialias"] is False and changed.to_dict()["exif"] == "ignore"
    assert ImageSpec.from_dict(changed.to_dict()) == changed
    first = {**content, "jpeg_draft": True}
    drafted = ImageSpec.from_dict(first)
    assert drafted == ImageSpec(64, 64, resize="crop", jpeg_draft=True, jpeg_draft_gap=1)
    assert list(drafted.to_dict().items()) == list(first.items())
    now = ImageSpec(64, 64, resize="crop", jpeg_draft=True)
    assert now.to_dict() == {**first, "jpeg_draft_gap": 2}
    assert ImageSpec.from_dict(now.to_dict()) == now


SIZES = (
    "expected one of pad, crop, stretch, or torchvision's steps with sizes from 1 to 4096: "
    "Resize(n), Resize((height, width)), CenterCrop(m), CenterCrop((height, width)), separated by "
    "commas."
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resize": "Resize(64, 64)"}, f"ImageSpec.resize is 'Resize(64, 64)'; {SIZES}"),
        ({"resize": "Resize(0)"}, f"ImageSpec.resize is 'Resize(0)'; {SIZES}"),
        ({"resize": "Resize(64),"}, f"ImageSpec.resize is 'Resize(64),'; {SIZES}"),
        ({"resize": ""}, f"ImageSpec.resize is ''; {SIZES}"),
        ({"resize": "CenterCrop(4097)"}, f"ImageSpec.resize is 'CenterCrop(4097)'; {SIZES}"),
        ({"resize": "Resize([64])"}, f"ImageSpec.resize is 'Resize([64])'; {SIZES}"),
        ({"resize": "RandomCrop(64)"}, f"ImageSpec.resize is 'RandomCrop(64)'; {SIZES}"),
        (
            {"resize": "Resize(64)"},
            "ImageSpec.resize is 'Resize(64)'; expected steps that end with 64 × 64 pixels, not "
            "with pictures of many sizes.",
        ),
        (
            {"resize": "Resize(256), CenterCrop((64, 48))"},
            "ImageSpec.resize is 'Resize(256), CenterCrop((64, 48))'; expected steps that end with "
            "64 × 64 pixels, not with 64 × 48 pixels.",
        ),
        (
            {"resize": "CenterCrop(64)", "jpeg_draft": True},
            "ImageSpec.jpeg_draft is True; expected False, because the steps of resize begin with "
            "a crop of the whole picture.",
        ),
        (
            {"resize": "Resize((64, 64))", "jpeg_draft": True, "jpeg_draft_gap": 1},
            "ImageSpec.jpeg_draft_gap is 1; expected 2, because resize has steps.",
        ),
        (
            {"jpeg_draft_gap": 1},
            "ImageSpec.jpeg_draft_gap is 1; expected 2, because jpeg_draft is False.",
        ),
        (
            {"jpeg_draft": True, "jpeg_draft_gap": 2.0},
            "ImageSpec.jpeg_draft_gap is 2.0; expected 1 or 2.",
        ),
        (
            {"antialias": False, "interpolation": "lanczos"},
            "ImageSpec.interpolation is 'lanczos'; expected one of bilinear, bicubic, because "
            "antialias is False.",
        ),
        ({"antialias": 0}, "ImageSpec.antialias is 0; expected True or False."),
        ({"exif": None}, "ImageSpec.exif is None; expected one of apply, ignore."),
    ],
)
def test_spec_says_what_is_wrong(change, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        ImageSpec(**{"height": 64, "width": 64, **change})


def test_jobs_take_the_steps():
    export = ExportModel(
        factory="my_vae:MyVae", output="model", resize="Resize(256), CenterCrop((224, 192))"
    )
    image = export.model.image
    assert (image.height, image.width, image.interpolation) == (224, 192, "bilinear")
    assert image.resize == "Resize(256), CenterCrop((224, 192))" and image.exif == "apply"
    steps = {"resize": "Resize(64), CenterCrop(64)", "exif": "ignore", "antialias": False}
    assert TrainVae(catalog="c", output="m", **steps).spec == ImageSpec(64, 64, **steps)
    with pytest.raises(InputError, match=r"steps that end with 64 × 64 pixels, not with 32 × 32"):
        TrainVae(catalog="c", output="m", resize="Resize(64), CenterCrop(32)")
    with pytest.raises(InputError, match="the size of the model's pictures is not known"):
        ExportModel(factory="my_vae:MyVae", output="model", resize="Resize(64)")
