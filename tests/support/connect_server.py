"""A server of Spark Connect, in a process and a folder of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyspark
import pytest

from tests.support import java

SERVER = pytest.StashKey[str]()
"""The URL of the tests' server, in pytest's configuration; not there without --connect."""
_SECONDS = 180.0
_CLASS = "org.apache.spark.sql.connect.service.SparkConnectServer"


@contextmanager
def connect_server(
    folder: Path,
    settings: Mapping[str, str],
    *,
    python_path: str | None = None,
    prefix: Sequence[str] = (),
    home: Path | None = None,
) -> Iterator[str]:
    """Start a server; give its URL.

    Args:
        folder: Its working folder, with its output in ``server.log``.
        settings: Spark properties.
        python_path: What its workers import from besides what is installed.
        prefix: What its command begins with.
        home: The home folder of its user, unless it is this one's.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {
        "spark.master": "local[2,2]",
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        **settings,
    }
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SPARK_", "PYSPARK_", "PYTHONPATH"))
    }
    environment["PYSPARK_PYTHON"] = sys.executable
    environment["SPARK_SUBMIT_OPTS"] = " ".join(java.OPTIONS)
    if home is not None:
        environment["HOME"] = str(home)
    if python_path is not None:
        environment["PYTHONPATH"] = python_path
    flags = [word for key, value in given.items() for word in ("--conf", f"{key}={value}")]
    with (folder / "server.log").open("wb") as output:
        server = subprocess.Popen(
            [
                *prefix,
                str(Path(pyspark.__file__).parent / "bin" / "spark-submit"),
                "--class",
                _CLASS,
                *flags,
                "spark-internal",
            ],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(port, server, folder / "server.log")
        yield f"sc://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"no server of Spark Connect: {log.read_text()[-2000:]}")
