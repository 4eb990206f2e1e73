"""What is asked of the cluster behind a session, besides DataFrames.

Spark runs in this process (:mod:`vaeudf.spark.classic`), or at a server that Spark Connect speaks
with (:mod:`vaeudf.spark.connect`), where there is neither a context nor a JVM to ask. Which of the
two a session is, is decided here and nowhere else.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from vaeudf.spark.counters import Counts, PictureCounts
from vaeudf.spark.shared import Shared, SharedArray, Value
from vaeudf.spark.waiting import Waiting


def is_connect(spark: SparkSession) -> bool:
    """Whether a session is one of Spark Connect."""
    # Not imported for the question: it needs packages that Spark in this process does not.
    module = sys.modules.get("pyspark.sql.connect.session")
    return module is not None and isinstance(spark, module.SparkSession)


def current_session() -> SparkSession:
    """Return the session of this process; without one, one of Spark in this process is started."""
    # Of Spark Connect, a builder gives the session that is there only if it is told the server.
    return SparkSession.active() if is_remote() else SparkSession.builder.getOrCreate()


class Cluster(ABC):
    """The cluster that a session's tasks run on."""

    @staticmethod
    def of(spark: SparkSession) -> Cluster:
        """Return the cluster of a session; nothing is asked of it yet."""
        if is_connect(spark):
            from vaeudf.spark.connect import ConnectCluster

            return ConnectCluster(spark)
        from vaeudf.spark.classic import ClassicCluster

        return ClassicCluster(spark)

    @property
    @abstractmethod
    def num_cores(self) -> int:
        """How many tasks run at a time, as far as Spark knows it now."""

    @property
    @abstractmethod
    def is_local(self) -> bool:
        """Whether the tasks run on the driver's machine, in this application alone."""

    @abstractmethod
    def waiting(self) -> Waiting:
        """Return what knows since when tasks wait, and says for what."""

    @property
    @abstractmethod
    def application_id(self) -> str:
        """What Spark calls the application that the tasks belong to."""

    @abstractmethod
    def setting(self, key: str) -> str | None:
        """Return a property of the application, or None if it is not set."""

    @abstractmethod
    def share(self, value: Value) -> Shared[Value]:
        """Send a value to the executors, for tasks to read."""

    @abstractmethod
    def share_array(self, array: NDArray[Any]) -> SharedArray:
        """Send an array to the executors as a file, for tasks to map into memory."""

    @abstractmethod
    def counts(self) -> Counts:
        """Return counts that start at 0, and that tasks add to."""

    @abstractmethod
    def picture_counts(self) -> PictureCounts:
        """Return counts of pictures that start at 0, and that tasks add to."""

    @abstractmethod
    def add_py_files(self, paths: Sequence[str]) -> None:
        """Let the workers import from modules, archives and packages, too."""

    @abstractmethod
    def count_tasks(self) -> tuple[int, int]:
        """Return how many tasks of the stages that run now have ended, and how many they have."""

    @abstractmethod
    def glob(self, pattern: str, root: str) -> dict[str, bool]:
        """Return what matches a glob of Hadoop's, and whether each match is a file.

        Args:
            pattern: A path.
            root: A folder above all matches.

        Returns:
            By the path below the root, which begins with a slash.

        Raises:
            OSError: The file system cannot be listed.
        """

    @abstractmethod
    def check_connectors(self, *paths: str) -> None:
        """Refuse paths that Spark itself cannot open, before it has anything to do with them.

        Args:
            paths: What it is to read or write.

        Raises:
            InputError: Spark has no connector for the store of one, or its tasks do not see one.
        """

    @abstractmethod
    def check_seen(self, *paths: str) -> None:
        """Refuse paths of this machine that the tasks of a server elsewhere do not see.

        Without a server every machine of a cluster is taken to see what the driver does.

        Args:
            paths: What tasks are to read or write, there or not.

        Raises:
            InputError: The tasks do not see one.
        """
