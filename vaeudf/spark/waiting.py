"""A job whose tasks wait: for what, as far as Spark says it, and where to look."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Protocol

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


class Application(Protocol):
    """What is known of a Spark application, wherever its driver runs."""

    @property
    def application_id(self) -> str:
        """What Spark calls it."""

    def setting(self, key: str) -> str | None:
        """Return a property of it, or None if it is not set."""


class Executors(Application, Protocol):
    """What is known of executors where Spark runs in this process."""

    @property
    def is_local(self) -> bool:
        """Whether there are none, because the driver runs the tasks."""

    @property
    def master(self) -> str:
        """The master's URL, such as ``yarn`` or ``spark://host:7077``."""

    @property
    def page(self) -> str | None:
        """The address of Spark's own page about this application, or None if there is none."""

    @property
    def executors_asked_for(self) -> int | None:
        """How many executors Spark wants now, or None if it takes what a standalone cluster has."""

    def count_executors(self) -> int:
        """Return how many executors there are now, beside the driver."""


class Server(Application, Protocol):
    """What a client of Spark Connect is told by its server."""

    def count_running_tasks(self) -> int:
        """Return how many tasks of this session run now."""


class Waiting(ABC):
    """Knows since when tasks wait."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._overdue = Overdue()

    def look(self, num_tasks: int) -> str | None:
        """Return what is to be said now, if anything: after 30 s, and then each minute.

        Args:
            num_tasks: How many tasks the stages have that run now.
        """
        # Without tasks nobody waits.
        if num_tasks == 0 or self._is_worked_on():
            self._overdue.end()
            return None
        seconds = self._overdue.seconds()
        return None if seconds is None else self._text(seconds)

    @abstractmethod
    def _is_worked_on(self) -> bool:
        """Return whether tasks can run."""

    @abstractmethod
    def _text(self, seconds: float) -> str:
        """Return what is to be said after so many seconds."""


class WaitingForExecutors(Waiting):
    """Knows since when tasks wait while there is no executor, where Spark runs in this process."""

    def __init__(self, executors: Executors) -> None:
        """Take what knows them; nothing is asked of it yet."""
        super().__init__()
        self._executors = executors

    def _is_worked_on(self) -> bool:
        # The driver of a local master runs the tasks.
        return self._executors.is_local or self._executors.count_executors() > 0

    def _text(self, seconds: float) -> str:
        executors = self._executors
        asked = executors.executors_asked_for
        number = "as many as there is room for" if asked is None else f"{asked:,}"
        size = _size(executors)
        page = executors.page
        places = [] if page is None else [f"{page}/executors/"]
        places += _places(executors.master, executors)
        return (
            f"no executor after {duration(seconds)}: asked for {number}, 0 there"
            f"{f', each of {size}' if size else ''}. Look at {', '.join(places)}."
        )


class WaitingForServer(Waiting):
    """Knows since when no task of a session runs, at a server of Spark Connect.

    The server says which tasks run, and nothing of executors.
    """

    def __init__(self, server: Server) -> None:
        """Take the server; nothing is asked of it yet."""
        super().__init__()
        self._server = server

    def _is_worked_on(self) -> bool:
        return self._server.count_running_tasks() > 0

    def _text(self, seconds: float) -> str:
        server = self._server
        size = _size(server)
        places = [f"Spark's own page of {server.application_id}"]
        if (host := server.setting("spark.driver.host")) is not None:
            port = server.setting("spark.ui.port") or "4040"
            places[0] += f" (http://{host}:{port}/executors/, or the next port that was free)"
        if (master := server.setting("spark.master")) is not None:
            places += _places(master, server)
        return (
            f"no task has run for {duration(seconds)}: the server of Spark Connect has no executor"
            f"{f' of {size}' if size else ''}, or those there are busy with other sessions' tasks. "
            f"Look at {', '.join(places)}."
        )


def _size(application: Application) -> str:
    """Return what is said of an executor's size."""
    sizes = [(key, application.setting(key)) for key in _SIZES]
    return ", ".join(f"{key} {value}" for key, value in sizes if value is not None)


def _places(master: str, application: Application) -> list[str]:
    """Return where the cluster itself says why there is no executor."""
    name = application.application_id
    if master.startswith("local"):
        return []
    if master.startswith("yarn"):
        return [f"yarn application -status {name}", f"yarn logs -applicationId {name}"]
    if master.startswith("k8s"):
        space = application.setting("spark.kubernetes.namespace") or "default"
        pods = f"--namespace {space} --selector spark-app-selector={name}"
        return [f"the events of the pods (kubectl describe pods {pods})"]
    return [
        f"the page of the master {master}: whether its workers are alive, and have that much free"
    ]
