"""What somebody sees who waits."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace

import pytest
from tqdm import tqdm

from vaeudf.spark import progress as module
from vaeudf.spark.progress import progress
from vaeudf.spark.stopwatch import Stopwatch, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Session:
    """Stands in for a session of which stages go on: (tasks ended, tasks) of each, look by look."""

    def __init__(self, *looks: list[tuple[int, int]]) -> None:
        self.looks = list(looks)
        self.sparkContext = SimpleNamespace(master="local[2]", statusTracker=lambda: self)

    def getActiveStageIds(self) -> list[int]:
        self.now = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return list(range(len(self.now)))

    def getStageInfo(self, stage: int) -> SimpleNamespace | None:
        done, total = self.now[stage]
        if total < 0:
            return None
        return SimpleNamespace(numCompletedTasks=done, numTasks=total)


def wait_for_the_last_look(session: Session) -> None:
    deadline = time.time() + 10
    while len(session.looks) > 1 and time.time() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)


@pytest.fixture(autouse=True)
def looks_are_frequent(monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LOOKS", 0.01)


def test_a_bar_on_a_terminal():
    terminal, watch = Terminal(), Stopwatch()
    session = Session([], [(0, 30)], [(10, 30), (-1, -1)], [(3, 8)], [])
    with progress(session, watch, terminal), watch.phase("encode"):
        wait_for_the_last_look(session)
    shown = terminal.getvalue()
    assert "encode:" in shown and "10/30" in shown and "3/8" in shown and "tasks" in shown
    # And nothing of it stays.
    assert shown.split("\r")[-1].strip() == ""


def test_a_bar_lasts_as_long_as_its_tasks(monkeypatch):
    made = []

    def counted(*arguments, **others):
        made.append(others["total"])
        return tqdm(*arguments, **others)

    monkeypatch.setattr(module, "tqdm", counted)
    terminal, watch = Terminal(), Stopwatch()
    session = Session(*([(done, 30)] for done in (0, 5, 10, 15)), [(0, 8)], [(4, 8)])
    with progress(session, watch, terminal), watch.phase("encode"):
        wait_for_the_last_look(session)
    # A new one would not know the pace.
    assert made == [30, 8]


def test_a_line_a_minute_in_a_log(monkeypatch, caplog):
    caplog.set_level("INFO")
    watch = Stopwatch()
    with progress(Session([(1, 4)]), watch, io.StringIO()), watch.phase("encode"):
        time.sleep(0.2)
    assert caplog.messages == []
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0.05)
    session = Session([(0, 4)], *([[(1, 4)]] * 30))
    with progress(session, watch, io.StringIO()), watch.phase("encode"):
        wait_for_the_last_look(session)
    assert 2 <= len(caplog.messages) <= 20
    assert caplog.messages[-1].startswith("encode: 1 of 4 tasks after ")
    assert caplog.messages[-1].endswith(" left")
    # Where nothing runs there is nothing to tell.
    caplog.clear()
    session = Session(*([[]] * 30))
    with progress(session, watch, io.StringIO()), watch.phase("encode"):
        wait_for_the_last_look(session)
    assert caplog.messages == []


def test_nothing_is_told_outside_of_phases_or_of_a_session_that_is_gone():
    terminal = Terminal()
    with progress(Session([(1, 4)]), Stopwatch(), terminal):
        time.sleep(0.1)
    assert terminal.getvalue() == ""
    gone = SimpleNamespace(getActiveStageIds=lambda: 1 / 0)
    session = SimpleNamespace(sparkContext=SimpleNamespace(statusTracker=lambda: gone))
    watch = Stopwatch()
    with progress(session, watch, terminal), watch.phase("x"):
        time.sleep(0.1)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3599, "59 min 59 s"), (7320, "2 h 2 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_phase_now():
    watch = Stopwatch()
    assert watch.phase_now is None
    with watch.phase("a"):
        assert watch.phase_now == "a"
    assert watch.phase_now is None and set(watch.seconds) == {"a"}


def test_a_spark_that_says_nothing_of_its_executors(monkeypatch, caplog):
    """Told once; how far the tasks are is shown as ever."""

    def look(self, num_tasks):
        raise TypeError("no such method")

    monkeypatch.setattr("vaeudf.spark.waiting.Waiting.look", look)
    terminal, watch = Terminal(), Stopwatch()
    session = Session(*([[(1, 4)]] * 5), [(3, 4)])
    with progress(session, watch, terminal), watch.phase("encode"):
        wait_for_the_last_look(session)
    assert caplog.messages == [
        "encode: it is not known whether executors are there (no such method)."
    ]
    assert "3/4" in terminal.getvalue()
