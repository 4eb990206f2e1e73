"""Train the reference VAE on pictures held in memory."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from vaeudf.bundle import Manifest, channels_last
from vaeudf.errors import InputError
from vaeudf.image_spec import ImageSpec, scale_pixels
from vaeudf.networks import Networks, conv_vae

_GRADIENT_NORM = 1.0
# Pixels rounded to 256 levels carry this squared error at least, on average. Without a floor,
# pictures that are all white reach an error of 0, and its logarithm ends the training.
_MIN_VARIANCE = 1.0 / (12 * 255**2)


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Attributes:
        latent_dim: n.
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: The peak of the one-cycle schedule.
        beta: Weight of the KL term (Higgins et al. 2017). Neighbouring pixels say much the same,
            so the likelihood counts its evidence many times over; on 3,068 photos of clothes
            beta 10 instead of 1 raises the held-out squared error by 2 % and brings the spread
            of mu from 2.1 to 1.4, near the prior that sliders assume.
        base_channels: Width of the first convolution; the last has eight times as many.
        held_out: The fraction of images kept aside to measure the ELBO.
        seed: Seeds the split, the weights and the noise.
    """

    latent_dim: int = 10
    epochs: int = 15
    batch_size: int = 32
    learning_rate: float = 2e-3
    beta: float = 10.0
    base_channels: int = 24
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("latent_dim", "epochs", "batch_size", "learning_rate", "base_channels")
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; expected more than 0.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; expected 0 or more, below 2^63.")
        if not 0 <= self.beta < math.inf:
            raise InputError(f"beta is {self.beta}; expected 0 or more.")
        if not 0 < self.held_out < 1:
            raise InputError(f"held_out is {self.held_out}; expected a fraction between 0 and 1.")


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


class Trained(NamedTuple):
    """What :func:`train` returns: the networks, their manifest, and the held-out ELBO."""

    networks: Networks
    manifest: Manifest
    held_out: Elbo


def train(pixels: NDArray[np.uint8], spec: ImageSpec, plan: TrainingPlan) -> Trained:
    """Train a VAE: reconstruction + beta · KL.

    Pixels are Gaussian with one common variance, set at its maximum-likelihood value, the mean
    squared error (sigma-VAE, Rybkin et al. 2021): no weight to tune by hand for every image size.

    Args:
        pixels: Pictures, shape (N, H, W, C) uint8.
        spec: What they are.
        plan: How to train.

    Raises:
        InputError: Fewer images than a batch and those held out, a spec that ``conv_vae`` is not
            made for, or the training diverged.
    """
    if spec.scaling != "zero_one":
        raise InputError(
            f"scaling is {spec.scaling}; expected zero_one, because the decoder of conv_vae gives "
            "pixels between 0 and 1."
        )
    torch.manual_seed(plan.seed)
    networks = conv_vae(
        height=spec.height,
        width=spec.width,
        channels=spec.channels,
        latent_dim=plan.latent_dim,
        base_channels=plan.base_channels,
    )
    networks = Networks(*map(channels_last, networks))
    shuffled = np.random.default_rng(plan.seed).permutation(len(pixels))
    held_out = _count_held_out(len(pixels), plan)
    test, rest = shuffled[:held_out], shuffled[held_out:]
    if len(rest) < plan.batch_size:
        enough = next(n for n in count() if n - _count_held_out(n, plan) >= plan.batch_size)
        raise InputError(
            f"{len(pixels)} images are too few to train on; expected at least {enough}, "
            "or a smaller batch_size."
        )
    _fit(networks, pixels, rest, spec, plan)
    elbo, _ = evaluate(networks, pixels[test], spec)
    _, mu = evaluate(networks, pixels[rest], spec)
    if not math.isfinite(elbo.elbo):
        raise InputError(
            f"training diverged (ELBO {elbo.elbo}); try a learning_rate below "
            f"{plan.learning_rate:g}."
        )
    manifest = Manifest(
        architecture="conv_vae",
        arguments={
            "height": spec.height,
            "width": spec.width,
            "channels": spec.channels,
            "latent_dim": plan.latent_dim,
            "base_channels": plan.base_channels,
        },
        latent_dim=plan.latent_dim,
        image=spec,
        z_range=np.quantile(mu, [0.005, 0.995], axis=0).round(3).tolist(),
        training={
            "plan": vars(plan),
            "train_images": len(rest),
            "held_out_images": len(test),
            "held_out": {key: round(value, 6) for key, value in elbo._asdict().items()},
        },
    )
    return Trained(networks, manifest, elbo)


def _count_held_out(images: int, plan: TrainingPlan) -> int:
    return max(1, round(plan.held_out * images))


def _fit(
    networks: Networks,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    spec: ImageSpec,
    plan: TrainingPlan,
) -> None:
    parameters = [p for net in networks for p in net.parameters()]
    steps = len(rows) // plan.batch_size
    optimizer = torch.optim.AdamW(parameters, plan.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.learning_rate, total_steps=plan.epochs * steps + 1
    )
    rng = np.random.default_rng(plan.seed)
    bar = tqdm(total=plan.epochs * steps, desc="training", unit="step", file=sys.stderr)
    with bar:
        for epoch in range(plan.epochs):
            order = rng.permutation(rows)
            for step in range(steps):
                batch = order[step * plan.batch_size : (step + 1) * plan.batch_size]
                target = _to_tensor(pixels[batch], spec)
                squared_error, kl, _ = _forward(networks, target)
                # Per pixel, so that one learning rate serves all image sizes.
                log_variance = torch.log(squared_error.clamp(min=_MIN_VARIANCE))
                loss = 0.5 * log_variance + plan.beta * kl / target[0].numel()
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
                optimizer.step()
                schedule.step()
                bar.update()
            bar.set_postfix(epoch=f"{epoch + 1}/{plan.epochs}", error=f"{squared_error.item():.4f}")


@torch.no_grad()
def evaluate(
    networks: Networks, pixels: NDArray[np.uint8], spec: ImageSpec
) -> tuple[Elbo, NDArray[np.float32]]:
    """Return the ELBO over pictures (N, H, W, C), and their mu, shape (N, n)."""
    errors, kls, mus, weights = [], [], [], []
    for start in range(0, len(pixels), 256):
        target = _to_tensor(pixels[start : start + 256], spec)
        squared_error, kl, mu = _forward(networks, target)
        errors.append(squared_error.item())
        kls.append(kl.item())
        mus.append(mu.numpy())
        weights.append(len(target))
    error = float(np.average(errors, weights=weights))
    kl_mean = float(np.average(kls, weights=weights))
    variance = max(error, _MIN_VARIANCE)
    reconstruction = 0.5 * pixels[0].size * (math.log(2 * math.pi * variance) + error / variance)
    return Elbo(-reconstruction - kl_mean, reconstruction, kl_mean, error), np.concatenate(mus)


def _forward(networks: Networks, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mu, log_var = networks.encoder(target)
    z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
    squared_error = nn.functional.mse_loss(networks.decoder(z), target)
    # Appendix B of Kingma & Welling 2014.
    kl = 0.5 * (mu.square() + log_var.exp() - 1.0 - log_var).sum(dim=1).mean()
    return squared_error, kl, mu


def _to_tensor(pixels: NDArray[np.uint8], spec: ImageSpec) -> Tensor:
    return torch.from_numpy(scale_pixels(pixels, spec)).contiguous(
        memory_format=torch.channels_last
    )
