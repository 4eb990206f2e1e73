"""The reference VAE: strided convolutions, and their mirror image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vaeudf.errors import BundleError
from vaeudf.model.networks import Networks


class ConvEncoder(nn.Module):
    """Four strided convolutions, then one linear layer to mu and log_var."""

    def __init__(
        self, *, height: int, width: int, channels: int, latent_dim: int, base_channels: int
    ) -> None:
        super().__init__()
        widths = [base_channels * 2**i for i in range(4)]
        layers: list[nn.Module] = []
        previous = channels
        for current in widths:
            layers += [nn.Conv2d(previous, current, 4, stride=2, padding=1), nn.SiLU()]
            previous = current
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(previous * (height // 16) * (width // 16), 2 * latent_dim)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map pixels (B, C, H, W) to mu and log_var, both (B, latent_dim)."""
        features = pixels
        for layer in self.features:
            if isinstance(layer, nn.SiLU):
                # In place where no gradient needs the input: it saves memory traffic.
                features = functional.silu(features, inplace=not torch.is_grad_enabled())
            else:
                features = layer(features)
        mu, log_var = self.head(features.flatten(1)).chunk(2, dim=1)
        return mu, log_var


class ConvDecoder(nn.Module):
    """The mirror image of :class:`ConvEncoder`."""

    def __init__(
        self, *, height: int, width: int, channels: int, latent_dim: int, base_channels: int
    ) -> None:
        super().__init__()
        widths = [base_channels * 2**i for i in reversed(range(4))]
        self.grid = (widths[0], height // 16, width // 16)
        self.stem = nn.Linear(latent_dim, widths[0] * self.grid[1] * self.grid[2])
        layers: list[nn.Module] = []
        for current, following in zip(widths, [*widths[1:], channels], strict=True):
            layers += [nn.SiLU(), nn.ConvTranspose2d(current, following, 4, stride=2, padding=1)]
        self.upsample = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (B, latent_dim) to pixels (B, C, H, W) in (0, 1)."""
        return torch.sigmoid(self.upsample(self.stem(z).unflatten(1, self.grid)))


def conv_vae(
    *, height: int, width: int, channels: int, latent_dim: int, base_channels: int = 32
) -> Networks:
    """Build the reference convolutional VAE (pixels scaled to [0, 1], log_var stated).

    Raises:
        BundleError: A size that the architecture does not have.
    """
    if min(height, width) < 16 or height % 16 or width % 16 or max(height, width) > 4096:
        raise BundleError(
            f"conv_vae cannot take images of {height} × {width} pixels; "
            "expected multiples of 16, from 16 to 4096."
        )
    if channels not in (1, 3):
        raise BundleError(f"conv_vae cannot take {channels} channels; expected 1 or 3.")
    if not 1 <= latent_dim <= 65536 or not 1 <= base_channels <= 1024:
        raise BundleError(
            f"conv_vae got latent_dim {latent_dim} and base_channels {base_channels}; "
            "expected 1 to 65536 and 1 to 1024."
        )
    sizes = {
        "height": height,
        "width": width,
        "channels": channels,
        "latent_dim": latent_dim,
        "base_channels": base_channels,
    }
    return Networks(ConvEncoder(**sizes), ConvDecoder(**sizes))
