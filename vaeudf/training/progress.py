"""How far a training is: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from vaeudf.spark.stopwatch import duration

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 60.0


class Progress(Protocol):
    """Counts the steps of a training."""

    def step(self) -> None:
        """Count a step."""

    def end_epoch(self, epoch: int, epochs: int, squared_error: float) -> None:
        """Take what an epoch, counted from 1, has reached on the pictures that are held out."""


class _Lines:
    def __init__(self, done: int, total: int) -> None:
        self._begun_with = self._done = done
        self._total = total
        self._reached = ""
        self._began = self._said = time.monotonic()

    def step(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._said < _SECONDS_BETWEEN_LINES:
            return
        self._said = now
        spent = now - self._began
        left = spent * (self._total - self._done) / (self._done - self._begun_with)
        log.info(
            "training: %d of %d steps after %s, about %s left%s",
            self._done,
            self._total,
            duration(spent),
            duration(left),
            self._reached,
        )

    def end_epoch(self, epoch: int, epochs: int, squared_error: float) -> None:
        self._reached = f"; epoch {epoch} of {epochs} ended with an error of {squared_error:.4f}"


class _Bar:
    def __init__(self, bar: tqdm[Any]) -> None:
        self._bar = bar

    def step(self) -> None:
        self._bar.update()

    def end_epoch(self, epoch: int, epochs: int, squared_error: float) -> None:
        self._bar.set_postfix(epoch=f"{epoch}/{epochs}", error=f"{squared_error:.4f}")


@contextmanager
def training_progress(done: int, total: int, stream: TextIO | None = None) -> Iterator[Progress]:
    """Show how far a training is while the block runs, which counts the steps.

    Args:
        done: Steps that a checkpoint had.
        total: All steps.
        stream: Where to; stderr unless given. If it is not a terminal, a line a minute is logged.
    """
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield _Lines(done, total)
        return
    with tqdm(total=total, initial=done, desc="training", unit="step", file=stream) as bar:
        yield _Bar(bar)
