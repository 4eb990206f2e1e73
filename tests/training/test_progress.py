"""How far a training is said to be, on a terminal and in a log."""

from __future__ import annotations

import io
import logging
import re

import pytest

from vaeudf.training import progress
from vaeudf.training.progress import training_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_a_minute(clock, caplog):
    stream = io.StringIO()
    with caplog.at_level(logging.INFO), training_progress(40, 100, stream) as shown:
        for step in range(60):
            clock[0] += 25
            shown.step()
            if step == 9:
                shown.end_epoch(5, 10, 0.01684)
    lines = [record.getMessage() for record in caplog.records]
    # The third step is the first after a minute; what a checkpoint had took no time here.
    assert lines[0] == "training: 43 of 100 steps after 1 min 15 s, about 23 min 45 s left"
    assert len(lines) == 20 and lines[-1].startswith("training: 100 of 100 steps after 25 min 0 s")
    said = "about 20 min 0 s left; epoch 5 of 10 ended with an error of 0.0168"
    assert lines[3].endswith(said)
    assert stream.getvalue() == ""


def test_a_training_of_seconds_says_nothing(clock, caplog):
    with caplog.at_level(logging.INFO), training_progress(0, 3, io.StringIO()) as shown:
        for _ in range(3):
            clock[0] += 19
            shown.step()
        shown.end_epoch(1, 1, 0.5)
    assert not caplog.records


def test_a_bar_on_a_terminal(caplog):
    stream = Terminal()
    with caplog.at_level(logging.INFO), training_progress(2, 6, stream) as shown:
        for _ in range(4):
            shown.step()
        shown.end_epoch(3, 3, 0.25)
    last = stream.getvalue().split("\r")[-1]
    assert re.search(r"training: 100%.* 6/6 .*epoch=3/3, error=0\.2500", last)
    assert not caplog.records
