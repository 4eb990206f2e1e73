"""Train one model in several processes, on the driver or on executors."""

from __future__ import annotations

import contextlib
import io
import posixpath
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from vaeudf.errors import InputError
from vaeudf.image_spec import ImageSpec
from vaeudf.storage import filesystem, make_folder, remove
from vaeudf.training import Checkpoints, Trained, TrainingPlan, joined_processes, train

CHECKPOINT, PIXELS = "checkpoint.pt", "pixels.npy"


def folder_checkpoints(folder: str) -> Checkpoints:
    """Keep a training's checkpoint in a folder, which is made when there is something to keep."""
    path = posixpath.join(folder, CHECKPOINT)

    def read() -> bytes | None:
        files, inner = filesystem(path)
        try:
            with files.open_input_stream(inner) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    return Checkpoints(read, lambda data: _write(path, data))


def train_together(
    spark: SparkSession,
    pixels: NDArray[np.uint8],
    spec: ImageSpec,
    plan: TrainingPlan,
    *,
    folder: str,
    num_processes: int,
    on_gpus: bool = False,
) -> Trained:
    """Train as :func:`vaeudf.training.train` does, in several processes that share each batch.

    With a local master they run beside the driver; else in tasks of Spark, one each, all at once.

    Args:
        spark: The session.
        pixels: Pictures, shape (N, H, W, C).
        spec: What they are.
        plan: How to train.
        folder: Where the pictures and checkpoints are kept meanwhile; all processes must see it.
        num_processes: How many.
        on_gpus: Whether each has a GPU.

    Raises:
        InputError: As for ``train``.
    """
    place = posixpath.join(folder, PIXELS)
    stream = io.BytesIO()
    np.save(stream, pixels)
    _write(place, stream.getvalue())
    local = str(spark.sparkContext.master).startswith("local")
    distributor = TorchDistributor(num_processes, local_mode=local, use_gpu=on_gpus)
    try:
        # What the processes print would mix with the job's one line.
        with contextlib.redirect_stdout(sys.stderr):
            found = distributor.run(_train_share, folder, spec.to_dict(), vars(plan), on_gpus)
    finally:
        remove(place)
    if isinstance(found, InputError):
        raise found
    if not isinstance(found, Trained):
        raise RuntimeError(f"the training processes returned {found!r}, and no model.")
    return found


def _train_share(
    folder: str, spec: dict[str, Any], plan: dict[str, Any], on_gpus: bool
) -> Trained | InputError | None:
    """Be one of the processes; the first returns the model, or what is wrong with what is asked."""
    files, inner = filesystem(posixpath.join(folder, PIXELS))
    try:
        with files.open_input_file(inner) as stream:
            pixels = np.load(io.BytesIO(stream.read()))
    except FileNotFoundError:
        raise InputError(
            f"{folder} is not to be seen from where a process trains; name a folder that all "
            "machines of the cluster share with --checkpoints."
        ) from None
    with joined_processes(on_gpus) as (processes, device):
        try:
            trained = train(
                pixels,
                ImageSpec.from_dict(spec),
                TrainingPlan(**plan),
                checkpoints=folder_checkpoints(folder),
                processes=processes,
                device=device,
            )
        except InputError as error:  # which all of them meet alike
            return error if processes.rank == 0 else None
        return trained if processes.rank == 0 else None


def _write(path: str, data: bytes) -> None:
    """Write a file, which is there whole or not at all."""
    files, inner = filesystem(path)
    make_folder(files, posixpath.dirname(inner))
    with files.open_output_stream(f"{inner}.new") as stream:
        stream.write(data)
    files.move(f"{inner}.new", inner)
