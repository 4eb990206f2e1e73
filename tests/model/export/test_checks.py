"""What a bundle promises of its networks, checked on networks that do not keep it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vaeudf.errors import BundleError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.export.checks import check_decoder, check_encoder, takes_channels_last

PIXELS = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Calls(nn.Module):
    """Calls a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def means(x):
    mu = x.flatten(2).mean(dim=2)
    return mu, mu - 1.0


def test_an_encoder_that_keeps_what_is_promised():
    check_encoder(Calls(means), PIXELS)
    check_encoder(Calls(lambda x: (means(x)[0], torch.full((len(x), 3), torch.nan))), PIXELS)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("noise", [1.0, 1e-4])
def test_an_output_that_is_a_sample(place, noise):
    def noisy(x):
        answers = list(means(x))
        answers[place] = answers[place] + noise * torch.randn_like(answers[place])
        return tuple(answers)

    with pytest.raises(BundleError, match="another posterior for the same picture when it is"):
        check_encoder(Calls(noisy), PIXELS)


def test_a_batch_norm_that_is_not_in_eval_mode():
    norm = nn.BatchNorm2d(3)
    with pytest.raises(BundleError, match="another posterior when others are encoded beside it"):
        check_encoder(Calls(lambda x: means(norm(x) + x.mean(dim=0))), PIXELS)


@pytest.mark.parametrize("needs_several", [torch.squeeze, nn.BatchNorm1d(3)])
def test_an_encoder_that_takes_no_picture_alone(needs_several):
    def answers(x):
        mu = needs_several(means(x)[0])
        return mu, mu.flatten(1)

    with pytest.raises(BundleError, match=r"takes 4 pictures, and not one alone .* picture alone"):
        check_encoder(Calls(answers), PIXELS)


def test_the_pictures_of_a_decoder():
    spec = ImageSpec(8, 8)
    good = Calls(lambda z: z.sum(dim=1).reshape(-1, 1, 1, 1).expand(-1, 3, 8, 8))
    check_decoder(good, 5, spec)
    with pytest.raises(BundleError, match=r"shape \(2, 3, 8, 8\); expected \(2, 1, 8, 8\), pic"):
        check_decoder(good, 5, ImageSpec(8, 8, 1))


def test_encoders_that_take_channel_last_pixels_and_others():
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 4))
    split = Calls(lambda x: conv(x).chunk(2, dim=1))
    split.conv = conv
    assert takes_channels_last(split, PIXELS)
    assert not takes_channels_last(Calls(lambda x: (x.view(4, -1), x.view(4, -1))), PIXELS)
    order = Calls(lambda x: (torch.as_strided(x, (4, 5), (192, 1)),) * 2)
    assert not takes_channels_last(order, PIXELS)
    assert conv[0].weight.is_contiguous()  # it was tried on a copy
