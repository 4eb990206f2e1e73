"""What a run has encoded so far, kept where a later run finds it if this one is killed.

A run has a folder ``_staging/<run_id>`` in the table for as long as it is alive: ``run.json`` says
which process it is, and is rewritten every half minute; each task adds a chunk file when it has
encoded its items. The next run with the same model and catalog takes over the chunks of a run that
was killed, and removes what is left of it. What a run that is alive uses is never moved or removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from vaeudf.encoding.chunk_pixels import chunk_pixels
from vaeudf.errors import GateFailed, TooManyFailures, VaeUdfError
from vaeudf.schema import ITEM_ID, LOG_VAR, MESSAGE, MU, REASON, SOURCE_VERSION
from vaeudf.storage.locations import (
    filesystem,
    make_folder,
    remove,
    remove_empty,
    rename_file,
)
from vaeudf.storage.refusals import STORE_ERRORS, refused, remove_or_tell
from vaeudf.table.runs import PIXELS, QUARANTINE, STAGING, began, is_run_id, published_runs

CHUNK_SCHEMA = pa.schema(
    [
        pa.field(ITEM_ID, pa.string(), nullable=False),
        pa.field(SOURCE_VERSION, pa.string(), nullable=False),
        pa.field(MU, pa.list_(pa.float32())),
        pa.field(LOG_VAR, pa.list_(pa.float32())),
        pa.field(REASON, pa.string()),
        pa.field(MESSAGE, pa.string()),
    ]
)
"""The columns of a chunk file: a posterior, or the reason why there is none."""

_RUN_FILE = "run.json"
_ENCODED, _ADOPTED = "encoded", "adopted"
_THREADS = 16
_BEAT_SECONDS = 30.0
# A run on another machine whose run.json is older is taken for dead. Long, because a run that was
# only suspended finds its files gone and must start again.
_SILENT_SECONDS = 3600.0

_own_runs: set[str] = set()


@dataclass(frozen=True)
class Run:
    """The folder of a run that is alive.

    Attributes:
        table: The table.
        run_id: The run.
        key: Says which chunks it can take over: those of runs with the same key.
        keep_pixels: Whether its chunks have their pixels beside them, see
            `vaeudf.encoding.chunk_pixels`.
    """

    table: str
    run_id: str
    key: str
    keep_pixels: bool = False

    @property
    def folder(self) -> str:
        """Where all of it is, until it ends."""
        return posixpath.join(self.table, STAGING, self.run_id)

    @property
    def encoded(self) -> str:
        """Folder of the chunks that this run's tasks write."""
        return posixpath.join(self.folder, _ENCODED)

    @property
    def adopted(self) -> str:
        """Folder of the chunks that were taken over."""
        return posixpath.join(self.folder, _ADOPTED)

    def forget(self) -> None:
        """Remove the run's chunks: they are published."""
        remove(self.encoded)
        remove(self.adopted)
        remove(posixpath.join(self.folder, PIXELS))

    def find_others(self) -> list[str]:
        """Return which other runs write to the table, or did a moment ago, in words."""
        files, inner = filesystem(posixpath.join(self.table, STAGING))
        return [
            f"{run_id} (since {facts.get('started', 'an unknown time')})"
            for run_id, facts in sorted(_runs(files, inner).items())
            if run_id != self.run_id and not _is_dead(run_id, facts)
        ]

    def adopt(self) -> int:
        """Take over what killed runs of the same key have encoded; return how many chunks.

        The chunks of a run that is alive are copied: it may end, and remove them, at any moment.
        """
        files, inner = filesystem(posixpath.join(self.table, STAGING))
        jobs = []
        for run_id, facts in _runs(files, inner).items():
            if run_id == self.run_id or facts.get("key") != self.key:
                continue
            dead = _is_dead(run_id, facts)
            for kind in (_ENCODED, _ADOPTED):
                folder = posixpath.join(inner, run_id, kind)
                jobs += [(path, dead) for path in _names(files, folder) if _is_chunk(path)]
        target = posixpath.join(inner, self.run_id, _ADOPTED)
        if jobs:
            make_folder(files, target)
        if jobs and self.keep_pixels:
            make_folder(files, posixpath.dirname(chunk_pixels(posixpath.join(target, "chunk"))))

        def take(job: tuple[str, bool]) -> bool:
            source, dead = job
            own = posixpath.join(target, new_chunk_name())
            put = partial(rename_file, files) if dead else files.copy_file
            try:
                if self.keep_pixels:
                    put(chunk_pixels(source), chunk_pixels(own))
                put(source, own)
            except OSError:
                # Somebody else took it, or its run has ended.
                return False
            return True

        with ThreadPoolExecutor(_THREADS) as pool:
            return sum(pool.map(take, jobs))


