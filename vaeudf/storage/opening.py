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

# A store answers after some 50 ms; one that is far away, or asks others who somebody is, after a
# second or two.
_LONGEST_WAIT = 30.0
# Whoever has waited once need not wait again for each file. Not for longer than a wait takes: the
# message says to run again, and Spark tries tasks again in the same process.
_REMEMBERED = 30.0
# AWS's library takes some three seconds for each, and waits longer and longer between them.
_S3_ATTEMPTS = 5
_S3 = re.compile("s3:", re.IGNORECASE)
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
        pa.ArrowInvalid: The scheme is unknown.
        OSError: It cannot be opened.
    """
    key = (uri, endpoint)
    when, found = _silent.get(key, (-math.inf, ""))
    if time.monotonic() - when >= _REMEMBERED:
        opened: Future[tuple[fs.FileSystem, str]] = Future()
        # A daemon, which does not keep the process from its end.
        threading.Thread(target=_open, args=(uri, endpoint, opened), daemon=True).start()
        start = time.monotonic()
        wait([opened], _LONGEST_WAIT)
        if opened.done():
            try:
                return opened.result()
            # A library's own time-out, perhaps a short one, is not that of this wait.
            except (_Unreachable, TimeoutError) as error:
                seconds = f"{time.monotonic() - start:.0f} seconds"
                found = f"has not answered for {seconds} ({root_cause(error)})"
        else:
            found = f"has not answered for {_LONGEST_WAIT:g} seconds"
        _silent[key] = time.monotonic(), found
    where = "" if endpoint is None else f" at {endpoint} (AWS_ENDPOINT_URL)"
    raise StoreError(
        f"{uri}{where} {found}. Check its name and address, and whether this machine reaches it: "
        "the network, a proxy, a firewall. Run again once it answers."
    )


class _Unreachable(Exception):
    """Nobody answers at an address, or there is no such address."""


def _open(uri: str, endpoint: str | None, opened: Future[tuple[fs.FileSystem, str]]) -> None:
    try:
        if _S3.match(uri):
            _ask(_patient_for_so_long(endpoint), uri.partition("://")[2].rpartition("@")[2])
        files, root = fs.FileSystem.from_uri(f"{uri}/")
        inner = str(root).rstrip("/") or "/"
        if not _S3.match(uri):
            _ask(files, inner)
        opened.set_result((files, inner))
    except Exception as error:
        opened.set_exception(error)


def _patient_for_so_long(endpoint: str | None) -> fs.S3FileSystem:
    """Return S3 as it is asked first. Otherwise a process could not end before it has given up."""
    found = re.fullmatch(r"(https?)://(.*?)/*", endpoint or "", re.IGNORECASE)
    where = {} if found is None else {"scheme": found[1].lower(), "endpoint_override": found[2]}
    return fs.S3FileSystem(
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_S3_ATTEMPTS), **where
    )


def _ask(files: fs.FileSystem, inner: str) -> None:
    """Wait for any answer, an error too: whoever opens a file later gets the same error."""
    try:
        files.get_file_info(inner)
    except (OSError, pa.ArrowException) as error:
        cause = str(error).splitlines()[0]
        if _UNREACHABLE in cause:
            raise _Unreachable(cause.rpartition("Details: ")[2]) from None
