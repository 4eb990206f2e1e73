"""From the bytes of pictures to what a network gets, and back from what a decoder gives."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vaeudf.errors import InputError
from vaeudf.images.spec import ImageSpec, check_pixels


class PixelScaler(nn.Module):
    """Scales pixels as an image spec says, and unscales them, on the device of the pixels.

    ``zero_one`` is x / 255, ``minus_one_one`` x / 127.5 - 1, ``mean_std`` (x / 255 - mean) / std.

    Attributes:
        spec: The pictures' shape and scaling.
    """

    divisor: Tensor
    offset: Tensor

    def __init__(self, spec: ImageSpec, *, channels_last: bool = True) -> None:
        """Prepare to scale pictures.

        Args:
            spec: The pictures' shape and scaling.
            channels_last: Whether scaled pixels (B, C, H, W) lie channel-last in memory, as
                pictures do.
        """
        super().__init__()
        self.spec = spec
        self._channels_last = channels_last
        divisor, offset = (torch.from_numpy(column) for column in spec.divisor_and_offset)
        self.register_buffer("divisor", divisor, persistent=False)
        self.register_buffer("offset", offset, persistent=False)

    def scale(self, pixels: Tensor) -> Tensor:
        """Map pictures (B, H, W, C) uint8 to what the network gets, float32 (B, C, H, W)."""
        # The view with channels first is channel-last in memory, so nothing is moved.
        scaled = pixels.permute(0, 3, 1, 2).to(torch.float32)
        scaled /= self.divisor
        if self.spec.scaling != "zero_one":
            scaled -= self.offset
        return scaled if self._channels_last else scaled.contiguous()

    def scale_array(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Map pictures (B, H, W, C) uint8 to what the network gets, float32 (B, C, H, W).

        Raises:
            InputError: The pictures have another type or shape.
        """
        check_pixels(pixels, self.spec)
        # torch warns about arrays that cannot be written to, such as those of Arrow.
        return self.scale(torch.from_numpy(np.require(pixels, requirements="W")))

    def unscale(self, scaled: Tensor) -> NDArray[np.uint8]:
        """Invert :meth:`scale`, for a decoder's output: rounded, and clipped to 0 … 255.

        Args:
            scaled: float of shape (B, channels, height, width).

        Returns:
            uint8 of shape (B, height, width, channels), contiguous; NaN becomes 0.

        Raises:
            InputError: ``scaled`` has another shape.
        """
        bytes_ = self._unscaled(scaled).round_().nan_to_num_(nan=0.0).clamp_(0, 255)
        # Bytes, a quarter of the floats, are what leaves the device.
        return bytes_.to(torch.uint8).contiguous().cpu().numpy()

    def levels(self, scaled: Tensor) -> NDArray[np.float32]:
        """Invert :meth:`scale`, for a decoder's output, to levels in [0, 1], byte / 255.

        They are neither rounded nor clipped: a decoder may give levels below 0 and above 1, and NaN
        stays NaN.

        Args:
            scaled: float of shape (B, channels, height, width).

        Returns:
            float32 of shape (B, height, width, channels), contiguous.

        Raises:
            InputError: ``scaled`` has another shape.
        """
        return (self._unscaled(scaled) / 255).contiguous().cpu().numpy()

    def _unscaled(self, scaled: Tensor) -> Tensor:
        """Return levels from 0 to 255 of scaled pixels, float32 (B, H, W, C), in new memory."""
        shape = (self.spec.channels, self.spec.height, self.spec.width)
        if scaled.shape[1:] != shape:
            raise InputError(
                f"scaled pixels have shape {tuple(scaled.shape)}; "
                f"expected (B, {', '.join(map(str, shape))})."
            )
        return ((scaled.float() + self.offset) * self.divisor).permute(0, 2, 3, 1)
