"""Paths and URIs, and what opens them.

Three libraries open it, each in its own way: pyarrow (data files and images, in the driver and in
tasks), delta-rs (the table's log) and Spark (the listing of a catalog, results). Credentials,
regions and endpoints come from the environment, in the names that the stores' own tools use.
"""

from __future__ import annotations

import os
import posixpath
import re
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from pyarrow import ArrowInvalid, fs

from vaeudf.errors import InputError, redacted
from vaeudf.storage import azure
from vaeudf.storage.hadoop_configuration import SCHEMES as HADOOP_SCHEMES
from vaeudf.storage.hdfs import TYPE_NAME
from vaeudf.storage.opening import open_in_time

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")
_STORE = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+://[^/]*)/*(.*)$", re.DOTALL)
# Where delta-rs writes a name as it stands in the URI; and what it can write there, as seen.
_HDFS = re.compile(rf"^(?:{'|'.join(HADOOP_SCHEMES)})://", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=@-]*")
# Hadoop's names of one store.
_S3 = re.compile(r"^s3[an]?://", re.IGNORECASE)
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
# By the store. A task's threads want one at the same moment: each would open it for itself, which
# for HDFS is a process each; on a busy machine so many did not get their answers in time.
_opening: dict[str, threading.Lock] = {}


def absolute(path: str) -> str:
    """Return a URI as it is, but s3a:// as s3://, and a local path made absolute."""
    if path.startswith("file:"):
        path = re.sub(r"^file:(//)?(?=/)", "", path)
    if not _SCHEME.match(path):
        return str(Path(path).expanduser().absolute())
    return _S3.sub("s3://", path)


def is_local(path: str) -> bool:
    """Whether a path or URI is on this machine, or on a file system that is mounted on it."""
    return not _SCHEME.match(absolute(path))


def filesystem(path: str) -> tuple[fs.FileSystem, str]:
    """Return the pyarrow filesystem of a path or URI, and the path inside it.

    Raises:
        InputError: The URI's scheme is unknown, or its store cannot be opened.
        StoreError: The store does not answer.
    """
    location = absolute(path)
    if not _SCHEME.match(location):
        return fs.LocalFileSystem(), location
    store = _STORE.match(location)
    if store is None:
        raise InputError(f"cannot open {location}: expected a path, or a URI like s3://bucket/key.")
    # The store alone: pyarrow's URIs are percent-encoded; ours, like Spark's, mean what they say.
    try:
        with _opening.setdefault(store[1], threading.Lock()):
            files, root = _open_store(store[1], s3_endpoint())
    except (ArrowInvalid, OSError) as error:
        raise InputError(f"cannot open {location}: {redacted(str(error))}.") from None
    return files, posixpath.join(root, store[2].rstrip("/")) if store[2] else root


@lru_cache(maxsize=16)
def _open_store(uri: str, endpoint: str | None) -> tuple[fs.FileSystem, str]:
    # Kept, and with it its connections. pyarrow knows the endpoint from the environment.
    return open_in_time(uri, endpoint)


def delta_uri(path: str) -> str:
    """Return the path or URI as delta-rs takes it, for which a # ends the path of a URI.

    Raises:
        InputError: It is one that delta-rs would write under another name.
    """
    location = absolute(path)
    store = _STORE.match(location)
    if store is None:
        return location
    if not _HDFS.match(location):
        return f"{store[1]}/{quote(store[2])}"
    if not _PLAIN.fullmatch(store[2]):
        odd = "".join(dict.fromkeys(re.sub(_PLAIN, "", store[2])))
        raise InputError(
            f"table {path} has {odd!r} in its path, which delta-rs writes as something else on "
            "HDFS; expected letters without accents, digits and .-_~!$&'()*+,;=@. Name another "
            "folder."
        )
    return f"{store[1]}/{store[2]}"


def delta_options(path: str) -> dict[str, str]:
    """Return the storage options that delta-rs needs besides the environment."""
    endpoint = s3_endpoint()
    if endpoint is None or not _S3.match(path):
        return {}
    # An endpoint without TLS is named on purpose; delta-rs alone wants to be told so.
    plain = endpoint.lower().startswith("http://")
    return {"AWS_ENDPOINT_URL": endpoint} | ({"AWS_ALLOW_HTTP": "true"} if plain else {})


def s3_endpoint() -> str | None:
    """Return the address of S3 that the environment names, if any; by default it is Amazon's."""
    return next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)


def has_folders(files: fs.FileSystem) -> bool:
    """Whether this is a file system, where folders can be empty and renamed, or an object store."""
    return files.type_name in ("local", f"py::{TYPE_NAME}")


def make_folder(files: fs.FileSystem, inner: str) -> None:
    """Make a folder and those above it, where files need them."""
    if has_folders(files):
        files.create_dir(inner, recursive=True)


def rename_file(files: fs.FileSystem, source: str, target: str) -> None:
    """Give a file another name, at which it appears whole; in an object store by a copy."""
    if has_folders(files):
        files.move(source, target)
    else:
        # Not every store's move() is made: Azure's without folders is not.
        files.copy_file(source, target)
        with suppress(FileNotFoundError):  # somebody else has renamed it, too
            files.delete_file(source)


def exists(path: str) -> bool:
    """Whether there is a file or folder at this path or URI."""
    files, inner = filesystem(path)
    return bool(files.get_file_info(inner).type != fs.FileType.NotFound)


def is_file(path: str) -> bool:
    """Whether there is a file at this path or URI."""
    files, inner = filesystem(path)
    return bool(files.get_file_info(inner).type == fs.FileType.File)


def is_whole_store(path: str) -> bool:
    """Whether a URI names a store, and no folder in it."""
    store = _STORE.match(absolute(path))
    return store is not None and not store[2]


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

    In a store a folder cannot be removed on condition that it is empty: a job may be writing to it.
    """
    location = absolute(path)
    if not _SCHEME.match(location):
        with suppress(OSError):
            os.rmdir(location)


def spark_uri(path: str) -> str:
    """Return the URI that Spark writes to, or reads with globs expanded.

    A path without a scheme is a local one, whatever the cluster's default filesystem is. S3 is
    s3a://, and Azure abfss:// with the account, as Hadoop's own connectors have them.

    Raises:
        InputError: It names a container of Azure's, and no account.
    """
    location = absolute(path)
    if not _SCHEME.match(location):
        return f"file://{location}"
    store = _STORE.match(location)
    if store is not None and store[1].partition(":")[0].lower() in azure.SCHEMES:
        return f"{azure.for_hadoop(store[1])}/{store[2]}"
    return _S3.sub("s3a://", location)


def spark_literal(path: str) -> str:
    """Return the URI that Spark reads a path from, its brackets and stars taken literally."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", spark_uri(path))
