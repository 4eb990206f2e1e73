"""Picks up a table's new version, in the background."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from vaeudf.errors import VaeUdfError
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.table.delta import latest_version
from vaeudf.table.open import open_posteriors

log = logging.getLogger(__name__)

SECONDS = 20.0
"""Between two looks for a new version."""


class Watcher:
    """Has a table's newest version that could be loaded.

    Attributes:
        failure: Why a newer version could not be loaded; None if there is none.
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
            self._look()

    def _look(self) -> None:
        table = self._current.table
        if table.version is None:
            return
        try:
            if latest_version(table.uri) == table.version:
                return
            self._current = LoadedTable.load(open_posteriors(table.uri), cache=self._cache)
            self.failure = None
        except VaeUdfError as error:
            if self.failure != str(error):
                log.warning("%s", error)
            self.failure = str(error)
