"""Models of tests/support/elsewhere.py, and what is said of them for an export."""

from __future__ import annotations

import numpy as np
import safetensors.torch
import torch

from tests.support import elsewhere
from vaeudf.images.spec import ImageSpec
from vaeudf.model.export.foreign_model import ForeignModel

SPEC = ImageSpec(16, 16)


def source(kind="Pair", **changes):
    return ForeignModel(
        **{
            "factory": "tests.support.elsewhere:make",
            "image": SPEC,
            "arguments": {"kind": kind},
            **changes,
        }
    )


def pictures(count=6):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def trained(kind, seed=3):
    torch.manual_seed(seed)
    return elsewhere.make(kind).eval()


def weights_of(model, path):
    safetensors.torch.save_file(model.state_dict(), path)
    return path
