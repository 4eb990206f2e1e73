"""The evidence lower bound of a VAE whose pixels are Gaussian with one common variance.

The variance is set at its maximum-likelihood value, the mean squared error (sigma-VAE, Rybkin et
al. 2021), so that no weight has to be tuned by hand for each image size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vaeudf.images.spec import ImageSpec
from vaeudf.model.likelihood import MIN_VARIANCE, GaussianPixels
from vaeudf.model.networks import Networks
from vaeudf.model.pixels import PixelScaler

_BATCH_SIZE = 256


class Elbo(NamedTuple):
    """Terms of the evidence lower bound, means per image; ``elbo`` = -reconstruction - kl.

    Attributes:
        elbo: In nats.
        reconstruction: Negative log likelihood of the pixels, nats.
        kl: KL(q(z|x) ‖ N(0, I)), nats.
        squared_error: Mean squared error per pixel, pixels scaled as the network gets them.
    """

    elbo: float
    reconstruction: float
    kl: float
    squared_error: float

    @property
    def likelihood(self) -> GaussianPixels:
        """The pixels' likelihood that the ELBO counts with, if they are scaled to [0, 1].

        Its variance has a lower limit. Without it, the error of pictures that are all white reaches
        0, and its logarithm ends the training.
        """
        return GaussianPixels(max(self.squared_error, MIN_VARIANCE))


class Vae(nn.Module):
    """Encoder and decoder as one module, which gives the two terms of the loss."""

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.encoder, self.decoder = networks

    @property
    def networks(self) -> Networks:
        """The encoder and the decoder."""
        return Networks(self.encoder, self.decoder)

    def forward(self, target: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared error and the mean KL of a batch.

        Args:
            target: Scaled pixels (B, C, H, W).
            noise: From N(0, I), shape (B, n).
        """
        mu, log_var = self.encoder(target)
        z = mu + torch.exp(0.5 * log_var) * noise
        squared_error = nn.functional.mse_loss(self.decoder(z), target)
        # Appendix B of Kingma & Welling 2014.
        kl = 0.5 * (mu.square() + log_var.exp() - 1.0 - log_var).sum(dim=1).mean()
        return squared_error, kl


@torch.no_grad()
def evaluate(
    networks: Networks,
    pixels: NDArray[np.uint8],
    spec: ImageSpec,
    *,
    latent_dim: int,
    seed: int,
) -> Elbo:
    """Return the ELBO over pictures.

    Args:
        networks: The networks.
        pixels: The pictures, shape (N, H, W, C).
        spec: Their shape and scaling.
        latent_dim: n.
        seed: Seeds the noise, which is the same on all devices.
    """
    vae = Vae(networks)
    device = next(vae.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    errors, kls, weights = [], [], []
    for target in _batches(pixels, np.arange(len(pixels)), spec):
        noise = torch.randn(len(target), latent_dim, generator=generator)
        squared_error, kl = vae(target.to(device), noise.to(device))
        errors.append(squared_error.item())
        kls.append(kl.item())
        weights.append(len(target))
    error = float(np.average(errors, weights=weights))
    kl_mean = float(np.average(kls, weights=weights))
    variance = max(error, MIN_VARIANCE)
    reconstruction = 0.5 * pixels[0].size * (math.log(2 * math.pi * variance) + error / variance)
    return Elbo(
        elbo=-reconstruction - kl_mean,
        reconstruction=reconstruction,
        kl=kl_mean,
        squared_error=error,
    )


@torch.no_grad()
def posterior_means(
    encoder: nn.Module, pixels: NDArray[np.uint8], rows: NDArray[np.int64], spec: ImageSpec
) -> NDArray[np.float32]:
    """Return the mu of some pictures, shape (R, n).

    Args:
        encoder: The encoder.
        pixels: Pictures, shape (N, H, W, C).
        rows: Which of them, shape (R,).
        spec: Their shape and scaling.
    """
    device = next(encoder.parameters()).device
    means = [encoder(batch.to(device))[0].cpu().numpy() for batch in _batches(pixels, rows, spec)]
    return np.concatenate(means)


def _batches(
    pixels: NDArray[np.uint8], rows: NDArray[np.int64], spec: ImageSpec
) -> Iterator[Tensor]:
    scaler = PixelScaler(spec)
    for start in range(0, len(rows), _BATCH_SIZE):
        yield scaler.scale_array(pixels[rows[start : start + _BATCH_SIZE]])
