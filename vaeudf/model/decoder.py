"""The decoder as callers use it: latents in, pictures out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from vaeudf.errors import BundleError, InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.pixels import PixelScaler

_Number = TypeVar("_Number", np.uint8, np.float32)


class PictureDecoder:
    """A decoder that gives pictures, and gets its latents a batch at a time.

    Attributes:
        network: z (B, n) → (B, C, H, W) scaled pixels.
        latent_dim: n.
    """

    def __init__(self, network: nn.Module, scaler: PixelScaler, *, latent_dim: int) -> None:
        """Wrap a network.

        Args:
            network: The network.
            scaler: Unscales the pictures that it gives.
            latent_dim: n.
        """
        self.network = network
        self.latent_dim = latent_dim
        self._scaler = scaler
        self._device = torch.device("cpu")

    @property
    def spec(self) -> ImageSpec:
        """The pictures that it gives."""
        return self._scaler.spec

    def to(self, device: torch.device) -> PictureDecoder:
        """Move the decoder to a device, and return it."""
        self.network.to(device)
        self._scaler.to(device)
        self._device = device
        return self

    @torch.inference_mode()
    def decode(self, z: ArrayLike, *, finite: bool = False) -> NDArray[np.uint8]:
        """Decode latents (B, n) to pictures (B, H, W, C) uint8.

        Args:
            z: The latents.
            finite: Whether to refuse what is no picture: NaN, which becomes 0 otherwise, and
                infinite numbers.

        Raises:
            InputError: The latents have another shape, or decode to no picture.
            BundleError: The model has no decoder, or it gives pictures of another shape.
        """
        return self._decode(z, self._scaler.unscale, finite=finite)

    @torch.inference_mode()
    def decode_levels(self, z: ArrayLike) -> NDArray[np.float32]:
        """Decode latents (B, n) to levels in [0, 1], float32 (B, H, W, C).

        What :meth:`decode` rounds and clips to bytes: the mean or the probability of a
        :class:`vaeudf.model.likelihood.Likelihood`, in its units, whatever the model's scaling. The
        decoder may give levels below 0 and above 1, and numbers that are not finite.

        Raises:
            InputError: The latents have another shape.
            BundleError: The model has no decoder, or it gives pictures of another shape.
        """
        return self._decode(z, self._scaler.levels)

    def _decode(
        self, z: ArrayLike, unscaled: Callable[[Tensor], NDArray[_Number]], *, finite: bool = False
    ) -> NDArray[_Number]:
        if np.ndim(z) != 2 or np.shape(z)[1] != self.latent_dim:
            raise InputError(f"z has shape {np.shape(z)}; expected (B, {self.latent_dim}).")
        with np.errstate(over="ignore"):  # it becomes infinite, and so do the levels
            single = np.ascontiguousarray(z, dtype=np.float32)
        latents = torch.from_numpy(single).to(self._device)
        batches = []
        for batch in torch.split(latents, self.spec.batch_size):
            try:
                pictures = self.network(batch)
                # Before they are unscaled, which may be in place.
                is_finite = not finite or bool(torch.isfinite(pictures).all())
                batches.append(unscaled(pictures))
            except InputError as error:
                raise BundleError(f"the decoder's pictures: {error}") from None
            if not is_finite:
                raise InputError(
                    "z decodes to NaN or infinite numbers; expected a picture. Ask with z nearer "
                    "to the prior's mean 0."
                )
        return np.concatenate(batches)
