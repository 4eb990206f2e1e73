"""How a process starts Spark when spark-submit has not: master, properties and logging."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from vaeudf.errors import InputError

LOCAL_MASTER = "local[*,4]"
"""All cores, and three retries of a task."""
CONF = Path(__file__).with_name("conf")
"""Properties for a local master, and Spark's log settings."""


_DEPLOY_MODES = ("client", "cluster")


def drives_on_cluster(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether SPARK_DEPLOY_MODE says that the driver is to run on the cluster, and not here.

    Args:
        environment: This process's, unless a test passes its own.

    Raises:
        InputError: It is neither client nor cluster, or the master is not YARN.
    """
    if "PYSPARK_GATEWAY_PORT" in environment:
        return False  # spark-submit has started this process where it was to be
    mode = environment.get("SPARK_DEPLOY_MODE") or "client"
    remote = environment.get("SPARK_REMOTE")
    if remote and mode == "cluster":
        raise InputError(
            f"SPARK_REMOTE is {remote.partition(';')[0]}, and SPARK_DEPLOY_MODE cluster; expected "
            "one of the two: a server of Spark Connect has a driver already."
        )
    if mode not in _DEPLOY_MODES:
        raise InputError(
            f"SPARK_DEPLOY_MODE is {mode}; expected {' or '.join(_DEPLOY_MODES)} (default: client)."
        )
    master = environment.get("SPARK_MASTER") or LOCAL_MASTER
    if mode == "cluster" and master != "yarn":
        raise InputError(
            f"SPARK_DEPLOY_MODE is cluster, and SPARK_MASTER {master}; expected yarn. On other "
            "clusters the driver runs here: unset SPARK_DEPLOY_MODE."
        )
    return mode == "cluster"


def configure_launch(environment: MutableMapping[str, str] = os.environ) -> None:
    """Choose what Spark is started with, in the environment variables that PySpark reads.

    SPARK_MASTER names the master (default: ``local[*,4]``), SPARK_CONF a file of Spark properties
    (default: vaeudf's own if the master is local, else none). Both are put before the arguments
    that PYSPARK_SUBMIT_ARGS has, and Spark takes the last one of a kind. If PYSPARK_SUBMIT_ARGS is
    set and neither variable is, it stays as it is. Under spark-submit nothing is changed.

    Args:
        environment: This process's, unless a test passes its own.

    Raises:
        InputError: SPARK_CONF names a file that is not there, or SPARK_REMOTE a server besides.
    """
    if "PYSPARK_GATEWAY_PORT" in environment:
        return  # spark-submit has started this process, and knows all of it
    if environment.get("SPARK_REMOTE"):
        _check_remote(environment)
        return  # nothing is started
    if not environment.get("SPARK_CONF_DIR") and not environment.get("SPARK_HOME"):
        environment["SPARK_CONF_DIR"] = str(CONF)
    given = environment.get("PYSPARK_SUBMIT_ARGS", "").strip()
    master, properties = environment.get("SPARK_MASTER", ""), environment.get("SPARK_CONF", "")
    if given and not master and not properties:
        return
    master = master or LOCAL_MASTER
    if not properties and master.startswith("local"):
        properties = str(CONF / "local.conf")
    if properties and not os.access(properties, os.R_OK):
        raise InputError(
            f"SPARK_CONF names {properties}, which is not there; expected a Spark properties file."
        )
    arguments = ["--master", shlex.quote(master)]
    if properties:
        arguments += ["--properties-file", shlex.quote(properties)]
    environment["PYSPARK_SUBMIT_ARGS"] = " ".join([*arguments, given or "pyspark-shell"])


def _check_remote(environment: Mapping[str, str]) -> None:
    """Refuse to be told both a server of Spark Connect and how to start Spark."""
    for name in ("SPARK_MASTER", "SPARK_CONF"):
        if environment.get(name):
            raise InputError(
                f"SPARK_REMOTE is {environment['SPARK_REMOTE'].partition(';')[0]}, and {name} "
                f"{environment[name]}; expected one of the two: unset the other."
            )
