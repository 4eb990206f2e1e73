"""The two halves of a VAE, and how their weights lie in memory."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import nn


class Networks(NamedTuple):
    """The two halves of a VAE.

    Attributes:
        encoder: (B, C, H, W) scaled pixels → two tensors (B, n): mu and what states the variance.
        decoder: (B, n) latents → (B, C, H, W) scaled pixels.
    """

    encoder: nn.Module
    decoder: nn.Module


_Module = TypeVar("_Module", bound=nn.Module)


def channels_last(module: _Module) -> _Module:
    """Lay out the weights of a module's convolutions channel-last, and return the module.

    CPUs convolve faster in this layout; the results are the same to within rounding.
    """
    for part in module.modules():
        # module.to(memory_format=…) would refuse modules with other weights of four or five axes.
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module
