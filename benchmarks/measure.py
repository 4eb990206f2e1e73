"""What the measurements share: one core, medians of repeats, tables to paste into the docs."""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def pin(core: int) -> None:
    """Keep this process, and the libraries it is about to load, on one core."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def timed(run: Callable[[], Result], repeats: int = 3) -> tuple[float, Result]:
    """Return the median of a few runs' wall-clock seconds, and what the last one returned."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


class PeakMemory:
    """The most memory that one of this process's Spark Python workers takes, in bytes."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    self.peak = max(self.peak, _worker_memory(entry))


def _worker_memory(entry: Path) -> int:
    try:
        if b"pyspark.daemon" not in (entry / "cmdline").read_bytes():
            return 0
        fields = dict(
            line.split(":", 1)
            for line in (entry / "status").read_text().splitlines()
            if ":" in line
        )
        return int(fields.get("VmHWM", "0 kB").split()[0]) * 1024
    except (OSError, ValueError):
        return 0


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print(f"| {' | '.join(head)} |")
    print(f"|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(_cell(cell) for cell in row)} |")
    print(flush=True)


def tell(text: str) -> None:
    """Say on stderr how far a measurement is."""
    print(text, file=sys.stderr, flush=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
