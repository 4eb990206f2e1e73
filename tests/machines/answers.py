"""What must not depend on the machine, as this one computes it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch

from tests.support.scene import ARGUMENTS, LATENT_DIM, SPEC
from vaeudf.catalog.garments import draw_garment, sample_garment
from vaeudf.model.bundle import load_bundle, save_bundle
from vaeudf.model.conv_vae import conv_vae
from vaeudf.model.manifest import Manifest
from vaeudf.numerics.kd_tree import kd_order
from vaeudf.search.index import PosteriorIndex
from vaeudf.search.once import nearest

_RNG = np.random.default_rng(0)
MU = _RNG.normal(size=(20_000, 10)).astype(np.float32)
ITEMS = _RNG.uniform(-6, 0, size=MU.shape).astype(np.float32)
"""log sigma² of the items."""
Z = _RNG.normal(size=(50, 10))
QUERIES = _RNG.uniform(-6, 0, size=Z.shape)
"""log sigma² of the queries that are Gaussians."""
SCORES = ("log_likelihood", "mahalanobis", "kl")


def main(folder: Path) -> None:
    """Write ``answers.npz`` into a folder, and a model beside it."""
    answers: dict[str, np.ndarray] = {}
    items = [sample_garment(5, index) for index in range(200)]
    pictures = b"".join(draw_garment(item, 64).tobytes() for item in items)
    answers["drawn"] = np.frombuffer(hashlib.sha256(pictures).digest(), np.uint8)

    networks = conv_vae(**ARGUMENTS)
    weights = (*networks.encoder.parameters(), *networks.decoder.parameters())
    for number, weight in enumerate(weights):
        values = np.random.default_rng(number).normal(size=weight.shape)
        weight.data = torch.from_numpy(values.astype(np.float32))
    saved = save_bundle(
        folder / "model", networks, Manifest("conv_vae", ARGUMENTS, LATENT_DIM, SPEC)
    )
    assert load_bundle(folder / "model").model_id == saved.model_id
    answers["model_id"] = np.frombuffer(bytes.fromhex(saved.model_id), np.uint8)

    answers["order"] = kd_order(MU)
    index = PosteriorIndex(MU, ITEMS)
    for score in SCORES:
        widths = {"query_log_var": QUERIES} if score == "kl" else {}
        answers[f"nearest {score}"], answers[f"nearest {score} values"] = nearest(
            Z, MU, ITEMS, k=20, score=score, **widths
        )
        answers[f"index {score}"], answers[f"index {score} values"] = index.search(
            Z, k=20, score=score, **widths
        )
    np.savez(folder / "answers.npz", **answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
