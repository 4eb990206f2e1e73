"""Azure's Blob Storage on this machine: Azurite, Microsoft's emulator, stands for it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.standalone import free_port
from vaeudf.storage.locations import filesystem

VARIABLE = "VAEUDF_TEST_AZURITE"
ENVIRONMENT = ("AZURE_STORAGE_USE_EMULATOR", "AZURITE_BLOB_STORAGE_URL")
"""The variables that :func:`make_container` sets."""


@contextmanager
def azurite() -> Iterator[str]:
    """Run the emulator; gives its address."""
    program = os.environ.get(VARIABLE)
    if not program:
        pytest.skip(f"{VARIABLE} names no azurite-blob; ./spark-submit.sh test-azure fetches one")
    port = free_port()
    process = subprocess.Popen(
        [
            *(program, "--blobHost", "127.0.0.1", "--blobPort", str(port)),
            *("--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def make_container(server: str, monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    """Make an empty container, which this process can open; returns its URI."""
    for variable, value in zip(ENVIRONMENT, ("true", server), strict=True):
        monkeypatch.setenv(variable, value)
    uri = f"abfss://shop-{abs(hash(name))}@devstoreaccount1.dfs.core.windows.net"
    files, container = filesystem(uri)
    files.create_dir(container)
    return uri
