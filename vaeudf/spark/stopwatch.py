"""Seconds by phase, for a job's summary."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Measures named phases of a run.

    Attributes:
        seconds: Wall-clock seconds by phase, in the order they began.
        phase_now: The innermost phase that is running, if any.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.phase_now: str | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the ``with`` block to a phase."""
        self.seconds.setdefault(name, 0.0)
        start = time.perf_counter()
        outer, self.phase_now = self.phase_now, name
        try:
            yield
        finally:
            self.phase_now = outer
            self.seconds[name] = round(self.seconds[name] + time.perf_counter() - start, 3)


def duration(seconds: float) -> str:
    """Return a time as somebody says it, such as ``2 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
