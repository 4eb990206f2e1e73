"""What users of pythae write to name their model: a function that makes it. Travels alone."""

from __future__ import annotations

from typing import Any

import torch
from pythae.models import VAE, BetaVAE, BetaVAEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import nn

SHAPE = (3, 16, 16)


class ConvEncoder(BaseEncoder):
    """An encoder of the user's own, as pythae's documentation asks for it."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1)
        )
        self.mu, self.log_var = nn.Linear(256, latent_dim), nn.Linear(256, latent_dim)

    def forward(self, x: torch.Tensor) -> ModelOutput:
        features = self.body(x).flatten(1)
        return ModelOutput(embedding=self.mu(features), log_covariance=self.log_var(features))


class LinearDecoder(BaseDecoder):
    """And a decoder."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(latent_dim, 3 * 16 * 16)

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.layer(z)).reshape(-1, *SHAPE))


def vae(latent_dim: int) -> nn.Module:
    return VAE(VAEConfig(input_dim=SHAPE, latent_dim=latent_dim))


def beta_vae(latent_dim: int, beta: float) -> nn.Module:
    return BetaVAE(BetaVAEConfig(input_dim=SHAPE, latent_dim=latent_dim, beta=beta))


def custom(latent_dim: int) -> nn.Module:
    config = VAEConfig(input_dim=SHAPE, latent_dim=latent_dim)
    return VAE(config, encoder=ConvEncoder(latent_dim), decoder=LinearDecoder(latent_dim))


def another(family: str, latent_dim: int = 4) -> Any:
    """Any of pythae's models, by the name of its class."""
    from pythae import models

    name = f"{family}Config" if hasattr(models, f"{family}Config") else f"{family}_Config"
    config = getattr(models, name)(input_dim=SHAPE, latent_dim=latent_dim)
    return getattr(models, family)(config)
