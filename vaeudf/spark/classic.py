"""What a session that runs Spark in this process knows of its cluster, by its context and the JVM.

Nothing else touches these: over Spark Connect there is neither.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from py4j.protocol import Py4JJavaError
from pyspark import Broadcast
from pyspark.sql import SparkSession

from vaeudf.errors import root_cause
from vaeudf.model.py_files import as_file
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.connectors import check_jvm
from vaeudf.spark.counters import Counts, PictureCounts
from vaeudf.spark.shared import Shared, SharedArray, Value
from vaeudf.spark.waiting import Waiting, WaitingForExecutors
from vaeudf.storage.locations import spark_uri

# How many executors Spark asks YARN and Kubernetes for if nobody says.
_EXECUTORS = 2


class ClassicCluster(Cluster):
    """The cluster of a session whose driver is this process."""

    def __init__(self, spark: SparkSession) -> None:
        """Take the session; nothing is asked of it yet."""
        self._spark = spark

    @property
    def num_cores(self) -> int:
        """How many tasks run at a time, as far as Spark knows it now."""
        return int(self._spark.sparkContext.defaultParallelism)

    @property
    def is_local(self) -> bool:
        """Whether the tasks run on the driver's machine, in this application alone."""
        return self.master.startswith("local")

    def waiting(self) -> Waiting:
        """Return what knows since when tasks wait for executors."""
        return WaitingForExecutors(self)

    @property
    def master(self) -> str:
        """The master's URL, such as ``yarn`` or ``spark://host:7077``."""
        return str(self._spark.sparkContext.master)

    @property
    def page(self) -> str | None:
        """The address of Spark's own page about this application, or None if there is none."""
        address = self._spark.sparkContext.uiWebUrl
        return None if address is None else str(address)

    @property
    def application_id(self) -> str:
        """What Spark calls this application."""
        return str(self._spark.sparkContext.applicationId)

    def setting(self, key: str) -> str | None:
        """Return a property of the application, or None if it is not set."""
        value = self._spark.sparkContext.getConf().get(key)
        return None if value is None else str(value)

    def share(self, value: Value) -> Shared[Value]:
        """Send a value to the executors, for tasks to read."""
        return _BroadcastValue(self._spark.sparkContext.broadcast(value))

    def share_array(self, array: NDArray[Any]) -> SharedArray:
        """Send an array to the executors as a file, for tasks to map into memory."""
        # Spark sends a file when an executor asks for it, up to the end of the session.
        folder = tempfile.mkdtemp(prefix="vaeudf-arrays-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder) / f"{uuid.uuid4().hex}.npy"
        np.save(path, array)
        self._spark.sparkContext.addFile(str(path))
        return SharedArray(path.name)

    def counts(self) -> Counts:
        """Return counts that start at 0, and that tasks add to."""
        return Counts(*(self._spark.sparkContext.accumulator(0) for _ in range(5)))

    def picture_counts(self) -> PictureCounts:
        """Return counts of pictures that start at 0, and that tasks add to."""
        return PictureCounts(*(self._spark.sparkContext.accumulator(0) for _ in range(2)))

    def add_py_files(self, paths: Sequence[str]) -> None:
        """Let the workers import from modules, archives and packages, too."""
        if not paths:
            return
        # Spark sends a file when an executor asks for it, up to the end of the session.
        folder = tempfile.mkdtemp(prefix="vaeudf-py-files-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for path in paths:
            self._spark.sparkContext.addPyFile(str(as_file(path, Path(folder))))

    def count_tasks(self) -> tuple[int, int]:
        """Return how many tasks of the stages that run now have ended, and how many they have."""
        tracker = self._spark.sparkContext.statusTracker()
        infos = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        known = [info for info in infos if info is not None]
        return sum(i.numCompletedTasks for i in known), sum(i.numTasks for i in known)

    def count_executors(self) -> int:
        """Return how many executors there are now, beside the driver."""
        infos = self._context_of_jvm().statusTracker().getExecutorInfos()
        return len(infos) - 1  # the driver is among them

    @property
    def executors_asked_for(self) -> int | None:
        """How many executors Spark wants now, or None if it takes what a standalone cluster has."""
        manager = self._context_of_jvm().executorAllocationManager()
        if manager.isDefined():
            # Of all tasks here, which are of Spark's default profile.
            return int(manager.get().numExecutorsTargetPerResourceProfileId().apply(0))
        fixed = self.setting("spark.executor.instances")
        if fixed is None and not self.master.startswith("spark://"):
            return _EXECUTORS
        return None if fixed is None else int(fixed)

    def _context_of_jvm(self) -> Any:
        # PySpark's own says nothing of executors.
        return self._spark._jsc.sc()

    def glob(self, pattern: str, root: str) -> dict[str, bool]:
        """Return what matches a glob of Hadoop's, and whether each match is a file."""
        try:
            path, files = self._in_hadoop(spark_uri(pattern))
            statuses = files.globStatus(path) or ()
            found = {str(one.getPath().toString()): bool(one.isFile()) for one in statuses}
            # Hadoop's paths are without "..", and name the machine that a path leaves out.
            folder, files = self._in_hadoop(spark_uri(root))
            start = len(str(files.makeQualified(folder).toString()).rstrip("/"))
        except Py4JJavaError as error:
            raise OSError(root_cause(error)) from None
        return {match[start:]: is_file for match, is_file in found.items()}

    def check_connectors(self, *paths: str) -> None:
        """Refuse paths that Spark itself cannot open, before it has anything to do with them."""
        configuration = self._spark._jsc.hadoopConfiguration()
        check_jvm(self._spark._jvm, configuration, paths)

    def check_seen(self, *paths: str) -> None:
        """Check nothing."""

    def _in_hadoop(self, uri: str) -> tuple[Any, Any]:
        """Return a path as Hadoop has it, and its file system."""
        # Through the gateway to the JVM: PySpark has no interface to these.
        jvm: Any = self._spark._jvm
        path = jvm.org.apache.hadoop.fs.Path(uri)
        return path, path.getFileSystem(self._spark._jsc.hadoopConfiguration())


class _BroadcastValue(Shared[Value]):
    def __init__(self, broadcast: Broadcast[Value]) -> None:
        self._broadcast = broadcast

    @property
    def value(self) -> Value:
        return self._broadcast.value

    def free(self) -> None:
        self._broadcast.destroy()
