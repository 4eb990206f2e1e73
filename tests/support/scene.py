"""The small catalog and its model that most tests use, and what a folder holds."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.support.tolerances import terms_of
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import Bundle, Manifest, save_bundle
from vaeudf.model.conv_vae import conv_vae
from vaeudf.model.likelihood import Likelihood

LATENT_DIM = 4


NUM_ITEMS = 40


SPEC = ImageSpec(16, 16)


ARGUMENTS = {
    "height": SPEC.height,
    "width": SPEC.width,
    "channels": SPEC.channels,
    "latent_dim": LATENT_DIM,
    "base_channels": 4,
}


with torch.device("meta"):  # no weights, and no random numbers for them
    ENCODER_TERMS = terms_of(conv_vae(**ARGUMENTS).encoder)


def make_bundle(
    path: Path, latent_dim: int, seed: int, likelihood: Likelihood | None = None
) -> Bundle:
    """Write a bundle with random weights, scaled so that posteriors differ from item to item."""
    torch.manual_seed(seed)
    arguments = {**ARGUMENTS, "latent_dim": latent_dim}
    networks = conv_vae(**arguments)
    with torch.no_grad():
        networks.encoder.head.weight[:latent_dim].mul_(5000.0)
        networks.encoder.head.weight[latent_dim:].mul_(300.0)
    manifest = Manifest("conv_vae", arguments, latent_dim, SPEC, likelihood=likelihood)
    return save_bundle(path, networks, manifest)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def tree(path: str | Path) -> dict[str, int]:
    """Every file below a folder with its size, to see that nothing was written or lost."""
    root = Path(path)
    return {str(p.relative_to(root)): p.stat().st_size for p in root.rglob("*") if p.is_file()}
