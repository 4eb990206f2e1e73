"""What a training has reached after an epoch: packed to bytes, kept, and taken up again."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vaeudf.errors import StoreError
from vaeudf.images.spec import ImageSpec
from vaeudf.storage import single_file
from vaeudf.storage.locations import filesystem, make_folder
from vaeudf.storage.refusals import STORE_ERRORS, cause_of, refused
from vaeudf.training.elbo import Elbo
from vaeudf.training.plan import TrainingPlan

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"


class Checkpoints(NamedTuple):
    """Where a training keeps what it has reached, after each epoch.

    Attributes:
        read: Returns what was written last, None if nothing.
        write: Keeps bytes in place of those written before.
    """

    read: Callable[[], bytes | None]
    write: Callable[[bytes], None]


@dataclass(frozen=True)
class Reached:
    """What a training has reached.

    Attributes:
        history: The held-out ELBO after each epoch.
        weights: The state_dict after the last epoch.
        best: The state_dict of the epoch that would be kept.
        optimizer: The state_dict of the optimizer.
        schedule: The state_dict of the learning rate's schedule.
    """

    history: list[Elbo]
    weights: dict[str, Any]
    best: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]

    def pack(self, key: str) -> bytes:
        """Return a checkpoint, which only a training with the same key takes up."""
        content = {**vars(self), "history": [list(elbo) for elbo in self.history], "key": key}
        stream = io.BytesIO()
        torch.save(content, stream)
        return stream.getvalue()


def training_key(plan: TrainingPlan, spec: ImageSpec, pixels: NDArray[np.uint8]) -> str:
    """Return a name for the training of this plan on these pictures, and for no other."""
    facts = json.dumps([vars(plan), spec.to_dict()], sort_keys=True)
    digest = hashlib.sha256(facts.encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def unpack(data: bytes, key: str, device: torch.device, *, tell: bool) -> Reached | None:
    """Return what a checkpoint says was reached; None if it is of another training, or damaged.

    Args:
        data: What :meth:`Reached.pack` returned.
        key: Of the training that is to go on.
        device: Where tensors are wanted.
        tell: Whether to log why a checkpoint is not taken up.
    """
    try:
        content = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        fits = content.pop("key") == key
        content["history"] = [Elbo(*terms) for terms in content["history"]]
        reached = Reached(**content)
    except Exception as error:  # pickle can raise anything
        if tell:
            log.warning("the checkpoint cannot be read, so training starts anew: %s", error)
        return None
    if not fits and tell:
        log.info("the checkpoint is of other options or images; training starts anew.")
    return reached if fits else None


def folder_checkpoints(folder: str) -> Checkpoints:
    """Keep a training's checkpoint in a folder, which is made when there is something to keep.

    A checkpoint that cannot be written is a warning: what has been trained since the last one is
    worth more than it.

    Args:
        folder: Its path or URI.
    """
    path = posixpath.join(folder, CHECKPOINT)

    def write(data: bytes) -> None:
        try:
            write_file(path, data)
        except (*STORE_ERRORS, StoreError) as error:
            log.warning(
                "the checkpoint could not be written to %s (%s); training goes on, and writes "
                "one again after the next epoch.",
                *(path, cause_of(error)),
            )

    return Checkpoints(read=lambda: read_file(path), write=write)


def read_file(path: str) -> bytes | None:
    """Return what a file holds; None if it does not exist.

    Raises:
        InputError: It cannot be read.
        StoreError: The store does not answer.
    """
    files, inner = filesystem(path)
    try:
        with files.open_input_stream(inner) as stream:
            return bytes(stream.read())
    except FileNotFoundError:
        return None
    except STORE_ERRORS as error:
        raise refused(path, error, "read") from None


def write_file(path: str, data: bytes) -> None:
    """Write a file, which appears whole or not at all, in a folder that is made if need be."""
    files, inner = filesystem(path)
    make_folder(files, posixpath.dirname(inner))
    single_file.write_file(path, data)
