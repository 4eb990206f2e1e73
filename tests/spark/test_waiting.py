"""What a job says that waits for executors."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace

import pytest

from vaeudf.spark import progress as progress_module
from vaeudf.spark import waiting as module
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.progress import progress
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.spark.waiting import Waiting


class Session:
    """Stands in for a session on a cluster: PySpark's context, and the JVM's.

    Attributes:
        executors: How many there are.
        target: How many dynamic allocation wants; None where it is off.
        settings: The application's properties.
    """

    def __init__(self, master: str, page: str | None = "http://driver:4040", **settings: str):
        self.executors = 0
        self.target: int | None = None
        self.settings = {key.replace("_", "."): value for key, value in settings.items()}
        self.sparkContext = SimpleNamespace(
            master=master,
            uiWebUrl=page,
            applicationId="app-7",
            getConf=lambda: self.settings,
            statusTracker=lambda: self,
        )
        self._jsc = SimpleNamespace(sc=lambda: self)

    def statusTracker(self) -> Session:
        return self

    def getExecutorInfos(self) -> list[str]:
        return ["the driver"] + ["an executor"] * self.executors

    def executorAllocationManager(self) -> SimpleNamespace:
        targets = SimpleNamespace(apply={0: self.target}.__getitem__)
        manager = SimpleNamespace(numExecutorsTargetPerResourceProfileId=lambda: targets)
        return SimpleNamespace(isDefined=lambda: self.target is not None, get=lambda: manager)

    def getActiveStageIds(self) -> list[int]:
        return [0]

    def getStageInfo(self, stage: int) -> SimpleNamespace:
        return SimpleNamespace(numCompletedTasks=0, numTasks=4)


class Clock:
    """Time as the test says it is."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


def said(session: Session, clock: Clock, seconds: float = 30) -> str:
    waiting = Waiting(Cluster.of(session))
    assert waiting.look(4) is None
    clock.now += seconds
    text = waiting.look(4)
    assert text is not None
    return text


def test_yarn(clock):
    session = Session("yarn", spark_executor_cores="4", spark_executor_memory="4g")
    session.settings["spark.executor.pyspark.memory"] = "12g"
    session.target = 1200
    assert said(session, clock) == (
        "no executor after 30 s: asked for 1,200, 0 there, each of spark.executor.cores 4, "
        "spark.executor.memory 4g, spark.executor.pyspark.memory 12g. Look at "
        "http://driver:4040/executors/, yarn application -status app-7, yarn logs -applicationId "
        "app-7."
    )


def test_kubernetes(clock):
    session = Session("k8s://https://host:6443", None, spark_executor_instances="3")
    assert said(session, clock) == (
        "no executor after 30 s: asked for 3, 0 there. Look at the events of the pods (kubectl "
        "describe pods --namespace default --selector spark-app-selector=app-7)."
    )
    session.settings["spark.kubernetes.namespace"] = "night"
    assert "--namespace night" in said(session, clock)


def test_standalone(clock):
    session = Session("spark://host:7077", spark_executor_cores="16")
    assert said(session, clock) == (
        "no executor after 30 s: asked for as many as there is room for, 0 there, "
        "each of spark.executor.cores 16. Look at http://driver:4040/executors/, the page of the "
        "master spark://host:7077: whether its workers are alive, and have that much free."
    )


def test_how_many_are_asked_for():
    for master, expected in {"spark://host:7077": None, "yarn": 2, "k8s://host": 2}.items():
        session = Session(master)
        assert Cluster.of(session).executors_asked_for == expected
        session.settings["spark.executor.instances"] = "5"
        assert Cluster.of(session).executors_asked_for == 5
        session.target = 0
        assert Cluster.of(session).executors_asked_for == 0


def test_after_30_seconds_and_then_each_minute(clock):
    waiting = Waiting(Cluster.of(Session("yarn")))
    heard = {}
    for second in range(200):
        if (text := waiting.look(4)) is not None:
            heard[second] = text.partition(":")[0]
        clock.now += 1
    assert heard == {
        30: "no executor after 30 s",
        90: "no executor after 1 min 30 s",
        150: "no executor after 2 min 30 s",
    }


@pytest.mark.parametrize(
    ("master", "tasks", "executors"), [("yarn", 0, 0), ("yarn", 4, 1), ("local[4]", 4, 0)]
)
def test_nobody_waits(clock, master, tasks, executors):
    """Where there are no tasks, or an executor, or the driver does the work."""
    session = Session(master)
    session.executors = executors
    waiting = Waiting(Cluster.of(session))
    for _ in range(200):
        assert waiting.look(tasks) is None
        clock.now += 1


def test_it_begins_anew_when_all_executors_are_lost(clock):
    session = Session("yarn")
    waiting = Waiting(Cluster.of(session))
    assert waiting.look(4) is None
    clock.now += 29
    session.executors = 1
    assert waiting.look(4) is None
    session.executors = 0
    clock.now += 29
    assert waiting.look(4) is None
    clock.now += 29
    assert waiting.look(4) is None
    clock.now += 1
    assert str(waiting.look(4)).startswith("no executor after 30 s")
    assert waiting.look(0) is None
    clock.now += 100
    assert waiting.look(4) is None


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_job_says_it(monkeypatch, caplog, is_terminal):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(module, "_SECONDS_UNTIL_SAID", 0.05)
    terminal, watch = io.StringIO(), Stopwatch()
    terminal.isatty = lambda: is_terminal
    with progress(Session("yarn"), watch, terminal), watch.phase("search"):
        deadline = time.monotonic() + 10
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
    (line,) = caplog.messages
    assert line.startswith("search: no executor after 0 s: asked for 2, 0 there. Look at http://")
    assert ("0/4" in terminal.getvalue()) == is_terminal
