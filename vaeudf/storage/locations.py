"""Where data lives: the one place that turns a path or URI into something that can be opened.

Three libraries open it, each in its own way: pyarrow (data files and images, in the driver and in
tasks), delta-rs (the table's log) and Spark (the listing of a catalog, results). Credentials,
regions and endpoints come from the environment, in the names that the stores' own tools use.
"""

from __future__ import annotations

import os
import posixpath
import re
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from pyarrow import ArrowInvalid, fs

from vaeudf.errors import InputError

# Files that tell what a folder is to the job that may replace it. Spark and Parquet readers pass
# over names that begin with an underscore.
RESULTS_MARK = "_vaeudf_results"
CATALOG_MARK = "_vaeudf_catalog"
PAGE_MARK = "_vaeudf_page"
CLUSTERS_MARK = "_vaeudf_clusters"
PICTURES_MARK = "_vaeudf_pictures"
HEALTH_MARK = "_vaeudf_health"

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")
_STORE = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+://[^/]*)/*(.*)$", re.DOTALL)
# Hadoop's names of one store.
_S3 = re.compile(r"^s3[an]?://", re.IGNORECASE)
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
# Files that are copied or removed at a time; a store answers each after some 50 ms.
_THREADS = 16


def absolute(path: str) -> str:
    """Return a URI as it is, but s3a:// as s3://, and a local path made absolute."""
    if path.startswith("file:"):
        path = re.sub(r"^file:(//)?(?=/)", "", path)
    if not _SCHEME.match(path):
        return str(Path(path).expanduser().absolute())
    return _S3.sub("s3://", path)


def filesystem(path: str) -> tuple[fs.FileSystem, str]:
    """Return the pyarrow filesystem of a path or URI, and the path inside it.

    Raises:
        InputError: The URI's scheme is unknown, or its store cannot be opened.
    """
    location = absolute(path)
    if not _SCHEME.match(location):
        return fs.LocalFileSystem(), location
    store = _STORE.match(location)
    if store is None:
        raise InputError(f"cannot open {location}: expected a path, or a URI like s3://bucket/key.")
    # The store alone: pyarrow's URIs are percent-encoded; ours, like Spark's, mean what they say.
    try:
        files, root = _open_store(store[1], _endpoint())
    except (ArrowInvalid, OSError) as error:
        raise InputError(f"cannot open {location}: {error}.") from None
    return files, posixpath.join(root, store[2].rstrip("/")) if store[2] else root


@lru_cache(maxsize=16)
def _open_store(uri: str, endpoint: str | None) -> tuple[fs.FileSystem, str]:
    # Kept, and with it its connections. pyarrow knows the endpoint from the environment.
    files, root = fs.FileSystem.from_uri(f"{uri}/")
    return files, str(root).rstrip("/") or "/"


def delta_uri(path: str) -> str:
    """Return the path or URI as delta-rs takes it, for which a # ends the path of a URI."""
    location = absolute(path)
    store = _STORE.match(location)
    return location if store is None else f"{store[1]}/{quote(store[2])}"


def delta_options(path: str) -> dict[str, str]:
    """Return the storage options that delta-rs needs besides the environment."""
    endpoint = _endpoint()
    if endpoint is None or not _S3.match(path):
        return {}
    # Whoever names an endpoint without TLS means it, which delta-rs alone wants to be told.
    plain = endpoint.lower().startswith("http://")
    return {"AWS_ENDPOINT_URL": endpoint} | ({"AWS_ALLOW_HTTP": "true"} if plain else {})


def _endpoint() -> str | None:
    """Return where S3 is, if it is not Amazon's."""
    return next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)


def has_folders(files: fs.FileSystem) -> bool:
    """Whether this is a file system, where folders can be empty and renamed, or an object store."""
    return files.type_name in ("local", "hdfs")


def make_folder(files: fs.FileSystem, inner: str) -> None:
    """Make a folder and those above it, where files need them."""
    if has_folders(files):
        files.create_dir(inner, recursive=True)


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
    """Remove a local folder if nothing is in it.

    Elsewhere no folder can be removed on condition that it is empty; somebody may be writing there.
    """
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
    store = _STORE.match(absolute(path))
    if store is not None and not store[2]:
        raise InputError(f"{path} is a whole store; name a folder in it.")
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

    Until then an older ``path`` stays as it was, and after an error it is there as before. In an
    object store, where folders cannot be renamed, files take their places one by one.

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
        try:
            # Moved aside and not removed: that can fail half-way.
            if exists(path):
                _move(path, aside)
            _move(staging, path)
        except BaseException:
            if exists(aside):
                remove(path)
                _move(aside, path)
            raise
    finally:
        remove(staging)
    remove(aside)


def _move(source: str, target: str) -> None:
    """Move a folder; in an object store it is whole at its old place until it is at the new one."""
    files, inner = filesystem(source)
    goal = filesystem(target)[1]
    if has_folders(files):
        files.move(inner, goal)
        return
    found = files.get_file_info(fs.FileSelector(inner, recursive=True))
    paths = [entry.path for entry in found if entry.is_file]
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda path: files.copy_file(path, goal + path[len(inner) :]), paths))
    except BaseException:
        remove(target)
        raise
    files.delete_dir(inner)


def spark_uri(path: str) -> str:
    """Return the URI that Spark writes to, or reads with globs expanded.

    A path without a scheme is a local one, whatever the cluster's default filesystem is. S3 is
    s3a://, Hadoop's own connector.
    """
    location = absolute(path)
    if not _SCHEME.match(location):
        return f"file://{location}"
    return _S3.sub("s3a://", location)


def spark_literal(path: str) -> str:
    """Return the URI that Spark reads a path from, its brackets and stars taken literally."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", spark_uri(path))
