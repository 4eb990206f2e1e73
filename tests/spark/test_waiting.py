"""What a job says that waits for executors."""

from __future__ import annotations

import io
import itertools
import threading
import time
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from tests.support.connect_server import SERVER
from vaeudf.spark import progress as progress_module
from vaeudf.spark import waiting as module
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.connect import ConnectCluster
from vaeudf.spark.progress import progress
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.spark.tasks import numbered_tasks


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
    waiting = Cluster.of(session).waiting()
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
    waiting = Cluster.of(Session("yarn")).waiting()
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
    waiting = Cluster.of(session).waiting()
    for _ in range(200):
        assert waiting.look(tasks) is None
        clock.now += 1


def test_it_begins_anew_when_all_executors_are_lost(clock):
    session = Session("yarn")
    waiting = Cluster.of(session).waiting()
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


class Server:
    """Stands in for a session of Spark Connect, and what its server reports.

    Attributes:
        settings: The application's properties.
    """

    numbers = itertools.count()

    def __init__(self, **settings: str) -> None:
        self.session_id = f"session-{next(self.numbers)}"
        self.settings = {key.replace("_", "."): value for key, value in settings.items()}
        self.settings["spark.app.id"] = "app-7"
        self.conf = self.settings
        self.cluster = ConnectCluster(self)
        assert self.cluster.count_tasks() == (0, 0)

    def registerProgressHandler(self, handler) -> None:
        self.handler = handler

    def report(self, *stages: tuple[int, int, bool], running: int, of: str = "a") -> None:
        """Report (tasks ended, tasks, whether all is done) of stages, in their order."""
        told = [
            SimpleNamespace(stage_id=place, num_completed_tasks=ended, num_tasks=total, done=done)
            for place, (ended, total, done) in enumerate(stages)
        ]
        self.handler(stages=told, inflight_tasks=running, operation_id=of, done=False)

    def end(self, of: str = "a") -> None:
        self.handler(stages=[], inflight_tasks=0, operation_id=of, done=True)


def said_at(server: Server, clock: Clock) -> str:
    server.report((0, 4, False), running=0)
    waiting = server.cluster.waiting()
    assert waiting.look(4) is None
    clock.now += 30
    return str(waiting.look(4))


def test_a_server_on_yarn(clock):
    server = Server(spark_master="yarn", spark_executor_cores="4", spark_driver_host="host")
    assert said_at(server, clock) == (
        "no task has run for 30 s: the server of Spark Connect has no executor of "
        "spark.executor.cores 4, or those there are busy with other sessions' tasks. Look at "
        "Spark's own page of app-7 (http://host:4040/executors/, or the next port that was free), "
        "yarn application -status app-7, yarn logs -applicationId app-7."
    )


def test_a_server_that_does_not_tell_its_master(clock):
    assert said_at(Server(), clock) == (
        "no task has run for 30 s: the server of Spark Connect has no executor, or those there are "
        "busy with other sessions' tasks. Look at Spark's own page of app-7."
    )


def test_a_server_after_30_seconds_and_then_each_minute(clock):
    server = Server(spark_master="local[2]", spark_ui_port="4099", spark_driver_host="host")
    waiting, heard = server.cluster.waiting(), {}
    server.report((0, 4, False), running=0)
    for second in range(120):
        if second == 20:
            server.report((1, 4, False), running=1)
        if second == 40:
            server.report((2, 4, False), running=0)
        if (text := waiting.look(4)) is not None:
            heard[second] = text
        clock.now += 1
    assert list(heard) == [70]
    assert heard[70].endswith("(http://host:4099/executors/, or the next port that was free).")
    server.end()
    assert server.cluster.count_running_tasks() == 0
    assert waiting.look(0) is None


def test_other_operations_of_a_session(clock):
    """While tasks of one run, those of another are not waiting for executors."""
    server = Server()
    waiting = server.cluster.waiting()
    server.report((0, 4, False), running=0)
    server.report((0, 2, False), running=2, of="b")
    assert server.cluster.count_tasks() == (0, 6)
    for _ in range(100):
        assert waiting.look(6) is None
        clock.now += 1
    server.end(of="b")
    assert (server.cluster.count_tasks(), server.cluster.count_running_tasks()) == ((0, 4), 0)


def test_stages_that_a_server_has_skipped_do_not_wait():
    """What a shuffle has left is reported as a stage of no tasks, up to the operation's end."""
    server = Server()
    server.report((4, 4, True), (0, 4, False), (1, 3, False), running=2)
    assert server.cluster.count_tasks() == (1, 3)
    # All is computed, and the client takes its time over the rows.
    server.report((4, 4, True), (0, 4, False), (3, 3, True), running=0)
    assert server.cluster.count_tasks() == (0, 0)


@pytest.mark.spark
def test_a_job_says_it_at_a_server(spark, pytestconfig, monkeypatch, caplog):
    url = pytestconfig.stash.get(SERVER, None)
    if url is None:
        pytest.skip("there is a server with --connect")
    monkeypatch.setattr(module, "_SECONDS_UNTIL_SAID", 1.0)
    other = SparkSession.builder.remote(url).create()

    def work(task):
        yield pa.RecordBatch.from_pydict({"x": [task]})

    def hold(task):
        time.sleep(6)
        yield from work(task)

    # These tasks take both of the server's cores.
    held = threading.Thread(target=numbered_tasks(other, 2, hold, "x long").collect)
    held.start()
    time.sleep(1)
    watch = Stopwatch()
    with progress(spark, watch, io.StringIO()), watch.phase("search"):
        assert len(numbered_tasks(spark, 3, work, "x long").collect()) == 3
    held.join()
    other.stop()
    (line,) = caplog.messages
    assert line.startswith("search: no task has run for ")
    assert "Spark's own page of local-" in line and "http://127.0.0.1:4040/executors/" in line
