"""Folders that jobs write: what may be replaced, and replacing it in one step."""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from pyarrow import fs

from vaeudf.errors import InputError
from vaeudf.storage.locations import (
    absolute,
    exists,
    filesystem,
    has_folders,
    is_empty_folder,
    is_whole_store,
    remove,
)
from vaeudf.storage.places import overlap
from vaeudf.storage.refusals import STORE_ERRORS, check_writable, refused

# Files that tell what a folder is to the job that may replace it. Spark and Parquet readers pass
# over names that begin with an underscore.
RESULTS_MARK = "_vaeudf_results"
SHARES_MARK = "_vaeudf_shares"
CATALOG_MARK = "_vaeudf_catalog"
PAGE_MARK = "_vaeudf_page"
CLUSTERS_MARK = "_vaeudf_clusters"
PICTURES_MARK = "_vaeudf_pictures"
HEALTH_MARK = "_vaeudf_health"
COPIES_MARK = "_vaeudf_copies"
EXPORT_MARK = "_vaeudf_export"

# Files copied at a time; a store answers each after some 50 ms.
_THREADS = 16


def check_output(path: str, overwrite: bool, marker: str, inputs: Sequence[str] = ()) -> None:
    """Refuse to write where something is that must stay.

    Args:
        path: A folder to be written.
        overwrite: Whether an older one may be replaced.
        marker: A file that every folder of this kind has: nothing else is ever replaced.
        inputs: What the job reads, or writes too; neither above nor below the folder.

    Raises:
        InputError: The folder may not be written, or cannot be.
        StoreError: Its store does not answer.
    """
    for other in inputs:
        if overlap(path, other):
            raise InputError(
                f"{path} and {other} are one, or one is inside the other, and this job uses both; "
                "name another folder."
            )
    if is_whole_store(path):
        raise InputError(f"{path} is a whole store; name a folder in it.")
    try:
        _check_what_is_there(path, overwrite, marker)
    except STORE_ERRORS as error:
        raise refused(path, error, "read") from None
    check_writable(path)


def _check_what_is_there(path: str, overwrite: bool, marker: str) -> None:
    if not exists(path) or is_empty_folder(path):
        return
    if not overwrite:
        raise InputError(
            f"{path} exists already; name another folder, or replace it with --overwrite."
        )
    if not exists(posixpath.join(absolute(path), marker)):
        raise InputError(
            f"{path} is not the output of such a job (it has no {marker}), so --overwrite does "
            "not replace it; name another folder."
        )


def mark(folder: str, marker: str) -> None:
    """Put an empty file into a folder, which says what the folder is."""
    files, inner = filesystem(folder)
    with files.open_output_stream(posixpath.join(inner, marker)):
        pass


@contextmanager
def replacing(path: str, marker: str | None = None, *, last: str | None = None) -> Iterator[str]:
    """Give a folder to write to; it takes the place of ``path`` when the block ends well.

    Until then an older ``path`` stays as it was, and after an error it is there as before. In an
    object store, where folders cannot be renamed, files take their places one by one.

    Args:
        path: What to replace.
        marker: A file to put into the folder.
        last: Of the folder's files the one without which nobody takes it for whole; by default the
            marker. In an object store it is the last that comes, and the first that goes.
    """
    with _replacing([_Place(path, marker, last)]) as (staging,):
        yield staging


@contextmanager
def replacing_all(
    markers: Mapping[str, str | None], removing: Sequence[str] = ()
) -> Iterator[list[str]]:
    """Do as :func:`replacing` for folders that belong together.

    None takes its place before all are written, and after an error all older ones are there as
    before. Only a process that is killed between two renames leaves old beside new.

    Args:
        markers: What to replace, each with a file to put into it.
        removing: Older folders that go at the same time, if they are there.
    """
    new = [_Place(path, marker) for path, marker in markers.items()]
    with _replacing(new, [_Place(path) for path in removing]) as staging:
        yield staging


@contextmanager
def _replacing(new: list[_Place], going: Sequence[_Place] = ()) -> Iterator[list[str]]:
    places = [*new, *going]
    try:
        yield [place.staging for place in new]
        for place in new:
            if place.marker is not None:
                mark(place.staging, place.marker)
        with ExitStack() as undo:
            for place in places:
                undo.callback(place.restore)
                place.clear()
            for place in new:
                place.fill()
            undo.pop_all()
    finally:
        for place in new:
            remove(place.staging)
    for place in places:
        remove(place.aside)


class _Place:
    """Where a folder is, and where its successor and the folder itself wait beside it."""

    def __init__(self, path: str, marker: str | None = None, last: str | None = None) -> None:
        self.path = path
        self.marker = marker
        self._last = last or marker
        location = absolute(path).rstrip("/")
        name = posixpath.basename(location)
        # posixpath's split() would take slashes from the root of hdfs:///.
        parent = location[: len(location) - len(name)]
        # Spark and Parquet readers pass over names that begin with a dot.
        self.staging = f"{parent}.{name}-{uuid.uuid4().hex}"
        self.aside = f"{self.staging}-old"
        self._filled = self._is_aside = False

    def clear(self) -> None:
        # Moved aside and not removed: that can fail half-way.
        if exists(self.path):
            _move(self.path, self.aside, self._last, self._stands_aside)

    def _stands_aside(self) -> None:
        self._is_aside = True

    def fill(self) -> None:
        _move(self.staging, self.path, self._last)
        self._filled = True

    def restore(self) -> None:
        files, inner = filesystem(self.aside)
        # In an object store what is there may be a part, of a copy that has failed.
        older = self._is_aside or (
            has_folders(files) and files.get_file_info(inner).type != fs.FileType.NotFound
        )
        if older or self._filled:
            remove(self.path)
        if older:
            _move(self.aside, self.path, self._last)


def _move(
    source: str, target: str, last: str | None, arrived: Callable[[], None] = lambda: None
) -> None:
    """Move a folder; in an object store it is whole at its old place until it is at the new one.

    Args:
        source: The folder.
        target: Where to, where nothing is.
        last: The file that is copied last, and removed first.
        arrived: Called as soon as all of it is at the new place.
    """
    files, inner = filesystem(source)
    goal = filesystem(target)[1]
    if has_folders(files):
        files.move(inner, goal)
        arrived()
        return
    found = files.get_file_info(fs.FileSelector(inner, recursive=True))
    paths = [entry.path for entry in found if entry.is_file]
    end = [path for path in paths if path == f"{inner}/{last}"]

    def copy(path: str) -> None:
        files.copy_file(path, goal + path[len(inner) :])

    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(copy, (path for path in paths if path not in end)))
        for path in end:
            copy(path)
    except BaseException:
        remove(target)
        raise
    arrived()
    for path in end:
        files.delete_file(path)
    files.delete_dir(inner)
