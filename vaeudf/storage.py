"""Where data lives: one place that turns a path or URI into something that can be opened."""

from __future__ import annotations

import os
import posixpath
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pyarrow import ArrowInvalid, fs

from vaeudf.errors import InputError

# Files that tell what a folder is to the job that may replace it. Spark and Parquet readers pass
# over names that begin with an underscore.
RESULTS_MARK = "_vaeudf_results"
CATALOG_MARK = "_vaeudf_catalog"
PAGE_MARK = "_vaeudf_page"

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")


def absolute(path: str) -> str:
    """Return a URI as it is, and a local path made absolute."""
    if path.startswith("file:"):
        path = re.sub(r"^file:(//)?(?=/)", "", path)
    return path if _SCHEME.match(path) else str(Path(path).expanduser().absolute())


def filesystem(path: str) -> tuple[fs.FileSystem, str]:
    """Return the pyarrow filesystem of a path or URI, and the path inside it.

    Raises:
        InputError: The URI's scheme is unknown.
    """
    location = absolute(path)
    if not _SCHEME.match(location):
        return fs.LocalFileSystem(), location
    try:
        files, inner = fs.FileSystem.from_uri(location)
    except (ArrowInvalid, OSError) as error:
        raise InputError(f"cannot open {location}: {error}.") from None
    return files, str(inner)


def exists(path: str) -> bool:
    """Whether there is a file or folder at this path or URI."""
    files, inner = filesystem(path)
    return bool(files.get_file_info(inner).type != fs.FileType.NotFound)


def is_file(path: str) -> bool:
    """Whether there is a file at this path or URI."""
    files, inner = filesystem(path)
    return bool(files.get_file_info(inner).type == fs.FileType.File)


def is_empty_folder(path: str) -> bool:
    """Whether the path is a folder with nothing in it."""
    files, inner = filesystem(path)
    if files.get_file_info(inner).type != fs.FileType.Directory:
        return False
    return not files.get_file_info(fs.FileSelector(inner))


def remove(path: str) -> None:
    """Remove a file or a folder with all that is in it; nothing there is fine."""
    files, inner = filesystem(path)
    kind = files.get_file_info(inner).type
    if kind == fs.FileType.Directory:
        files.delete_dir(inner)
    elif kind == fs.FileType.File:
        files.delete_file(inner)


def remove_empty(path: str) -> None:
    """Remove a local folder if nothing is in it; object stores have no empty folders."""
    location = absolute(path)
    if not _SCHEME.match(location):
        with suppress(OSError):
            os.rmdir(location)


def check_output(path: str, overwrite: bool, marker: str, inputs: Sequence[str] = ()) -> None:
    """Refuse to write where something is that must stay.

    Args:
        path: A folder to be written.
        overwrite: Whether an older one may be replaced.
        marker: A file that every folder of this kind has: nothing else is ever replaced.
        inputs: What the job reads, or writes too; neither above nor below the folder.

    Raises:
        InputError: The folder may not be written.
    """
    for other in inputs:
        here, there = absolute(path).rstrip("/") + "/", absolute(other).rstrip("/") + "/"
        if here.startswith(there) or there.startswith(here):
            raise InputError(
                f"{path} and {other} are one, or one is inside the other, and this job uses both; "
                "name another folder."
            )
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
    """Put an empty file into a folder, which tells what it is."""
    files, inner = filesystem(folder)
    with files.open_output_stream(posixpath.join(inner, marker)):
        pass


@contextmanager
def replacing(path: str, marker: str | None = None) -> Iterator[str]:
    """Give a folder to write to; it takes the place of ``path`` when the block ends well.

    Until then an older ``path`` stays as it was, and after an error nothing is left.

    Args:
        path: What to replace.
        marker: A file to put into the folder.
    """
    parent, name = posixpath.split(absolute(path).rstrip("/"))
    # Spark and Parquet readers pass over names that begin with a dot.
    staging = posixpath.join(parent, f".{name}-{uuid.uuid4().hex}")
    aside = f"{staging}-old"
    try:
        yield staging
        if marker is not None:
            mark(staging, marker)
        # Moved aside and not removed: that can fail half-way.
        if exists(path):
            _move(path, aside)
        try:
            _move(staging, path)
        except BaseException:
            if exists(aside):
                _move(aside, path)
            raise
    finally:
        remove(staging)
    remove(aside)


def _move(source: str, target: str) -> None:
    files, inner = filesystem(source)
    files.move(inner, filesystem(target)[1])


def spark_uri(path: str) -> str:
    """Return the URI that Spark writes to, or reads with globs expanded.

    A path without a scheme is a local one, whatever the cluster's default filesystem is.
    """
    location = absolute(path)
    return location if _SCHEME.match(location) else f"file://{location}"


def spark_literal(path: str) -> str:
    """Return the URI that Spark reads a path from, its brackets and stars taken literally."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", spark_uri(path))
