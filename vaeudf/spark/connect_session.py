"""A session at a server of Spark Connect."""

from __future__ import annotations

import os
import sys

from pyspark.errors import PySparkException, PySparkImportError
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from vaeudf.errors import ClusterError, InputError, root_cause
from vaeudf.spark.connect_workers import ARCHIVE, check_workers, send_archive
from vaeudf.spark.defaults import DEFAULTS
from vaeudf.spark.raised import raise_without_logging

_SECONDS_TO_CONNECT = 30


def running() -> SparkSession | None:
    """Return the session of this process at a server of Spark Connect; None without one."""
    if not is_remote():
        return None
    try:
        return SparkSession.active()
    except PySparkException:
        return None


def start(app_name: str) -> SparkSession:
    """Start a session at the server that the environment variable SPARK_REMOTE names.

    It gets the archive that SPARK_REMOTE_ARCHIVE names, if any, for its Python workers.

    Raises:
        InputError: What Spark Connect needs is not installed, the variable names no server, or the
            server's workers lack what tasks need.
        ClusterError: The server does not answer.
    """
    url = os.environ.get("SPARK_REMOTE", "")
    if not url.startswith(("sc://", "local")):
        raise InputError(
            f"SPARK_REMOTE is {url or 'not set'}; expected a server of Spark Connect, such as "
            "sc://host:15002."
        )
    raise_without_logging()
    # Of local[2], this process starts the server, and its workers.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        if url.startswith("sc://"):
            _reach(url)
        session = SparkSession.builder.appName(app_name).getOrCreate()
        for key, value in DEFAULTS.items():
            session.conf.set(key, value)
    except PySparkImportError as error:
        raise InputError(
            f"SPARK_REMOTE is {_without_token(url)}, and what Spark Connect needs is not installed "
            f"({root_cause(error)}): pip install 'vaeudf[connect]'."
        ) from None
    except PySparkException as error:
        raise ClusterError(
            f"the server of Spark Connect at {_without_token(url)} does not answer "
            f"({root_cause(error)}). Is the address right, and does it run?"
        ) from None
    try:
        if archive := os.environ.get(ARCHIVE):
            send_archive(session, archive)
        check_workers(session)
    except BaseException:
        session.stop()
        raise
    return session


def _reach(url: str) -> None:
    """Connect with a server once: PySpark would try for ten minutes and say nothing meanwhile.

    Raises:
        PySparkImportError: What Spark Connect needs is not installed.
        ClusterError: The server does not answer.
    """
    from pyspark.sql.connect.client import DefaultChannelBuilder

    import grpc  # isort: skip  # after PySpark has looked which packages are there

    with DefaultChannelBuilder(url).toChannel() as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_SECONDS_TO_CONNECT)
        except grpc.FutureTimeoutError:
            raise ClusterError(
                f"the server of Spark Connect at {_without_token(url)} does not answer within "
                f"{_SECONDS_TO_CONNECT} s. Is the address right, and does it run?"
            ) from None


def _without_token(url: str) -> str:
    """Return a server's URL without its parameters, one of which may be a token."""
    return url.partition(";")[0].rstrip("/")
