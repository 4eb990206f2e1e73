"""An application that YARN has not started: what is said, without a YARN."""

from __future__ import annotations

import pytest
from py4j.protocol import Py4JError

from vaeudf.spark import waiting
from vaeudf.spark.yarn import Report, WaitingForYarn

FULL = "Application is added to the scheduler. Queue's AM resource limit exceeded"


class Application:
    """Stands in for one on YARN.

    Attributes:
        answer: What YARN says, or an error that it does not answer.
    """

    def __init__(self) -> None:
        self.answer: Report | Py4JError | None = None

    def report(self) -> Report | None:
        if isinstance(self.answer, Py4JError):
            raise self.answer
        return self.answer


class Clock:
    """Time as the test says it is."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(waiting, "time", found)
    return found


def report(state: str, diagnostics: str = "") -> Report:
    return Report("application_7_0001", state, "night", None, diagnostics)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            report("ACCEPTED", FULL),
            f"YARN has not started application_7_0001 after 30 s: it is ACCEPTED in the queue "
            f"night ({FULL}). Look at yarn application -status application_7_0001.",
        ),
        (
            report("SUBMITTED"),
            "YARN has not started application_7_0001 after 30 s: it is SUBMITTED in the queue "
            "night. Look at yarn application -status application_7_0001.",
        ),
        (None, "YARN does not know of this application after 30 s."),
        (
            Py4JError("Connection refused"),
            "YARN's ResourceManager has not answered for 30 s (Connection refused). Is it the one "
            "that HADOOP_CONF_DIR names?",
        ),
        (report("RUNNING"), None),
        (report("FINISHED"), None),
    ],
)
def test_what_is_said(clock, answer, expected):
    application = Application()
    application.answer = answer
    waits = WaitingForYarn(application)
    heard = {}
    for second in range(120):
        clock.now = second
        heard[second] = waits.look()
    said = {second: text for second, text in heard.items() if text is not None}
    if expected is None:
        assert said == {}
    else:
        assert said == {30: expected, 90: expected.replace("30 s", "1 min 30 s")}
