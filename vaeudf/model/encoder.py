"""The encoder as callers use it: pictures in, mu and log_var out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vaeudf.images.spec import ImageSpec
from vaeudf.model.manifest import TEST_VECTOR_LENGTH
from vaeudf.model.pixels import PixelScaler
from vaeudf.model.variance import Variance, read_posterior


class PosteriorEncoder(nn.Module):
    """An encoder that gives (mu, log_var), in whatever form its network states the variance.

    Attributes:
        network: (B, C, H, W) scaled pixels → mu and what states the variance, both (B, n).
        scaler: Scales the pictures that it takes.
        latent_dim: n.
        variance: What the network's second output states.
    """

    def __init__(
        self,
        network: nn.Module,
        scaler: PixelScaler,
        *,
        latent_dim: int,
        variance: Variance,
        latent_scale: float = 1.0,
        latent_shift: float = 0.0,
    ) -> None:
        """Wrap a network.

        Args:
            network: The network.
            scaler: Of the pictures that it takes.
            latent_dim: n.
            variance: What its second output states.
            latent_scale: Latents are (what the network gives - shift) * scale.
            latent_shift: See ``latent_scale``.
        """
        super().__init__()
        self.network = network
        self.scaler = scaler
        self.latent_dim = latent_dim
        self.variance = variance
        self._latent_scale, self._latent_shift = latent_scale, latent_shift

    @property
    def spec(self) -> ImageSpec:
        """The pictures that it takes."""
        return self.scaler.spec

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map scaled pixels (B, C, H, W) to mu and log sigma², both (B, n) float32."""
        mu, stated = self.network(pixels)
        return read_posterior(
            mu, stated, self.variance, scale=self._latent_scale, shift=self._latent_shift
        )

    def scale(self, pixels: Tensor) -> Tensor:
        """Map pictures (B, H, W, C) uint8 to what :meth:`forward` takes, on the pixels' device."""
        return self.scaler.scale(pixels)

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Encode pictures (B, H, W, C) uint8 to mu and log_var, both (B, n) float32."""
        mu, log_var = self(self.scaler.scale_array(pixels))
        return mu.numpy(), log_var.numpy()


@torch.inference_mode()
def answer_to_noise(network: nn.Module, scaler: PixelScaler) -> list[list[float]] | None:
    """Return what an encoder's network gives for one picture of noise, always the same.

    Args:
        network: (B, C, H, W) scaled pixels → mu and what states the variance, both (B, n).
        scaler: Of the pictures that it takes.

    Returns:
        The first :data:`TEST_VECTOR_LENGTH` numbers of both; None if one is not finite.
    """
    spec = scaler.spec
    shape = (1, spec.height, spec.width, spec.channels)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    answers = network(scaler.scale_array(noise))
    found = [answer[0, :TEST_VECTOR_LENGTH].double().tolist() for answer in answers]
    return found if np.isfinite(found).all() else None
