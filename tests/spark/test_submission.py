"""A driver that is sent to YARN, as far as it goes without one."""

from __future__ import annotations

import pytest
from py4j.protocol import Py4JError

from vaeudf.errors import DriverInterrupted, InputError
from vaeudf.spark.submission import end, run_on_yarn


def test_a_driver_of_another_user_is_refused(monkeypatch):
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master yarn --proxy-user ann pyspark-shell")
    with pytest.raises(InputError, match=r"^PYSPARK_SUBMIT_ARGS has --proxy-user; a driver on YA"):
        run_on_yarn("maintain_table", str)


class Application:
    """Stands in for one on YARN, and for Spark's handle of it.

    Attributes:
        killed: How often each has been ended.
    """

    tag = "vaeudf-7"

    def __init__(self, name: str | None, answer: BaseException | None = None) -> None:
        self.name = name
        self.killed = {"on YARN": 0, "here": 0}
        self._answer = answer

    def kill(self) -> None:
        if self._answer is not None:
            raise self._answer
        self.killed["on YARN"] += 1


class Handle:
    """Stands in for Spark's own, which cannot always end it either."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def kill(self) -> None:
        self._application.killed["here"] += 1
        raise Py4JError("the JVM is gone")


LOST = "interrupted, but YARN's ResourceManager has not been reached"


@pytest.mark.parametrize(
    ("application", "expected"),
    [
        (
            Application("application_7_1"),
            "interrupted; YARN ends application_7_1. Its driver is killed there, and may leave "
            "unfinished files beside what it was to write.",
        ),
        (Application(None), "interrupted before YARN knew of the application."),
        (
            Application("application_7_1", Py4JError("Connection refused")),
            f"{LOST} (Connection refused): application_7_1 may still run. Once it answers, yarn "
            "application -kill application_7_1 ends it.",
        ),
        (
            Application(None, KeyboardInterrupt()),
            f"{LOST}: the application may still run. Once it answers, yarn application -list "
            "-appTags vaeudf-7 finds it, and yarn application -kill ID ends it.",
        ),
    ],
)
def test_what_becomes_of_it_after_ctrl_c(application, expected):
    assert end(application, Handle(application)) == expected
    assert application.killed["here"] == 1
    assert application.killed["on YARN"] == ("not been reached" not in expected)


def test_ctrl_c_has_its_exit_code():
    assert DriverInterrupted.exit_code == 130
