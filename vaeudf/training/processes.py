"""Several processes that train one model: their numbers, and what they tell each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, distributed


class Processes(NamedTuple):
    """This process among those that train one model.

    If there are several, torch.distributed must have been initialised (:func:`joined_processes`).

    Attributes:
        rank: The number of this one, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that reports, and keeps what has been reached."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a value over the processes; the tensor itself is changed."""
        if self.size > 1:
            distributed.all_reduce(value)
            value /= self.size
        return value

    def of_first(self, value: Tensor) -> Tensor:
        """Return the value that the first process has; the tensor itself is changed."""
        if self.size > 1:
            distributed.broadcast(value, 0)
        return value


@contextlib.contextmanager
def joined_processes(*, on_gpus: bool) -> Iterator[tuple[Processes, str]]:
    """Join the other processes that torchrun has started; give this one's number and device."""
    distributed.init_process_group("nccl" if on_gpus else "gloo")
    try:
        device = f"cuda:{os.environ['LOCAL_RANK']}" if on_gpus else "cpu"
        if on_gpus:
            torch.cuda.set_device(device)
        yield Processes(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()
