"""The arithmetic between the bytes of pictures and what a network gets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.tolerances import (
    assert_rounded_to_levels,
    assert_same_float32,
    near_float32,
)
from vaeudf.errors import InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.pixels import PixelScaler


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scaling", ["zero_one", "minus_one_one"])
def test_scaling_is_the_plain_formula(scaling, channels):
    scaler = PixelScaler(ImageSpec(16, 32, channels, scaling=scaling))
    batch = np.random.default_rng(0).integers(0, 256, (5, 16, 32, channels), dtype=np.uint8)
    batch[0, :8] = np.arange(256).reshape(8, 32, 1)
    scaled = scaler.scale_array(batch)
    assert scaled.dtype == torch.float32 and scaled.shape == (5, channels, 16, 32)
    for b, c, y, x in [
        (0, 0, 0, 0),
        (0, channels - 1, 7, 31),
        (3, 0, 15, 2),
        (4, channels - 1, 9, 9),
    ]:
        level = int(batch[b, y, x, c])
        expected = level / 255 if scaling == "zero_one" else level / 127.5 - 1
        assert scaled[b, c, y, x].item() == near_float32(expected, terms=1, magnitude=2.0)
    assert scaled.max() == 1 and scaled.min() == (0 if scaling == "zero_one" else -1)
    assert (scaler.unscale(scaled) == batch).all()


def test_mean_and_std_are_those_of_pixels_between_0_and_1():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    scaler = PixelScaler(ImageSpec(5, 7, scaling="mean_std", mean=mean, std=std))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    expected = (pixels.astype(np.float64) / 255 - mean) / std
    scaled = scaler.scale_array(pixels)
    assert scaled.dtype == torch.float32
    # Both the pixel and the mean are divided by std.
    added = np.broadcast_to((1 + np.array(mean)) / std, expected.shape)
    assert_same_float32(scaled.permute(0, 2, 3, 1), expected, terms=2, magnitude=added)
    assert (scaler.unscale(scaled) == pixels).all()


def test_nothing_a_view_and_an_array_that_cannot_be_written_to():
    scaler = PixelScaler(ImageSpec(4, 6))
    assert scaler.scale_array(np.empty((0, 4, 6, 3), np.uint8)).shape == (0, 3, 4, 6)
    batch = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    scaled = scaler.scale_array(batch)
    assert (scaler.scale_array(batch[::-1].copy()) == scaled.flip(0)).all()
    batch.setflags(write=False)
    assert (scaler.scale_array(batch) == scaled).all()


def test_the_layout_in_memory():
    batch = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    spec = ImageSpec(4, 6)
    last, first = PixelScaler(spec), PixelScaler(spec, channels_last=False)
    assert last.scale_array(batch).is_contiguous(memory_format=torch.channels_last)
    assert first.scale_array(batch).is_contiguous()
    assert (first.scale_array(batch) == last.scale_array(batch)).all()
    assert not last.state_dict()  # nothing of it is among a model's weights


def test_unscale_rounds_and_clips():
    spec = ImageSpec(1, 6, 1, scaling="minus_one_one")
    scaled = torch.tensor([-9.0, -1.0, 0.0, 1.1, torch.nan, torch.inf]).reshape(1, 1, 1, 6)
    found = PixelScaler(spec).unscale(scaled)
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    assert found.ravel().tolist() == [0, 0, 128, 255, 0, 255]
    with pytest.raises(InputError, match=r"have shape \(1, 1, 1, 6\); expected \(B, 3, 1, 6\)\.$"):
        PixelScaler(ImageSpec(1, 6)).unscale(scaled)


@pytest.mark.parametrize(
    ("scaling", "moments"),
    [
        ("zero_one", (0.0, 1.0)),
        ("minus_one_one", (0.5, 0.5)),
        ("mean_std", ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    ],
)
def test_levels_are_neither_rounded_nor_clipped(scaling, moments):
    given = dict(zip(("mean", "std"), moments, strict=True)) if scaling == "mean_std" else {}
    scaler = PixelScaler(ImageSpec(5, 7, scaling=scaling, **given))
    rng = np.random.default_rng(0)
    expected = rng.uniform(-0.5, 1.5, (4, 5, 7, 3))
    mean, std = map(np.asarray, moments)
    scaled = torch.from_numpy((expected - mean) / std).permute(0, 3, 1, 2)
    found = scaler.levels(scaled)
    assert found.dtype == np.float32 and found.flags.c_contiguous and found.shape == (4, 5, 7, 3)
    assert_same_float32(found, expected, terms=6, magnitude=np.abs(expected) + 2 * mean)
    # Pictures are the same levels, rounded and clipped.
    assert_rounded_to_levels(scaler.unscale(scaled), 255 * expected.clip(0, 1), terms=12)
    with pytest.raises(InputError, match=r"have shape \(4, 3, 7, 5\); expected \(B, 3, 5, 7\)\.$"):
        scaler.levels(scaled.transpose(2, 3))


def test_levels_of_what_a_sigmoid_can_give_are_in_0_to_1():
    ends = np.array([0.0, 2.0**-149, 0.5, 1 - 2.0**-24, 1.0], np.float32)
    scaled = torch.from_numpy(ends.reshape(1, 1, 1, 5))
    found = PixelScaler(ImageSpec(1, 5, 1)).levels(scaled)
    assert found.min() == 0 and found.max() == 1
    assert np.isnan(PixelScaler(ImageSpec(1, 5, 1)).levels(scaled * torch.nan)).all()


def test_pictures_of_another_shape_are_not_scaled():
    with pytest.raises(InputError, match=r"^pixels are uint8 of shape \(1, 6, 4, 3\); expected"):
        PixelScaler(ImageSpec(4, 6)).scale_array(np.zeros((1, 6, 4, 3), np.uint8))
