"""A Spark session whose driver is this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from vaeudf.errors import ClusterError, root_cause
from vaeudf.spark.connectors import check_jvm
from vaeudf.spark.defaults import DEFAULTS
from vaeudf.spark.raised import raise_without_logging
from vaeudf.spark.yarn import TAGS, saying_while_yarn_waits, submitted_here, with_tag

# What the jobs rely on, unless it is set otherwise.
_DEFAULTS = {**DEFAULTS, "spark.ui.showConsoleProgress": "false"}
_WORKER_MEMORY = "spark.executor.pyspark.memory"
# It limits address space, of which allocators reserve far more than they use: glibc 64 MB for most
# threads that fetch images, pyarrow's mimalloc 1 GB at its first allocation.
_WITH_LIMITED_WORKERS = {
    "spark.executorEnv.MALLOC_ARENA_MAX": "2",
    "spark.executorEnv.MIMALLOC_ARENA_RESERVE": "65536",  # KiB
}


def is_running() -> bool:
    """Whether Spark runs in this process."""
    # Not getActiveSession(): it knows the sessions of this thread only.
    return SparkContext._active_spark_context is not None


def start(app_name: str, opens: Sequence[str] = ()) -> SparkSession:
    """Start Spark in this process.

    Args:
        app_name: The application's name.
        opens: Paths that Spark itself is to read or write.

    Raises:
        InputError: It has no connector for the store of one.
        ClusterError: It did not start.
    """
    try:
        builder = session_builder(app_name)
        # Of its JVM, which starts in a third of the time that Spark takes in it.
        check_jvm(SparkContext._jvm, _hadoop_configuration(), opens)
        given = SparkConf()
        application = submitted_here(given)
        if application is not None:
            builder = builder.config(TAGS, with_tag(given, application))
        with saying_while_yarn_waits(application):
            return builder.getOrCreate()
    except (PySparkException, Py4JError) as error:
        asked = os.environ.get("PYSPARK_SUBMIT_ARGS", "").removesuffix("pyspark-shell").strip()
        raise ClusterError(
            f"Spark did not start, with {asked or 'no arguments'} ({root_cause(error)}). Is the "
            "master right, and does it run? Spark needs Java 17 or newer. What Spark itself said "
            "is above, if anything."
        ) from None


def session_builder(app_name: str) -> SparkSession.Builder:
    """Return a builder with what the jobs rely on, where spark-submit has not set it otherwise."""
    raise_without_logging()
    # What spark-submit and its properties file say is known to the JVM alone; without one running,
    # SparkConf is empty and the defaults here would win over them.
    SparkContext._ensure_initialized()
    given = SparkConf()
    # Workers otherwise take the first python3 on PATH, which may lack torch or vaeudf.
    workers = given.get("spark.pyspark.python") or sys.executable
    os.environ.setdefault("PYSPARK_PYTHON", workers)
    builder = SparkSession.builder.appName(app_name)
    limited = _WITH_LIMITED_WORKERS if given.contains(_WORKER_MEMORY) else {}
    for key, value in {**_DEFAULTS, **limited}.items():
        if not given.contains(key):
            builder = builder.config(key, value)
    return builder


def _hadoop_configuration() -> Any:
    """Return Hadoop's configuration as Spark will have it, from what spark-submit knows."""
    jvm: Any = SparkContext._jvm
    given: Any = SparkConf()
    return jvm.org.apache.spark.deploy.SparkHadoopUtil.get().newConfiguration(given._jconf)
