"""Copies of a store's files on this machine, known by the sha256 of what is in them."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SECONDS_UNUSED = 30 * 24 * 3600.0


def cache_folder() -> Path:
    """Return where vaeudf keeps on this machine what it could make or fetch again."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "vaeudf"


class KeptFiles:
    """A folder of copies, each under the sha256 of its content.

    Several processes may use it at once: a copy appears whole, and is never changed. What nobody
    has used for 30 days is removed.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is made when there is something to keep."""
        self._folder = folder

    def get(self, digest: str, fetch: Callable[[], bytes]) -> bytes:
        """Return the content with this sha256, from its copy or else from the store.

        Args:
            digest: As hexadecimal digits.
            fetch: Reads it from the store.

        Returns:
            The copy, if it has the sha256; otherwise what ``fetch`` gives, which has it or not, and
            is kept if it does.
        """
        # It may come from a file that somebody else has written, and must not name another place.
        if not _SHA256.fullmatch(digest):
            return fetch()
        copy = self._folder / digest
        content = _read(copy)
        if content is not None and hashlib.sha256(content).hexdigest() == digest:
            with suppress(OSError):
                os.utime(copy)  # it is in use
            return content
        if content is not None:
            log.warning("%s is damaged; it is fetched again.", copy)
        content = fetch()
        if hashlib.sha256(content).hexdigest() == digest:
            self._keep(copy, content)
        return content

    def _keep(self, copy: Path, content: bytes) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Beside the copy, so that it takes its place in one step.
            number, part = tempfile.mkstemp(prefix=".", dir=self._folder)
            try:
                with open(number, "wb") as file:
                    file.write(content)
                os.replace(part, copy)
            except BaseException:
                with suppress(OSError):
                    os.remove(part)
                raise
        except OSError as error:
            log.warning("no copy could be kept in %s: %s.", self._folder, error.strerror)
            return
        self._forget_unused()

    def _forget_unused(self) -> None:
        before = time.time() - _SECONDS_UNUSED
        # Another process may remove some, too.
        with suppress(OSError):
            for path in list(self._folder.iterdir()):
                with suppress(OSError):
                    if path.stat().st_mtime < before:
                        path.unlink()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
