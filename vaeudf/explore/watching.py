"""Picks up a table's new version, in the background.

Requests that are being answered keep the version that they began with, and it is let go with the
last of them.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from vaeudf.errors import root_cause
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.table.open import open_table

log = logging.getLogger(__name__)

SECONDS = 20.0
"""Between two looks for a new version."""


class Watcher:
    """Has the newest version of a table that could be loaded.

    Plain Parquet has no versions, and is as it was when it was loaded.

    Attributes:
        failure: Why the last look for a newer version failed; None if it did not.
    """

    def __init__(self, first: LoadedTable, *, cache: Path | None, seconds: float = SECONDS) -> None:
        """Start with a version that is loaded already; :meth:`start` then looks for others."""
        self.failure: str | None = None
        self._current = first
        self._cache = cache
        self._seconds = seconds
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
        """Look for a newer version now, and load it."""
        old = self._current
        if old.version is None:
            return
        try:
            newest = open_table(old.table.uri)
            if newest.version != old.version:
                self._current = LoadedTable.load(newest, cache=self._cache)
                log.info("version %s is loaded: %d items.", newest.version, newest.num_items)
            self.failure = None
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
