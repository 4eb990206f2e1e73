"""A model in a Spark worker: the bytes that it is sent, and the network that it builds from them.

The model's folder needs to be readable by the driver only. A Python worker builds a network once
and keeps it for as long as Spark reuses the worker.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

from pyspark import TaskContext
from pyspark.sql import SparkSession

from vaeudf.model.bundle import Bundle, NetworkFiles
from vaeudf.model.devices import Hardware
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.shared import Shared

Half = Literal["encoder", "decoder"]
_Network = TypeVar("_Network")
_Key = tuple[str, Hardware, str | None]

_kept: dict[Half, tuple[_Key, Any]] = {}


class Model(NamedTuple):
    """What a task needs to encode or to decode.

    Attributes:
        half: Which half of the model this is.
        files: To rebuild it from.
        model_id: Of the bundle.
        hardware: What to run it on.
    """

    half: Half
    files: Shared[NetworkFiles]
    model_id: str
    hardware: Hardware

    @classmethod
    def on_executors(
        cls, spark: SparkSession, bundle: Bundle, half: Half, hardware: Hardware
    ) -> Model:
        """Send half of a bundle to the executors.

        Raises:
            InputError: There is no such hardware.
        """
        hardware.check()
        files = bundle.encoder_files if half == "encoder" else bundle.decoder_files
        return cls(half, Cluster.of(spark).share(files), bundle.model_id, hardware)

    def kept(
        self,
        load: Callable[[NetworkFiles, Hardware, str | None, int], _Network],
        context: TaskContext | None,
    ) -> _Network:
        """Return the network that this worker keeps, building it if it is not there yet.

        Args:
            load: Builds it from the files, on the hardware, at the address of the GPU that Spark
                has given the task, for the partition of this number.
            context: Of the task; None outside of one.
        """
        address, task = gpu_of(context)
        key = (self.model_id, self.hardware, address)
        if self.half not in _kept or _kept[self.half][0] != key:
            _kept.pop(self.half, None)  # before the next is loaded: memory for one of them
            _kept[self.half] = key, load(self.files.value, self.hardware, address, task)
            # PySpark's worker collects garbage after each task, which takes long with all the
            # objects that torch and pandas have made, unless these are set aside.
            gc.freeze()
        network: _Network = _kept[self.half][1]
        return network


def gpu_of(context: TaskContext | None) -> tuple[str | None, int]:
    """Return the GPU that Spark has given a task, if any, and the number of its partition."""
    if context is None:
        return None, 0
    gpus = context.resources().get("gpu")
    return None if gpus is None else gpus.addresses[0], context.partitionId()


def threads_of(context: TaskContext | None) -> int:
    """Return the cores that the scheduler gave a task; more threads would fight its neighbours."""
    return context.cpus() if context is not None else 1
