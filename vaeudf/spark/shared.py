"""Values that the driver sends to the executors once, for all tasks that need them."""

from __future__ import annotations

from typing import Generic, TypeVar

from pyspark import Broadcast

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
