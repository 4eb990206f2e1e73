"""The progress of a Spark job: a bar on a terminal, or a line a minute in a log."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from pyspark.sql import SparkSession
from tqdm import tqdm

from vaeudf.errors import root_cause
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.stopwatch import Stopwatch, duration
from vaeudf.spark.waiting import Waiting

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_BETWEEN_LINES = 60.0


@contextmanager
def progress(spark: SparkSession, watch: Stopwatch, stream: TextIO | None = None) -> Iterator[None]:
    """Show how far Spark's tasks are while the block runs, or for what they wait.

    Args:
        spark: The session.
        watch: Knows the phase that the job is in.
        stream: Where to; stderr unless given. If it is not a terminal, a line a minute is logged.
    """
    stream = sys.stderr if stream is None else stream
    display = _Bar(stream) if stream.isatty() else _Lines()
    cluster = Cluster.of(spark)
    waiting: Waiting | None = cluster.waiting()
    stop = threading.Event()

    def look() -> None:
        nonlocal waiting
        while not stop.wait(_SECONDS_BETWEEN_LOOKS):
            try:
                done, total = cluster.count_tasks()
            except Exception:  # the session is ending, or has ended: there is nothing to show
                return
            complaint = None
            try:
                if waiting is not None:
                    complaint = waiting.look(total)
            except Exception as error:
                # It asks what Spark has for itself, which may be otherwise in another Spark.
                complaint = f"it is not known whether executors are there ({root_cause(error)})."
                waiting = None
            phase = watch.phase_now
            if complaint is not None:
                display.close()  # it goes on after the line
                log.warning("%s%s", "" if phase is None else f"{phase}: ", complaint)
            if phase is not None:
                display.show(phase, done, total)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        display.close()


class _Bar:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: tqdm[Any] | None = None

    def show(self, phase: str, done: int, total: int) -> None:
        bar = self._bar
        # One bar for as long as the same tasks run: it estimates the time that is left.
        if bar is not None and ((bar.desc, bar.total) != (phase, total) or done < bar.n):
            self.close()
        if total == 0:
            return
        if self._bar is None:
            self._bar = tqdm(
                total=total, desc=phase, unit=" tasks", file=self._stream, leave=False, initial=done
            )
        self._bar.update(done - self._bar.n)
        self._bar.refresh()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Lines:
    def __init__(self) -> None:
        self._stage: tuple[str, int] | None = None
        self._began = self._shown = time.monotonic()

    def show(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if (phase, total) != self._stage:
            self._stage, self._began = (phase, total), now
        if total == 0 or now - self._shown < _SECONDS_BETWEEN_LINES:
            return
        self._shown = now
        spent = now - self._began
        left = f", about {duration(spent * (total - done) / done)} left" if done else ""
        log.info("%s: %d of %d tasks after %s%s", phase, done, total, duration(spent), left)

    def close(self) -> None:
        pass
