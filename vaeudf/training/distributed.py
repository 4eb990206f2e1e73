"""Train one model in several processes, on the driver or on executors."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pickle
import posixpath
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from vaeudf.errors import DeviceError, InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.devices import Device
from vaeudf.spark.cluster import Cluster
from vaeudf.storage import locations
from vaeudf.storage.locations import remove
from vaeudf.storage.refusals import remove_or_tell
from vaeudf.training.checkpoints import folder_checkpoints, read_file, write_file
from vaeudf.training.loop import Trained, train
from vaeudf.training.plan import TrainingPlan
from vaeudf.training.processes import joined_processes

log = logging.getLogger(__name__)

PIXELS, OUTCOME = "pixels.npy", "outcome.pickle"


def whole_gpus(spark: SparkSession, device: Device) -> bool:
    """Whether each process of a training gets a GPU, which TorchDistributor takes from Spark.

    Raises:
        DeviceError: GPUs were asked for, and Spark assigns none to a task, or a part of one.
    """
    if device == "cpu":
        return False
    cluster = Cluster.of(spark)
    key = f"spark.{'driver' if cluster.is_local else 'task'}.resource.gpu.amount"
    amount = cluster.setting(key) or "not set"
    if amount.isdecimal() and int(amount) >= 1:
        return True
    if device == "cuda":
        raise DeviceError(
            f"--device cuda with several processes, but {key} is {amount}; expected a whole "
            "number, 1 or more: TorchDistributor gives processes the GPUs that Spark deals out."
        )
    if torch.cuda.is_available():
        log.info("The processes train on CPUs: %s is %s, not 1 or more.", key, amount)
    return False


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
    """Train as :func:`vaeudf.training.loop.train` does, in several processes that share each batch.

    With a local master they run beside the driver; else as Spark tasks, one each, all at once.

    Args:
        spark: The session.
        pixels: Pictures, shape (N, H, W, C).
        spec: Their shape and scaling.
        plan: How to train.
        folder: Where checkpoints are kept meanwhile, and on a cluster the pictures and the model,
            too; all processes must see it.
        num_processes: How many processes.
        on_gpus: Whether each has a GPU.

    Raises:
        InputError: As for ``train``.
    """
    Cluster.of(spark).check_seen(folder)
    local = Cluster.of(spark).is_local
    with _exchange(folder, is_local=local) as exchange:
        stream = io.BytesIO()
        np.save(stream, pixels)
        write_file(posixpath.join(exchange, PIXELS), stream.getvalue())
        distributor = TorchDistributor(num_processes, local_mode=local, use_gpu=on_gpus)
        # What the processes print must not mix with the job's one line of output.
        with contextlib.redirect_stdout(sys.stderr), _threads(num_processes if local else 1):
            distributor.run(_train_share, exchange, folder, spec, plan, on_gpus=on_gpus)
        outcome = read_file(posixpath.join(exchange, OUTCOME))
    if outcome is None:
        raise RuntimeError(
            f"the training processes ended and left no model in {exchange}: is it a folder that "
            "all machines share?"
        )
    found: Trained | InputError = pickle.loads(outcome)
    if isinstance(found, InputError):
        raise found
    return found


@contextlib.contextmanager
def _exchange(folder: str, *, is_local: bool) -> Iterator[str]:
    """Give a folder for what the processes get and give; at the end nothing of it is left.

    Where they all are on this machine it is there, too: no store can lose the model.
    """
    if is_local and not locations.is_local(folder):
        with tempfile.TemporaryDirectory(prefix="vaeudf-training-") as temporary:
            yield temporary
        return
    files = [posixpath.join(folder, name) for name in (PIXELS, OUTCOME)]
    remove(files[1])
    try:
        yield folder
    finally:
        remove_or_tell(files)


@contextlib.contextmanager
def _threads(num_processes: int) -> Iterator[None]:
    """Share the machine's cores among the processes.

    By default torchrun gives each one core, and warns about it.
    """
    name = "OMP_NUM_THREADS"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(max(1, (os.cpu_count() or 1) // num_processes))
    try:
        yield
    finally:
        del os.environ[name]


def _train_share(
    exchange: str, folder: str, spec: ImageSpec, plan: TrainingPlan, *, on_gpus: bool
) -> None:
    """Train as one of the processes; the first writes the model, or the error, to the exchange.

    Nothing is returned: with a local master, TorchDistributor has all processes write what they
    return to the same file, and returns what the last of them wrote.
    """
    content = read_file(posixpath.join(exchange, PIXELS))
    if content is None:
        raise InputError(
            f"{exchange} cannot be read where a process trains; name a folder that all "
            "machines of the cluster share with --checkpoints."
        )
    pixels = np.load(io.BytesIO(content))
    del content  # as large as the pixels
    outcome: Trained | InputError
    with joined_processes(on_gpus=on_gpus) as (processes, device):
        try:
            outcome = train(
                pixels,
                spec,
                plan,
                checkpoints=folder_checkpoints(folder),
                processes=processes,
                device=device,
            )
        except InputError as error:  # the same in all processes
            outcome = error
        if processes.is_first:
            write_file(posixpath.join(exchange, OUTCOME), pickle.dumps(outcome))
