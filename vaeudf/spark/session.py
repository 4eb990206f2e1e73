"""The Spark session that a job runs in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from vaeudf.errors import ClusterError
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.memory import killed_for_memory
from vaeudf.spark.raised import SPARK_ERRORS


@contextmanager
def spark_session(app_name: str, *opens: str) -> Iterator[SparkSession]:
    """Give the session of this process; start one if there is none, and stop it at the end.

    If the environment variable SPARK_REMOTE names a server of Spark Connect, it is a session there.

    Args:
        app_name: The application's name, if one is started.
        opens: Paths that Spark itself is to read or write.

    Raises:
        InputError: What Spark Connect needs is not installed, or Spark has no connector for the
            store of a path, or the tasks of a server do not see one.
        ClusterError: Spark did not start, or YARN has killed its executors for their memory.
    """
    session, is_own = _session(app_name, opens)
    try:
        Cluster.of(session).check_connectors(*opens)
        yield session
    except SPARK_ERRORS as error:
        killed = killed_for_memory(str(error), Cluster.of(session).setting)
        if killed is None:
            raise
        raise ClusterError(killed) from error
    finally:
        if is_own:
            session.stop()


def _session(app_name: str, opens: Sequence[str]) -> tuple[SparkSession, bool]:
    """Return the session, and whether it was started for it."""
    # Each is imported where it is wanted: neither needs what the other one does.
    if is_remote() or os.environ.get("SPARK_REMOTE"):
        from vaeudf.spark import connect_session

        there = connect_session.running()
        return (connect_session.start(app_name), True) if there is None else (there, False)
    from vaeudf.spark import classic_session

    if classic_session.is_running():
        return SparkSession.builder.getOrCreate(), False
    return classic_session.start(app_name, opens), True
