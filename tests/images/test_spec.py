"""The spec's own checks, and those of pixels by it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vaeudf.errors import InputError
from vaeudf.images.spec import ImageSpec, check_pixels

# ---- the spec

RESIZES = (
    "pad, crop, stretch, or torchvision's steps with sizes from 1 to 4096: Resize(n), "
    "Resize((height, width)), CenterCrop(m), CenterCrop((height, width)), separated by commas."
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "ImageSpec.height is 0; expected an integer from 1 to 4096."),
        ({"width": 4097}, "ImageSpec.width is 4097; expected an integer from 1 to 4096."),
        ({"width": 64.0}, "ImageSpec.width is 64.0; expected an integer from 1 to 4096."),
        ({"height": True}, "ImageSpec.height is True; expected an integer from 1 to 4096."),
        ({"channels": 4}, "ImageSpec.channels is 4; expected 1 or 3."),
        ({"channels": True}, "ImageSpec.channels is True; expected 1 or 3."),
        ({"resize": "fit"}, f"ImageSpec.resize is 'fit'; expected one of {RESIZES}"),
        ({"resize": ["pad"]}, f"ImageSpec.resize is ['pad']; expected one of {RESIZES}"),
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


# ---- pixels, and how many of them


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        (np.zeros((2, 4, 6, 3)), "float64 of shape (2, 4, 6, 3)"),
        (np.zeros((4, 6, 3), np.uint8), "uint8 of shape (4, 6, 3)"),
        (np.zeros((2, 6, 4, 3), np.uint8), "uint8 of shape (2, 6, 4, 3)"),
        (np.zeros((2, 4, 6, 1), np.uint8), "uint8 of shape (2, 4, 6, 1)"),
    ],
)
def test_check_pixels_says_what_is_wrong(batch, found):
    message = f"pixels are {found}; expected uint8 of shape (B, 4, 6, 3)."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        check_pixels(batch, ImageSpec(4, 6))
    check_pixels(np.zeros((0, 4, 6, 3), np.uint8), ImageSpec(4, 6))


def test_networks_get_fewer_of_larger_pictures():
    sizes = [(1, 1), (64, 64), (128, 128), (256, 128), (512, 512), (4096, 4096)]
    assert [ImageSpec(*size).batch_size for size in sizes] == [128, 128, 128, 64, 8, 1]
