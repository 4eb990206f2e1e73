"""Values that the driver sends to the executors once, for all tasks that need them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value")


class Shared(ABC, Generic[Value]):
    """A value that tasks read; it is sent to each executor once.

    Made by :meth:`vaeudf.spark.cluster.Cluster.share`.
    """

    @property
    @abstractmethod
    def value(self) -> Value:
        """The value, on the driver or within a task."""

    @abstractmethod
    def free(self) -> None:
        """Drop the value. No task that reads it may be started afterwards."""


class SharedArray:
    """An array that tasks map into memory: of a large one they hold only what they look at.

    Made by :meth:`vaeudf.spark.cluster.Cluster.share_array`. Each executor fetches it once, as a
    file, and keeps it until the session ends.
    """

    def __init__(self, file_name: str) -> None:
        """Take the name that Spark knows its file by."""
        self._file_name = file_name

    def open(self) -> NDArray[Any]:
        """Return the array, which cannot be written to, within a task."""
        mapped: NDArray[Any] = np.load(path_in_task(self._file_name), mmap_mode="r")
        return mapped


def path_in_task(file_name: str) -> str:
    """Return where a file is, within a task, that Spark was given for all tasks."""
    # A client of Spark Connect alone, which runs no tasks, does not have it.
    from pyspark import SparkFiles

    return str(SparkFiles.get(file_name))
