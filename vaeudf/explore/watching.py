"""Picks up a table's new version, in the background.

One that cannot be loaded is tried again after pauses that grow; another version is tried at once.

Requests that are being answered keep the version that they began with, and it is let go with the
last of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vaeudf.errors import root_cause
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.table.open import PosteriorTable, open_table

log = logging.getLogger(__name__)

SECONDS = 20.0
"""Between two looks for a new version."""
MOST_SECONDS = 600.0
"""Between two tries to load the same version: each pause is twice the last one, up to this."""


class Watcher:
    """Has the newest version of a table that could be loaded.

    Plain Parquet has no versions, and is as it was when it was loaded.

    Attributes:
        failure: Why the last look for a newer version failed; None if it did not.
    """

    def __init__(
        self,
        first: LoadedTable,
        *,
        cache: Path | None,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with a version that is loaded already; :meth:`start` then looks for others.

        Args:
            first: The version.
            cache: Where loaded versions are kept.
            seconds: Between two looks.
            clock: Tells seconds, from any beginning.
        """
        self.failure: str | None = None
        self._current = first
        self._cache = cache
        self._seconds, self._clock = seconds, clock
        self._failed: int | None = None
        self._why_failed = ""
        self._pause, self._again = seconds, 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch-table", daemon=True)

    def current(self) -> LoadedTable:
        """Return the newest version."""
        return self._current

    def start(self) -> None:
        """Look for newer versions from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(self._seconds):
            self.look()

    def look(self) -> None:
        """Look for a newer version now, and load it, unless it has just failed to be."""
        old = self._current
        if old.version is None:
            return
        try:
            newest = open_table(old.table.uri)
            if newest.version != old.version:
                if newest.version == self._failed and self._clock() < self._again:
                    self.failure = self._why_failed
                    return
                self._current = self._loaded(newest)
                log.info("version %s is loaded: %d items.", newest.version, newest.num_items)
            self._failed, self.failure = None, None
        except Exception as error:
            # Whatever it is, the old version goes on to be served.
            reason = root_cause(error)
            if self.failure != reason:
                log.warning(
                    "a newer version of %s cannot be loaded (%s); version %s is served on.",
                    old.table.uri,
                    reason.rstrip("."),
                    old.version,
                )
            self.failure = reason

    def _loaded(self, newest: PosteriorTable) -> LoadedTable:
        try:
            return LoadedTable.load(newest, cache=self._cache)
        except Exception as error:
            self._why_failed = root_cause(error)
            # Reading all of a large version every few seconds would be for nothing.
            again = newest.version == self._failed
            self._pause = min(2 * self._pause, MOST_SECONDS) if again else self._seconds
            self._failed, self._again = newest.version, self._clock() + self._pause
            raise
