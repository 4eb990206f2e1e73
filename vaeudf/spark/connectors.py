"""Whether Spark has what opens a store: a connector of Hadoop's, from a package of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from py4j.protocol import Py4JJavaError

from vaeudf.errors import InputError
from vaeudf.storage.locations import is_local, spark_uri


def check_jvm(jvm: Any, configuration: Any, paths: Sequence[str]) -> None:
    """Refuse paths that Spark cannot open; nothing is asked of their stores.

    Args:
        jvm: As py4j gives it. Spark need not run in it.
        configuration: Hadoop's, there.
        paths: What Spark is to read or write.

    Raises:
        InputError: It has no connector for the store of one.
    """
    for path in paths:
        if is_local(path):
            continue
        scheme = spark_uri(path).partition(":")[0]
        try:
            jvm.org.apache.hadoop.fs.FileSystem.getFileSystemClass(scheme, configuration)
        except Py4JJavaError:
            raise no_connector(path, scheme) from None


def no_connector(path: str, scheme: str) -> InputError:
    """Return the error that says that Spark cannot open the store that a path is in."""
    return InputError(
        f"{path} is in a store that this Spark cannot open: it has no connector for "
        f"{scheme}://, which this job needs. docs/clusters.md says which packages to "
        "add, with spark.jars.packages or --packages."
    )
