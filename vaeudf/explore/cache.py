"""What was made ready of versions, kept in a folder on this machine and mapped into memory.

A folder for each table, in it one for each version, which appears whole or not at all. Two versions
of a table are kept: those who have an older one mapped do not lose it, for its files stay until
they are closed.
"""

from __future__ import annotations

import hashlib
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

from vaeudf.errors import VaeUdfError
from vaeudf.storage.locations import filesystem
from vaeudf.storage.outputs import replacing
from vaeudf.table.open import PosteriorTable

_FORMAT = "4"
_KEPT = 2
_SECONDS_OF_WRITING = 24 * 3600.0
_CHECKSUMS = "checksums.json"
_BYTES_AT_A_TIME = 2**22


class Damaged(VaeUdfError):
    """A kept version is not what was written."""


class VersionCache:
    """The place of one version in a folder of many."""

    def __init__(self, folder: Path, table: PosteriorTable) -> None:
        """Find the place of a version; nothing is written."""
        self._versions = folder / "tables" / _digest(table.uri)[:16]
        self.folder = self._versions / _digest(*_facts(table))[:32]

    def is_there(self) -> bool:
        """Whether the version was kept."""
        return self.folder.is_dir()

    def make(self, write: Callable[[Path], None]) -> None:
        """Keep the version.

        Args:
            write: Writes its files to a folder that is there.

        Raises:
            OSError: The folder cannot be written.
        """
        self._versions.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(str(self.folder)) as staging:
            Path(staging).mkdir(mode=0o700)
            write(Path(staging))
            found = _checksums(Path(staging))
            (Path(staging) / _CHECKSUMS).write_bytes(msgspec.json.encode(found))
        self._forget_older()

    def verify(self) -> None:
        """Read all files of the version, which must be as they were written.

        A version of a million items, 250 MB, takes some 0.15 seconds of a core.

        Raises:
            Damaged: One is not.
            OSError: One cannot be read.
        """
        known = msgspec.json.decode((self.folder / _CHECKSUMS).read_bytes(), type=dict[str, int])
        found = _checksums(self.folder)
        found.pop(_CHECKSUMS, None)
        for name in sorted(known.keys() | found.keys()):
            if known.get(name) != found.get(name):
                raise Damaged(f"{name} is not as it was written")

    def forget(self) -> None:
        """Remove the version, such as one that is damaged."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _forget_older(self) -> None:
        others = [one for one in self._versions.iterdir() if one != self.folder]
        # Hidden ones are being written, unless whoever did so was killed.
        half_made = [one for one in others if one.name.startswith(".")]
        whole = sorted((one for one in others if one not in half_made), key=_modified)
        left = [one for one in half_made if _modified(one) < time.time() - _SECONDS_OF_WRITING]
        for one in left + whole[: max(0, len(whole) - (_KEPT - 1))]:
            shutil.rmtree(one, ignore_errors=True)


def _checksums(folder: Path) -> dict[str, int]:
    """Return the CRC-32 of each file, by its path below the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor() as pool:
        sums = pool.map(_checksum, files)
        return {
            path.relative_to(folder).as_posix(): one for path, one in zip(files, sums, strict=True)
        }


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb", buffering=0) as file:
        while part := file.read(_BYTES_AT_A_TIME):
            found = zlib.crc32(part, found)
    return found


def _modified(folder: Path) -> float:
    # Another process may remove it.
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


def _facts(table: PosteriorTable) -> Iterator[str]:
    """Yield what tells a version from all others, and from another of files of the same names."""
    # Not its number: a commit that changes no row, such as a note, makes a version like the last.
    yield f"{_FORMAT} {table.latent_dim}"
    snapshot = table.snapshot
    for uri in table.files:
        yield uri
        if uri in snapshot.deleted:
            yield _digest(*map(str, snapshot.deleted[uri].tolist()))
    if snapshot.columns is not None:
        # A table's files never change, and their names are never used again.
        yield f"{snapshot.columns.schema.to_string(show_field_metadata=False)}"
        yield repr(sorted(snapshot.columns.names.items()))
        return
    for uri in table.files:
        files, inner = filesystem(uri)
        info = files.get_file_info(inner)
        yield f"{info.size} {info.mtime_ns}"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
