"""Stores that do not answer: a job says so soon, and does not call the input wrong."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from vaeudf.catalog.named_files import MISSING, look_up_all
from vaeudf.catalog.reader import ImageReader
from vaeudf.errors import StoreError
from vaeudf.images.decode import ImageFailure
from vaeudf.storage import opening
from vaeudf.storage.locations import exists, filesystem
from vaeudf.table.open import open_table

WAIT = 0.4


@pytest.fixture
def endpoint(monkeypatch) -> Iterator[str]:
    """A server that accepts and never answers; it is S3 to pyarrow and delta-rs."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(100)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name, value in {
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(opening, "_LONGEST_WAIT", WAIT)
        yield url


def test_a_store_that_does_not_answer(endpoint):
    message = (
        f"s3://shop at {endpoint} (AWS_ENDPOINT_URL) has not answered for 0.4 seconds. Check its "
        "name and address, and whether this machine reaches it: the network, a proxy, a firewall. "
        "Run again once it answers."
    )
    start = time.monotonic()
    for ask in (exists, filesystem, open_table):
        with pytest.raises(StoreError, match=f"^{re.escape(message)}$"):
            ask("s3://shop/posteriors")
    assert WAIT <= time.monotonic() - start < 10 * WAIT  # it is asked once
    assert StoreError.exit_code == 1


@pytest.mark.slow
def test_images_in_a_store_that_does_not_answer(endpoint):
    """Those of other stores are encoded all the same."""
    (found,) = look_up_all([("s3://photos/a.jpg", "/shop")])
    assert found.version == MISSING
    failure = ImageReader("image").read(found.uri, None, 0, 0.0)
    assert isinstance(failure, ImageFailure) and failure.reason == "unavailable"
    assert failure.message.startswith("s3://photos/a.jpg could not be read: s3://photos at http://")


@pytest.mark.slow
def test_a_store_that_is_asked_again_later(endpoint, monkeypatch):
    """After as long as one wait usually takes; a notebook's cell, or Spark, may try again."""
    for passed, is_asked in ((0.0, True), (25.0, False), (35.0, True)):
        clock = SimpleNamespace(monotonic=lambda passed=passed: time.monotonic() + passed)
        monkeypatch.setattr(opening, "time", clock)
        start = time.monotonic()
        with pytest.raises(StoreError, match=r"has not answered for 0\.4 seconds"):
            exists("s3://later/x")
        assert (time.monotonic() - start >= WAIT) == is_asked


@pytest.mark.parametrize(
    "error, cause",
    [
        (OSError(errno.ETIMEDOUT, "Connection timed out"), "[Errno 110] Connection timed out"),
        (TimeoutError(), "no message"),
    ],
)
def test_a_library_that_does_not_wait_as_long(monkeypatch, error, cause):
    """It is said how long it has waited, and why it gave up."""

    def from_uri(_):
        raise error

    library = SimpleNamespace(FileSystem=SimpleNamespace(from_uri=from_uri))
    monkeypatch.setattr(opening, "fs", library)
    store = f"far://{cause.replace(' ', '-')}"
    message = f"{store} has not answered for 0 seconds ({cause}). Check its name and address, "
    start = time.monotonic()
    with pytest.raises(StoreError, match=f"^{re.escape(message)}"):
        opening.open_in_time(store, None)
    assert time.monotonic() - start < 1


@pytest.mark.slow
def test_a_job_ends_in_time(endpoint):
    """With exit code 1, although what has been asked is not answered yet."""
    code = f"""if True:
        from vaeudf.storage import opening
        from vaeudf.workflows.cli import main
        from vaeudf.workflows.jobs import find_job

        opening._LONGEST_WAIT, opening._S3_ATTEMPTS = {WAIT}, 1
        main(*find_job("maintain_table"), ["--table", "s3://shop/table"])
    """
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(f"error: s3://shop at {endpoint} (AWS_ENDPOINT_URL) has not ")
    assert done.stderr.count("\n") == 1 and done.stdout == ""
    assert time.monotonic() - start < 30


@pytest.mark.slow
def test_nobody_is_at_the_address(endpoint, monkeypatch):
    monkeypatch.setattr(opening, "_LONGEST_WAIT", 30.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    expected = r"\(AWS_ENDPOINT_URL\) has not answered for \d+ seconds \(Failed to connect to "
    with pytest.raises(StoreError, match=expected):
        exists("s3://nobody/x")
