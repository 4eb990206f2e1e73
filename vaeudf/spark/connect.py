"""What a client of Spark Connect knows of the cluster behind its server."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from numpy.typing import NDArray
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from vaeudf.errors import InputError
from vaeudf.model.py_files import as_file
from vaeudf.spark.artifacts import send, send_array
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.connectors import no_connector
from vaeudf.spark.counters import Counts, PictureCounts, RowCount
from vaeudf.spark.shared import Shared, SharedArray, Value
from vaeudf.spark.sight import Sight
from vaeudf.spark.tasks import numbered_tasks
from vaeudf.spark.waiting import Waiting, WaitingForServer
from vaeudf.storage.globs import matches
from vaeudf.storage.locations import absolute, is_local, spark_uri

# More than a cluster has cores: each partition of so many numbers has some.
_NUMBERS = 1_000_000
# Executors come and go.
_SECONDS_KNOWN = 60.0
# What a server says of a store that none of its classes opens.
_UNKNOWN_STORE = ("No FileSystem for scheme", "ClassNotFoundException")

_cores: dict[str, tuple[float, int]] = {}
_seen: dict[str, set[str]] = {}
_progress: dict[str, _Progress] = {}
_lock = threading.Lock()


class ConnectCluster(Cluster):
    """The cluster behind a server of Spark Connect."""

    def __init__(self, spark: SparkSession) -> None:
        """Take the session; nothing is asked of it yet."""
        self._spark: Any = spark

    @property
    def num_cores(self) -> int:
        """How many tasks run at a time, as far as Spark knew it a minute ago or later."""
        session, now = self._spark.session_id, time.monotonic()
        known = _cores.get(session)
        if known is None or now - known[0] > _SECONDS_KNOWN:
            # The server's default parallelism, of which there is no other word.
            parts = self._spark.range(_NUMBERS).select(F.spark_partition_id().alias("part"))
            (last,) = parts.agg(F.max("part")).collect()[0]
            known = _cores[session] = (now, int(last) + 1)
        return known[1]

    @property
    def is_local(self) -> bool:
        """False: where the server is, nobody says."""
        return False

    def waiting(self) -> Waiting:
        """Return what knows since when none of the session's tasks runs."""
        return WaitingForServer(self)

    @property
    def application_id(self) -> str:
        """What Spark calls the server's application, or its session where it does not tell."""
        return self.setting("spark.app.id") or str(self._spark.session_id)

    def setting(self, key: str) -> str | None:
        """Return a property of the server's application, or None if it is not set."""
        value = self._spark.conf.get(key, None)
        return None if value is None else str(value)

    def share(self, value: Value) -> Shared[Value]:
        """Send a value to the executors, for tasks to read."""
        return send(self._spark, value)

    def share_array(self, array: NDArray[Any]) -> SharedArray:
        """Send an array to the executors as a file, for tasks to map into memory."""
        return send_array(self._spark, array)

    def counts(self) -> Counts:
        """Return counts that start at 0, and that tasks add to."""
        return Counts(*(RowCount() for _ in range(5)))

    def picture_counts(self) -> PictureCounts:
        """Return counts of pictures that start at 0, and that tasks add to."""
        return PictureCounts(*(RowCount() for _ in range(2)))

    def add_py_files(self, paths: Sequence[str]) -> None:
        """Let the workers import from modules, archives and packages, too."""
        for path in paths:
            with tempfile.TemporaryDirectory(prefix="vaeudf-py-files-") as folder:
                self._spark.addArtifacts(str(as_file(path, Path(folder))), pyfile=True)

    def count_tasks(self) -> tuple[int, int]:
        """Return how many tasks of the stages that run now have ended, and how many they have."""
        return self._heard().count_tasks()

    def count_running_tasks(self) -> int:
        """Return how many tasks of this session run now."""
        return self._heard().count_running_tasks()

    def _heard(self) -> _Progress:
        session = self._spark.session_id
        with _lock:
            if session not in _progress:
                _progress[session] = _Progress()
                self._spark.registerProgressHandler(_progress[session])
            return _progress[session]

    def glob(self, pattern: str, root: str) -> dict[str, bool]:
        """Return what matches a glob, and whether each match is a file."""
        return matches(pattern, root)

    def check_connectors(self, *paths: str) -> None:
        """Refuse paths that Spark itself cannot open, before it has anything to do with them."""
        self.check_seen(*paths)
        for path in paths:
            if is_local(path):
                continue
            uri = spark_uri(path)
            try:
                # The server looks whether it is there, and lists nothing.
                _ = self._spark.read.schema("nothing int").parquet(uri).schema
            except PySparkException as error:
                if any(words in str(error) for words in _UNKNOWN_STORE):
                    raise no_connector(path, uri.partition(":")[0]) from None

    def check_seen(self, *paths: str) -> None:
        """Refuse paths of this machine that the tasks of a server elsewhere do not see."""
        seen = _seen.setdefault(self._spark.session_id, set())
        wanted = sorted({absolute(path) for path in paths if is_local(path)} - seen)
        if not wanted:
            return
        sights = [Sight.of(path) for path in wanted]

        def look(_: int) -> Iterator[pa.RecordBatch]:
            same = [sight.is_same_here() for sight in sights]
            yield pa.RecordBatch.from_pydict({"same": same})

        rows = numbered_tasks(self._spark, 1, look, "same boolean").collect()
        for path, row in zip(wanted, rows, strict=True):
            if not row["same"]:
                raise InputError(
                    f"{path} is a path of this machine, and the tasks of the Spark Connect server "
                    "do not see the same there; expected the URI of a store, such as s3://…, or a "
                    "folder that both have at the same place."
                )
        seen.update(wanted)


class _Operation(NamedTuple):
    """How far an operation is, by numbers of tasks."""

    ended: int
    total: int
    running: int


class _Progress:
    """Hears how far the operations of a session are."""

    def __init__(self) -> None:
        self._operations: dict[str | None, _Operation] = {}
        self._lock = threading.Lock()

    def __call__(
        self,
        stages: Iterable[Any] | None,
        inflight_tasks: int,
        operation_id: str | None,
        done: bool,
    ) -> None:
        stages = list(stages or ())
        begun = [stage.stage_id for stage in stages if stage.done or stage.num_completed_tasks]
        # A stage that a later one has not waited for was skipped, since its output was there. The
        # server reports it up to the operation's end, as one of which no task has run.
        running = [
            stage
            for stage in stages
            if not stage.done
            and (stage.num_completed_tasks or stage.stage_id > max(begun, default=-1))
        ]
        with self._lock:
            if done:
                self._operations.pop(operation_id, None)
            else:
                self._operations[operation_id] = _Operation(
                    sum(stage.num_completed_tasks for stage in running),
                    sum(stage.num_tasks for stage in running),
                    inflight_tasks,
                )

    def count_tasks(self) -> tuple[int, int]:
        operations = self._now()
        return sum(one.ended for one in operations), sum(one.total for one in operations)

    def count_running_tasks(self) -> int:
        return sum(one.running for one in self._now())

    def _now(self) -> list[_Operation]:
        with self._lock:
            return list(self._operations.values())
