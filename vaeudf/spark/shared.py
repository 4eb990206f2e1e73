"""Values that the driver sends to the executors once, for all tasks that need them."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyspark import Broadcast, SparkFiles

Value = TypeVar("Value")


class Shared(Generic[Value]):
    """A value that tasks read; it is sent to each executor once.

    Made by :meth:`vaeudf.spark.cluster.Cluster.share`.
    """

    def __init__(self, broadcast: Broadcast[Value]) -> None:
        """Wrap what Spark has broadcast."""
        self._broadcast = broadcast

    @property
    def value(self) -> Value:
        """The value, on the driver or within a task."""
        return self._broadcast.value

    def free(self) -> None:
        """Drop the value everywhere. No task that reads it may be started afterwards."""
        self._broadcast.destroy()


class SharedArray:
    """An array that tasks map into memory: of a large one they hold only what they look at.

    Made by :meth:`vaeudf.spark.cluster.Cluster.share_array`. Each executor fetches it once, as a
    file, and keeps it until the session ends.
    """

    def __init__(self, file_name: str) -> None:
        """Take the name that Spark knows its file by."""
        self._file_name = file_name

    def open(self) -> NDArray[Any]:
        """Return the array, which cannot be written to, on the driver or within a task."""
        mapped: NDArray[Any] = np.load(SparkFiles.get(self._file_name), mmap_mode="r")
        return mapped
