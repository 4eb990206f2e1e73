"""What the measurements share: one core, medians of repeats, tables to paste into the docs."""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
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
    """The most memory that one of this process's Spark Python workers, and the JVM, take, in bytes.

    Attributes:
        peak: Of the largest Python worker.
        jvm: Of Spark's own process, which is the driver, and on one machine the executor, too.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.peak = self.jvm = 0
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
            entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
            running = {int(entry.name): _process(entry) for entry in entries}
            known = {number: found for number, found in running.items() if found is not None}
            for number, found in known.items():
                if not _is_below(number, os.getpid(), known):
                    continue
                if found["is_worker"]:
                    self.peak = max(self.peak, found["VmHWM"] * 1024)
                elif found["is_jvm"]:
                    self.jvm = max(self.jvm, found["VmHWM"] * 1024)


def _is_below(number: int, above: int, known: Mapping[int, Mapping[str, int]]) -> bool:
    """Whether a process was started by another, or by one that it had started."""
    while number in known and number != above:
        number = known[number]["PPid"]
    return number == above


def _process(entry: Path) -> dict[str, int] | None:
    """Return a process's parent, memory and kind; None if it has gone."""
    try:
        command = (entry / "cmdline").read_bytes()
        lines = (entry / "status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return {
            "PPid": int(fields["PPid"]),
            "VmHWM": int(fields.get("VmHWM", "0 kB").split()[0]),
            "is_worker": b"pyspark.daemon" in command,
            "is_jvm": b"SparkSubmit" in command,
        }
    except (OSError, ValueError, KeyError):
        return None


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
