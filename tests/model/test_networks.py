"""How weights lie in memory."""

from __future__ import annotations

import torch
from torch import nn

from vaeudf.model.networks import channels_last


def test_convolutions_lie_channel_last_and_give_the_same():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 3, 3), nn.Conv2d(3, 2, 5))
    pixels = torch.rand(2, 3, 8, 8)
    expected = module(pixels)
    assert channels_last(module) is module
    assert all(part.weight.is_contiguous(memory_format=torch.channels_last) for part in module)
    torch.testing.assert_close(module(pixels), expected)


def test_weights_with_other_axes_stay_as_they_are():
    module = nn.ModuleList([nn.Conv3d(1, 2, 3), nn.Linear(2, 2)])
    channels_last(module)
    assert all(p.is_contiguous() for p in module.parameters())
