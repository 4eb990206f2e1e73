"""What a clustering says while it runs."""

from __future__ import annotations

import logging
import time

from vaeudf.clustering.lloyd import Trial
from vaeudf.clustering.matching import Change

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 60.0


def in_words(change: Change) -> str:
    """Return what became of a cluster."""
    return {
        "born": "new",
        "split": f"new, split off cluster {change.other}",
        "died": "no longer there",
        "merged": f"no longer there, merged into cluster {change.other}",
    }[change.kind]


class IterationLog:
    """Logs once a minute how far the iterations are."""

    def __init__(self) -> None:
        self._last_line = time.monotonic()

    def __call__(self, trials: list[Trial]) -> None:
        """Hear of all trials after an iteration."""
        now = time.monotonic()
        if now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        log.info(
            "iteration %d: %d of %d sets of centroids still move",
            max(len(trial.objectives) for trial in trials),
            sum(not (trial.converged or trial.dropped) for trial in trials),
            len(trials),
        )
