"""Stores are opened in limited time: pyarrow and delta-rs ask a silent one again for minutes."""

from __future__ import annotations

import math
import re
import threading
import time
from concurrent.futures import Future, wait

import pyarrow as pa
from pyarrow import fs

from vaeudf.errors import StoreError, root_cause
from vaeudf.storage import azure, gcs, hadoop_configuration
from vaeudf.storage.hdfs import ask_hdfs, open_hdfs
from vaeudf.storage.unanswered import Unanswered

# A store answers after some 50 ms; one that is far away, or asks others who somebody is, after a
# second or two.
_LONGEST_WAIT = 30.0
# Whoever has waited once need not wait again for each file. Not for longer than a wait takes: the
# message says to run again, and Spark tries tasks again in the same process.
_REMEMBERED = 30.0
# Who can give up by itself has so many seconds for that: nothing of it is left then.
_GIVING_UP = 1.0
# AWS's library takes some three seconds for each, and waits longer and longer between them.
_S3_ATTEMPTS = 5
# What it calls a network that fails.
_UNREACHABLE = "NETWORK_CONNECTION"

_silent: dict[tuple[str, str | None], tuple[float, str]] = {}


def open_in_time(uri: str, endpoint: str | None) -> tuple[fs.FileSystem, str]:
    """Return the pyarrow filesystem of a store, and its root there, once it has answered.

    Args:
        uri: The store alone, such as ``s3://bucket``.
        endpoint: Where S3 is, as the environment says it; for messages.

    Raises:
        StoreError: It has not answered, or cannot be reached.
        InputError: A package is missing that opens it.
        pa.ArrowInvalid: The scheme is unknown.
        OSError: It cannot be opened.
    """
    key, store = (uri, endpoint), _store(uri, endpoint)
    when, found = _silent.get(key, (-math.inf, ""))
    if time.monotonic() - when >= _REMEMBERED:
        opened: Future[tuple[fs.FileSystem, str]] = Future()
        # A daemon, which does not keep the process from its end.
        threading.Thread(target=_open, args=(store, opened), daemon=True).start()
        start = time.monotonic()
        silent = f"has not answered for {_LONGEST_WAIT:g} seconds"
        wait([opened], _LONGEST_WAIT + _GIVING_UP)
        if opened.done():
            try:
                return opened.result()
            # A library's own time-out, perhaps a short one, is not that of this wait.
            except (Unanswered, TimeoutError) as error:
                seconds = f"{time.monotonic() - start:.0f} seconds"
                found = f"has not answered for {seconds} ({root_cause(error)})"
                if isinstance(error, Unanswered) and not str(error):
                    found = silent
        else:
            found = silent
        _silent[key] = time.monotonic(), found
    raise StoreError(
        f"{store} {found}. Check its name and address, and whether this machine reaches it: "
        "the network, a proxy, a firewall. Run again once it answers."
    )


class _Store:
    """A store of a kind that pyarrow opens by itself."""

    def __init__(self, uri: str, endpoint: str | None) -> None:
        self.uri = uri
        self.endpoint = endpoint

    def __str__(self) -> str:
        return self.uri

    def ask(self) -> None:
        """Wait for any answer, an error too: whoever opens a file later gets the same error.

        Raises:
            Unanswered: There was none.
        """
        files, root = self.open()
        _ask(files, root)

    def open(self) -> tuple[fs.FileSystem, str]:
        """Return its filesystem, and its root there."""
        files, root = fs.FileSystem.from_uri(f"{self.uri}/")
        return files, str(root).rstrip("/") or "/"


class _S3(_Store):
    def __str__(self) -> str:
        where = "" if self.endpoint is None else f" at {self.endpoint} (AWS_ENDPOINT_URL)"
        return f"{self.uri}{where}"

    def ask(self) -> None:
        # For a limited time: otherwise a process could not end before S3's client has given up.
        found = re.fullmatch(r"(https?)://(.*?)/*", self.endpoint or "", re.IGNORECASE)
        where = {} if found is None else {"scheme": found[1].lower(), "endpoint_override": found[2]}
        patience = fs.AwsStandardS3RetryStrategy(max_attempts=_S3_ATTEMPTS)
        bucket = self.uri.partition("://")[2].rpartition("@")[2]
        _ask(fs.S3FileSystem(retry_strategy=patience, **where), bucket)


class _Hdfs(_Store):
    def ask(self) -> None:
        ask_hdfs(self.uri, _LONGEST_WAIT)

    def open(self) -> tuple[fs.FileSystem, str]:
        return open_hdfs(self.uri), "/"


class _Azure(_Store):
    def ask(self) -> None:
        azure.ask_azure(self.uri)

    def open(self) -> tuple[fs.FileSystem, str]:
        return azure.open_azure(self.uri)


class _Gcs(_Store):
    def ask(self) -> None:
        gcs.ask_gcs(self.uri)


_KINDS: dict[str, type[_Store]] = {
    "s3": _S3,
    **dict.fromkeys(hadoop_configuration.SCHEMES, _Hdfs),
    **dict.fromkeys(azure.SCHEMES, _Azure),
    **dict.fromkeys(gcs.SCHEMES, _Gcs),
}


def _store(uri: str, endpoint: str | None) -> _Store:
    return _KINDS.get(uri.partition(":")[0].lower(), _Store)(uri, endpoint)


def _open(store: _Store, opened: Future[tuple[fs.FileSystem, str]]) -> None:
    try:
        store.ask()
        opened.set_result(store.open())
    except Exception as error:
        opened.set_exception(error)


def _ask(files: fs.FileSystem, inner: str) -> None:
    try:
        files.get_file_info(inner)
    except (OSError, pa.ArrowException) as error:
        cause = str(error).splitlines()[0]
        if _UNREACHABLE in cause:
            raise Unanswered(cause.rpartition("Details: ")[2]) from None
