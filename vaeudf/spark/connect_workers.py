"""The Python workers of a server of Spark Connect: sent to it, or there, and the right ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.errors import PySparkException

from vaeudf.errors import InputError, root_cause
from vaeudf.version import VERSION

ARCHIVE = "SPARK_REMOTE_ARCHIVE"
"""The environment variable that names an archive with the workers' Python, to send to a server."""
# Spark unpacks an archive in the folder that a session's workers start in, under this name.
_FOLDER = "environment"
_PYTHON = "spark.sql.execution.pyspark.python"
# What Spark Connect takes for an archive.
_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip", ".jar")
_MISSING = re.compile(r"ModuleNotFoundError: No module named '([^'\n]+)'")
_NO_PYTHON = re.compile(r'Cannot run program "([^"\n]+)"')
_REMEDY = (
    "Install vaeudf where the server finds Python (PYSPARK_PYTHON or PYTHONPATH in its "
    f"environment), or send an archive: --archive or {ARCHIVE} (docs/clusters.md)."
)


def send_archive(session: Any, path: str) -> None:
    """Have a session's workers run the Python of an archive, as ./spark-submit.sh pack makes it.

    Args:
        session: A session of Spark Connect.
        path: The archive, on this machine, with ``bin/python`` in it.

    Raises:
        InputError: It is not there, or no archive that Spark Connect takes.
    """
    if not path.endswith(_SUFFIXES) or "#" in path:
        raise InputError(
            f"{path} is not an archive that Spark Connect takes; expected a path without # that "
            f"ends in one of {', '.join(_SUFFIXES)}."
        )
    if not os.path.isfile(path):
        raise InputError(
            f"there is no file {path}; expected an archive of this machine, as ./spark-submit.sh "
            "pack makes it."
        )
    session.addArtifacts(f"{path}#{_FOLDER}", archive=True)
    session.conf.set(_PYTHON, f"./{_FOLDER}/bin/python")


def check_workers(session: Any) -> None:
    """See that a session's workers have this vaeudf, before a job relies on it.

    Raises:
        InputError: They do not, or their Python is another one, or cannot be started.
    """
    try:
        (row,) = session.range(0, 1, 1, 1).mapInArrow(_version, "version string").collect()
    except PySparkException as error:
        text = str(error)
        if "PYTHON_VERSION_MISMATCH" in text:
            raise InputError(
                f"the server's Python workers are of another version ({root_cause(error)}). "
                f"{_REMEDY}"
            ) from None
        if (unable := _NO_PYTHON.search(text)) is not None:
            raise InputError(
                f"the server cannot start {unable[1]} for its Python workers "
                f"({root_cause(error)}). {_REMEDY}"
            ) from None
        missing = _MISSING.search(text)
        if missing is None:
            raise
        raise InputError(
            f"the server's Python workers have no module {missing[1]}. {_REMEDY}"
        ) from None
    if row["version"] != VERSION:
        raise InputError(
            f"the server's Python workers have vaeudf {row['version']}, and this is "
            f"{VERSION}; expected the same. {_REMEDY}"
        )


def _version(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for _ in batches:
        yield pa.RecordBatch.from_pydict({"version": [VERSION]})