@contextlib.contextmanager
def open_run(table: str, run_id: str, key: str, *, keep_pixels: bool = False) -> Iterator[Run]:
    """Give a run its folder, and keep it marked as alive until the block ends.

    If it ends well, or by an error of ours, the folder is removed. If it ends otherwise, as by a
    cluster that went away, its chunks stay for the next run.

    Raises:
        InputError: The table's folder cannot be written.
        StoreError: Its store does not answer.
    """
    files, inner = filesystem(posixpath.join(table, STAGING, run_id))
    run = Run(table, run_id, key, keep_pixels)
    stop = threading.Event()
    facts = json.dumps(
        {
            "key": key,
            "host": _host(),
            "pid": os.getpid(),
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
    ).encode()

    def beat() -> None:
        make_folder(files, inner)
        with files.open_output_stream(posixpath.join(inner, _RUN_FILE)) as stream:
            stream.write(facts)

    def beat_on() -> None:
        while not stop.wait(_BEAT_SECONDS):
            # A store that does not answer for a while is no reason to end the run.
            with contextlib.suppress(OSError):
                beat()

    _own_runs.add(run_id)
    heart = threading.Thread(target=beat_on, daemon=True)
    keep = False
    try:
        # Within the try: a run that is interrupted here has a folder already.
        try:
            beat()
        except STORE_ERRORS as error:
            raise refused(table, error, "written") from None
        heart.start()
        yield run
    except BaseException as error:
        # After an error of ours the chunks are of no use: the catalog or the model is wrong. But if
        # too many items have failed, the others are good, and all are if a gate is shut.
        good = isinstance(error, (TooManyFailures, GateFailed))
        if good or not isinstance(error, VaeUdfError):
            keep = has_chunks(run.encoded) or has_chunks(run.adopted)
        raise
    finally:
        stop.set()
        if heart.is_alive():
            heart.join()
        if not keep:
            remove_or_tell([posixpath.join(table, STAGING, run_id)])
        remove_empty(posixpath.join(table, STAGING))
        _own_runs.discard(run_id)


def new_chunk_name() -> str:
    """Return a name for a chunk file."""
    return f"chunk-{uuid.uuid4().hex}.parquet"


def write_chunk(batches: Iterable[pa.RecordBatch], folder: str, name: str | None = None) -> None:
    """Write a task's rows to one chunk file, which is there whole or not at all.

    Args:
        batches: Rows of :data:`CHUNK_SCHEMA`; if there are none, no file is written.
        folder: Where to.
        name: From :func:`new_chunk_name`, if it has pixels; they are to be there before.
    """
    gathered = [batch.cast(CHUNK_SCHEMA) for batch in batches if batch.num_rows]
    if not gathered:
        return
    rows = pa.Table.from_batches(gathered)
    files, inner = filesystem(folder)
    make_folder(files, inner)
    name = name or new_chunk_name()
    # Readers of Parquet pass over names that begin with an underscore.
    unfinished = posixpath.join(inner, f"_{name}")
    pq.write_table(rows, unfinished, filesystem=files, compression="zstd")
    rename_file(files, unfinished, posixpath.join(inner, name))


def has_chunks(folder: str) -> bool:
    """Whether there is any chunk in a folder."""
    files, inner = filesystem(folder)
    return any(_is_chunk(path) for path in _names(files, inner))


def clean(table: str) -> list[str]:
    """Remove what killed runs have left in a table's folder; return their run ids.

    That is their staging, and files that they had laid out but not published.
    """
    files, inner = filesystem(table)
    quarantine = posixpath.join(inner, QUARANTINE)
    # Listed first: a run that has laid out files by now has had a staging folder before.
    tops = [*_names(files, inner), *_names(files, posixpath.join(inner, PIXELS))]
    laid_out = set(filter(is_run_id, map(posixpath.basename, tops)))
    asides = (
        posixpath.basename(path).removeprefix("run_id=") for path in _names(files, quarantine)
    )
    kept_aside = set(filter(is_run_id, asides))
    staging = posixpath.join(inner, STAGING)
    runs = _runs(files, staging)
    dead = {run_id for run_id, facts in runs.items() if _is_dead(run_id, facts)}
    living = set(runs) - dead
    candidates = (laid_out | kept_aside | dead) - living
    published = published_runs(table) if candidates else set()
    if published is None:
        return []
    removed = set()
    for run_id in sorted(candidates):
        folders = [posixpath.join(staging, run_id)]
        if run_id not in published:
            folders += [
                posixpath.join(inner, run_id),
                posixpath.join(inner, PIXELS, run_id),
                posixpath.join(quarantine, f"run_id={run_id}"),
            ]
        for folder in folders:
            if files.get_file_info(folder).type == fs.FileType.Directory:
                files.delete_dir(folder)
                removed.add(run_id)
    remove_empty(posixpath.join(table, PIXELS))
    return sorted(removed)


def _runs(files: fs.FileSystem, staging: str) -> dict[str, dict[str, Any]]:
    """Return what run.json says of every run that has a staging folder, and its time."""
    found: dict[str, dict[str, Any]] = {}
    for path in _names(files, staging):
        facts: dict[str, Any] = {}
        run_file = posixpath.join(path, _RUN_FILE)
        try:
            with files.open_input_stream(run_file) as stream:
                facts = json.loads(stream.read())
            info = files.get_file_info(run_file)
        except (OSError, ValueError):
            # It is just beginning, just ending, or was killed in between.
            info = files.get_file_info(path)
        if info.type != fs.FileType.NotFound and is_run_id(posixpath.basename(path)):
            found[posixpath.basename(path)] = {**facts, "heard": info.mtime_ns}
    return found


def _is_dead(run_id: str, facts: dict[str, Any]) -> bool:
    if run_id in _own_runs:
        return False
    pid = facts.get("pid")
    if facts.get("host") == _host() and isinstance(pid, int):
        return pid == os.getpid() or not _is_process(pid)
    heard = facts.get("heard")
    # Object stores know no time of a folder.
    heard_at = began(run_id).timestamp() if heard is None else heard / 1e9
    return bool(time.time() - heard_at > _SILENT_SECONDS)


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _host() -> str:
    """Return what identifies this machine, since it was started, and its container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id") as file:
            parts.append(file.read().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _names(files: fs.FileSystem, folder: str) -> list[str]:
    """Return the paths of what is in a folder, in order; none if there is no folder."""
    selector = fs.FileSelector(folder, allow_not_found=True)
    try:
        return sorted(entry.path for entry in files.get_file_info(selector))
    except NotADirectoryError:  # somebody's file
        return []


def _is_chunk(path: str) -> bool:
    name = posixpath.basename(path)
    return name.startswith("chunk-") and name.endswith(".parquet")
