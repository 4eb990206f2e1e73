"""Pictures of two colours, and a plan that learns them in seconds."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from vaeudf.images.spec import ImageSpec
from vaeudf.training.plan import TrainingPlan

SPEC = ImageSpec(16, 16)
PLAN = TrainingPlan(
    latent_dim=2, epochs=20, batch_size=16, base_channels=8, learning_rate=5e-3, beta=0.1
)
RED, BLUE = (200, 30, 40), (20, 60, 200)


def two_colours(count: int = 120, channels: int = 3) -> np.ndarray:
    """Red and blue pictures in turn, (count, 16, 16, channels)."""
    pixels = np.empty((count, 16, 16, channels), np.uint8)
    pixels[0::2], pixels[1::2] = RED[:channels], BLUE[:channels]
    return pixels


def with_changes(**changes: Any) -> TrainingPlan:
    """The plan, with other values of some options."""
    return dataclasses.replace(PLAN, **changes)
