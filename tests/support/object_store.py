"""S3 on this machine: moto's server stands for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.cluster.standalone import free_port
from tests.support.jobs import ROOT
from vaeudf.storage.locations import filesystem

ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
)
"""The variables that :func:`make_bucket` sets."""


@contextmanager
def object_store(*options: str) -> Iterator[str]:
    """Run the server with options of tests/support/moto_server.py; gives its address."""
    # A process of its own: delta-rs waits for some answers with Python's lock in its hand.
    port = str(free_port())
    command = [sys.executable, "-m", "tests.support.moto_server", port, *options]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                urlopen(f"{url}/moto-api", timeout=5).close()
                break
            except URLError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def make_bucket(server: str, monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    """Make an empty bucket, which this process can open; returns its URI."""
    import boto3

    values = ("someone", "secret", "us-east-1", server)
    for variable, value in zip(ENVIRONMENT, values, strict=True):
        monkeypatch.setenv(variable, value)
    bucket = f"shop-{abs(hash(name))}"
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


def put_folder(folder: str | Path, uri: str, names: Iterable[str] = ()) -> None:
    """Copy files of a folder to a store: those that are named, or all below it."""
    files, inner = filesystem(uri)

    def put(path: Path) -> None:
        name = path.relative_to(folder).as_posix()
        if not names or name in names:
            files.create_dir(os.path.dirname(f"{inner}/{name}"), recursive=True)
            with files.open_output_stream(f"{inner}/{name}") as stream:
                stream.write(path.read_bytes())

    # HDFS takes up to half a second to close a file.
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, (path for path in Path(folder).rglob("*") if path.is_file())))
