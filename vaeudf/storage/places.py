"""Which paths and URIs name one place.

Nothing else compares their texts: ``hdfs:///a`` and ``hdfs://host:8020/a``, ``s3a://b/k`` and
``s3://b//k/``, or a link and where it leads, look different and are one.
"""

from __future__ import annotations

import os
import posixpath
import re

from vaeudf.errors import InputError
from vaeudf.storage import azure
from vaeudf.storage.hadoop_configuration import SCHEMES, without_names
from vaeudf.storage.locations import absolute, is_local

_STORE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)/*(.*)", re.DOTALL)
_HDFS = re.compile(rf"^({'|'.join(SCHEMES)}):/(?!/)", re.IGNORECASE)


def place_of(path: str) -> str:
    """Return the one text of the place that a path or URI names, without a slash at its end.

    It is for comparing, not for opening. Nothing is asked of a store: two names of one host, and
    links in HDFS, stay two.
    """
    location = absolute(path)
    if is_local(location):
        return os.path.realpath(location).rstrip("/")
    # Hadoop knows the default file system with one slash, too.
    found = _STORE.fullmatch(_HDFS.sub(r"\1:///", location))
    if found is None:
        return location.rstrip("/")
    scheme, authority, inner = found[1].lower(), found[2], posixpath.normpath(f"/{found[3]}")
    if scheme in SCHEMES:
        store, inner = without_names(authority, inner, scheme)
    elif scheme in azure.SCHEMES:
        store = _container(f"{scheme}://{authority}")
    else:
        # Perhaps with credentials before the bucket.
        store = f"{scheme}://{authority.rpartition('@')[2]}"
    return f"{store}{inner}".rstrip("/")


def _container(uri: str) -> str:
    try:
        hadoops = azure.for_hadoop(uri)
    except InputError:  # it names no account: who opens it says so
        return uri
    return f"abfss://{hadoops.partition('://')[2]}".lower()


def same_place(path: str, other: str) -> bool:
    """Whether two paths or URIs name one place."""
    return place_of(path) == place_of(other)


def overlap(path: str, other: str) -> bool:
    """Whether two paths or URIs name one place, or one is inside the other."""
    here, there = f"{place_of(path)}/", f"{place_of(other)}/"
    return here.startswith(there) or there.startswith(here)


def path_inside(folder: str, path: str) -> str | None:
    """Return the path of a file relative to a folder that it is in; None if it is in another.

    Args:
        folder: A path or URI.
        path: The file's, absolute, as it is named: one with dots or empty names is in no folder,
            for these lead elsewhere, or stores and file systems take them for different ones.
    """
    location = absolute(path)
    # Most are named as their folder is, and there may be many of them.
    start = f"{absolute(folder).rstrip('/')}/"
    if location.startswith(start):
        inner = location[len(start) :]
    else:
        names = location.partition("://")[2] or location[1:]
        if {"", ".", ".."} & {*names.split("/")[1:]}:
            return None
        start, place = f"{place_of(folder)}/", place_of(location)
        if not place.startswith(start):
            return None
        inner = place[len(start) :]
    return None if {"", ".", ".."} & {*inner.split("/")} else inner
