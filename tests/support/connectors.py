"""Spark's connector for S3 in the tests' own session, where VAEUDF_TEST_JARS has its jars."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.support.object_store import ENVIRONMENT

VARIABLE = "VAEUDF_TEST_JARS"


def s3a_jars() -> list[str]:
    """Return the jars of the connector; none if there are none."""
    folder = os.environ.get(VARIABLE)
    return sorted(map(str, Path(folder).absolute().glob("s3a/*.jar"))) if folder else []


def submit_arguments() -> str | None:
    """Return how Spark is started with the connector, or None without it.

    The JVM must have it from its start: as a property of a session that asks for one later, it
    would be on the executors' class path alone.
    """
    jars = s3a_jars()
    return f"--jars {','.join(jars)} pyspark-shell" if jars else None


def let_workers_use(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, names: Iterable[str] = ENVIRONMENT
) -> None:
    """Give the session's Python workers what this process's environment says of a store.

    Args:
        spark: The session.
        monkeypatch: Takes it from them again.
        names: The variables; by default those of S3.
    """
    for name in names:
        monkeypatch.setitem(spark.sparkContext.environment, name, os.environ[name])


def use_store(spark: SparkSession, endpoint: str) -> None:
    """Let Spark's connector use the server that stands for S3."""
    settings = spark.sparkContext._jsc.hadoopConfiguration()
    for key, value in {
        "endpoint": endpoint,
        "endpoint.region": "us-east-1",
        "path.style.access": "true",
        "connection.ssl.enabled": "false",
        "access.key": "someone",
        "secret.key": "secret",
    }.items():
        settings.set(f"fs.s3a.{key}", value)
