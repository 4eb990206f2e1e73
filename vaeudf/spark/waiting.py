"""A job whose tasks wait for executors: what was asked for, what is there, and where to look."""

from __future__ import annotations

import time

from vaeudf.spark.cluster import Executors
from vaeudf.spark.stopwatch import duration

# Starting an executor on a free node takes some 10 s; unpacking an environment there, 20 s more.
_SECONDS_UNTIL_SAID = 30.0
_SECONDS_BETWEEN = 60.0
_SIZES = (
    "spark.executor.cores",
    "spark.executor.memory",
    "spark.executor.pyspark.memory",
    "spark.executor.memoryOverhead",
)


class Overdue:
    """Since when somebody waits, and when that is to be said: after 30 s, and then each minute."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._since: float | None = None
        self._due = 0.0

    def end(self) -> None:
        """Nobody waits any more."""
        self._since = None

    def seconds(self) -> float | None:
        """Return how long somebody has waited if that is to be said now. Asking begins the wait."""
        now = time.monotonic()
        if self._since is None:
            self._since, self._due = now, now + _SECONDS_UNTIL_SAID
        if now < self._due:
            return None
        self._due = now + _SECONDS_BETWEEN
        return now - self._since


class Waiting:
    """Knows since when tasks wait while there is no executor."""

    def __init__(self, cluster: Executors) -> None:
        """Take the cluster; nothing is asked of it yet."""
        self._cluster = cluster
        self._overdue = Overdue()

    def look(self, num_tasks: int) -> str | None:
        """Return what is to be said now, if anything: after 30 s, and then each minute.

        Args:
            num_tasks: How many tasks the stages have that run now.
        """
        # The driver of a local master runs the tasks; and without tasks nobody waits.
        if num_tasks == 0 or self._cluster.is_local or self._cluster.count_executors() > 0:
            self._overdue.end()
            return None
        seconds = self._overdue.seconds()
        return None if seconds is None else self._text(seconds)

    def _text(self, seconds: float) -> str:
        asked = self._cluster.executors_asked_for
        number = "as many as there is room for" if asked is None else f"{asked:,}"
        sizes = [(key, self._cluster.setting(key)) for key in _SIZES]
        size = ", ".join(f"{key} {value}" for key, value in sizes if value is not None)
        return (
            f"no executor after {duration(seconds)}: asked for {number}, 0 there"
            f"{f', each of {size}' if size else ''}. Look at {self._where()}."
        )

    def _where(self) -> str:
        cluster = self._cluster
        page = cluster.page
        places = [] if page is None else [f"{page}/executors/"]
        if cluster.master.startswith("yarn"):
            name = cluster.application_id
            places += [f"yarn application -status {name}", f"yarn logs -applicationId {name}"]
        elif cluster.master.startswith("k8s"):
            space = cluster.setting("spark.kubernetes.namespace") or "default"
            pods = f"--namespace {space} --selector spark-app-selector={cluster.application_id}"
            places.append(f"the events of the pods (kubectl describe pods {pods})")
        else:
            places.append(
                f"the page of the master {cluster.master}: whether its workers are alive, and have "
                "that much free"
            )
        return ", ".join(places)
