"""The spec's own checks, and the arithmetic between bytes and what a network gets."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vaeudf.errors import InputError
from vaeudf.images.spec import ImageSpec, scale_pixels, unscale_pixels

# ---- the spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "ImageSpec.height is 0; expected an integer from 1 to 4096."),
        ({"width": 4097}, "ImageSpec.width is 4097; expected an integer from 1 to 4096."),
        ({"width": 64.0}, "ImageSpec.width is 64.0; expected an integer from 1 to 4096."),
        ({"height": True}, "ImageSpec.height is True; expected an integer from 1 to 4096."),
        ({"channels": 4}, "ImageSpec.channels is 4; expected 1 or 3."),
        ({"channels": True}, "ImageSpec.channels is True; expected 1 or 3."),
        ({"resize": "fit"}, "ImageSpec.resize is 'fit'; expected one of pad, crop, stretch."),
        ({"resize": ["pad"]}, "ImageSpec.resize is ['pad']; expected one of pad, crop, stretch."),
        (
            {"scaling": "imagenet"},
            "ImageSpec.scaling is 'imagenet'; expected one of zero_one, minus_one_one, mean_std.",
        ),
        (
            {"background": (0, 0, 256)},
            "ImageSpec.background is (0, 0, 256); "
            "expected a tuple of three integers from 0 to 255.",
        ),
        (
            {"background": "white"},
            "ImageSpec.background is 'white'; expected a tuple of three integers from 0 to 255.",
        ),
        (
            {"interpolation": "cubic"},
            "ImageSpec.interpolation is 'cubic'; expected one of bicubic, bilinear, lanczos, box, "
            "nearest.",
        ),
        ({"jpeg_draft": 1}, "ImageSpec.jpeg_draft is 1; expected True or False."),
        (
            {"mean": (0.5,) * 3},
            f"ImageSpec.mean is {(0.5,) * 3}; expected None, because scaling is zero_one.",
        ),
        (
            {"scaling": "mean_std", "mean": (0.5,), "std": (1.0, 1.0, 1.0)},
            "ImageSpec.mean is (0.5,); expected a tuple of 3 finite numbers, because scaling is "
            "mean_std.",
        ),
        (
            {"scaling": "mean_std", "mean": (0.5, 0.5, 0.5), "std": (1.0, 0.0, 1.0)},
            "ImageSpec.std is (1.0, 0.0, 1.0); expected a tuple of 3 numbers above 0, because "
            "scaling is mean_std.",
        ),
        (
            {"scaling": "mean_std", "mean": (0.5, 0.5, float("nan")), "std": (1.0, 1.0, 1.0)},
            "ImageSpec.mean is (0.5, 0.5, nan); expected a tuple of 3 finite numbers, because "
            "scaling is mean_std.",
        ),
    ],
)
def test_spec_says_what_is_wrong(change, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        ImageSpec(**{"height": 64, "width": 64, **change})


@given(
    spec=st.builds(
        ImageSpec,
        height=st.integers(1, 4096),
        width=st.integers(1, 4096),
        channels=st.sampled_from([1, 3]),
        resize=st.sampled_from(["pad", "crop", "stretch"]),
        background=st.tuples(*[st.integers(0, 255)] * 3),
        scaling=st.sampled_from(["zero_one", "minus_one_one"]),
    )
)
@settings(max_examples=30, deadline=None)
@example(
    ImageSpec(8, 9, 3, "crop", (1, 2, 3), "mean_std", "box", True, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
)
def test_spec_survives_json(spec):
    content = json.loads(json.dumps(spec.to_dict()))
    assert content == spec.to_dict()
    assert ImageSpec.from_dict(content) == spec
    assert hash(ImageSpec.from_dict(spec.to_dict())) == hash(spec)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([64, 64], "the image spec is a list; expected a dictionary."),
        ({"width": 64}, "the image spec lacks ['height']; expected height and width."),
        ({"height": 64, "width": "64"}, "ImageSpec.width is '64'; expected an integer"),
        ({"height": 64, "width": 64, "size": 3}, "the image spec has unknown keys ['size']"),
        ({"height": 64, "width": 64, "background": [1, 2]}, "ImageSpec.background is (1, 2);"),
    ],
)
def test_from_dict_is_strict(content, message):
    with pytest.raises(InputError, match=re.escape(message)):
        ImageSpec.from_dict(content)


# ---- scaling


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scaling", ["zero_one", "minus_one_one"])
def test_scale_pixels_is_the_plain_formula(scaling, channels):
    spec = ImageSpec(16, 32, channels, scaling=scaling)
    batch = np.random.default_rng(0).integers(0, 256, (5, 16, 32, channels), dtype=np.uint8)
    batch[0, :8] = np.arange(256).reshape(8, 32, 1)
    scaled = scale_pixels(batch, spec)
    assert scaled.dtype == np.float32 and scaled.flags.c_contiguous
    assert scaled.shape == (5, channels, 16, 32)
    for b, c, y, x in [
        (0, 0, 0, 0),
        (0, channels - 1, 7, 31),
        (3, 0, 15, 2),
        (4, channels - 1, 9, 9),
    ]:
        level = int(batch[b, y, x, c])
        expected = level / 255 if scaling == "zero_one" else level / 127.5 - 1
        assert scaled[b, c, y, x] == pytest.approx(expected, abs=1e-7)
    assert scaled.max() == 1 and scaled.min() == (0 if scaling == "zero_one" else -1)
    assert (unscale_pixels(scaled, spec) == batch).all()


def test_scale_pixels_of_nothing_and_of_a_view():
    spec = ImageSpec(4, 6)
    assert scale_pixels(np.empty((0, 4, 6, 3), np.uint8), spec).shape == (0, 3, 4, 6)
    batch = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    assert (scale_pixels(batch[::-1], spec) == scale_pixels(batch, spec)[::-1]).all()


def test_unscale_rounds_and_clips():
    spec = ImageSpec(1, 5, 1, scaling="minus_one_one")
    scaled = np.array([-9.0, -1.0, 0.0, 1.1, np.nan], np.float32).reshape(1, 1, 1, 5)
    assert unscale_pixels(scaled, spec).ravel().tolist() == [0, 0, 128, 255, 0]
    with pytest.raises(InputError, match=r"have shape \(1, 1, 1, 5\); expected \(B, 3, 1, 5\)\.$"):
        unscale_pixels(scaled, ImageSpec(1, 5))


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        (np.zeros((2, 4, 6, 3)), "float64 of shape (2, 4, 6, 3)"),
        (np.zeros((4, 6, 3), np.uint8), "uint8 of shape (4, 6, 3)"),
        (np.zeros((2, 6, 4, 3), np.uint8), "uint8 of shape (2, 6, 4, 3)"),
        (np.zeros((2, 4, 6, 1), np.uint8), "uint8 of shape (2, 4, 6, 1)"),
    ],
)
def test_scale_pixels_says_what_is_wrong(batch, found):
    message = f"pixels are {found}; expected uint8 of shape (B, 4, 6, 3)."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        scale_pixels(batch, ImageSpec(4, 6))


def test_mean_and_std_are_those_of_pixels_between_0_and_1():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    spec = ImageSpec(5, 7, scaling="mean_std", mean=mean, std=std)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    expected = (pixels.astype(np.float64) / 255 - mean) / std
    scaled = scale_pixels(pixels, spec)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.transpose(0, 2, 3, 1), expected, atol=2e-6)
    assert (unscale_pixels(scaled, spec) == pixels).all()


def test_networks_get_fewer_of_larger_pictures():
    sizes = [(1, 1), (64, 64), (128, 128), (256, 128), (512, 512), (4096, 4096)]
    assert [ImageSpec(*size).batch_size for size in sizes] == [128, 128, 128, 64, 8, 1]
