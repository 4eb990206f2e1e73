"""How to train: the options of a training, and which images it holds out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import InputError


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Attributes:
        latent_dim: n.
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: The peak of the one-cycle schedule.
        beta: Weight of the KL term (Higgins et al. 2017). Neighbouring pixels are correlated, so
            the likelihood counts the same evidence many times; beta makes up for it. What it
            changes is measured in docs/models.md.
        base_channels: Channels of the first convolution; the last has eight times as many.
        held_out: The fraction of images held out to measure the ELBO.
        patience: Stop when so many epochs in a row have not lowered the held-out loss (with beta),
            and keep the weights of the best epoch. 0 trains to the end and keeps the last weights.
        seed: Seeds the split, the weights and the noise.

    Raises:
        InputError: A value is out of range.
    """

    latent_dim: int = 10
    epochs: int = 15
    batch_size: int = 32
    learning_rate: float = 2e-3
    beta: float = 10.0
    base_channels: int = 24
    held_out: float = 0.1
    patience: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("latent_dim", "epochs", "batch_size", "learning_rate", "base_channels")
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; expected more than 0.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; expected 0 or more, below 2^63.")
        if self.patience < 0:
            raise InputError(f"patience is {self.patience}; expected 0 or more epochs.")
        if not 0 <= self.beta < math.inf:
            raise InputError(f"beta is {self.beta}; expected 0 or more.")
        if not 0 < self.held_out < 1:
            raise InputError(f"held_out is {self.held_out}; expected a fraction between 0 and 1.")

    def split(self, images: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of images to hold out, and those to train on, at random by the seed.

        Raises:
            InputError: There are too few images for one batch besides those held out.
        """
        held_out = self._count_held_out(images)
        if images - held_out < self.batch_size:
            enough = next(n for n in count() if n - self._count_held_out(n) >= self.batch_size)
            raise InputError(
                f"{images} images are too few to train on; expected at least {enough}, "
                "or a smaller batch_size."
            )
        shuffled = np.random.default_rng(self.seed).permutation(images)
        return shuffled[:held_out], shuffled[held_out:]

    def _count_held_out(self, images: int) -> int:
        return max(1, round(self.held_out * images))


def check_share(batch_size: int, processes: int) -> None:
    """Raise InputError unless the processes can share a batch evenly."""
    if processes < 1 or batch_size % processes:
        raise InputError(
            f"num_processes is {processes}; expected a divisor of the batch size, {batch_size}, so "
            "that the processes share each batch evenly."
        )
