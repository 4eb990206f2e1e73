"""Runs encode_catalog and is killed on the way: POINT VICTIM CATALOG MODEL TABLE KEEP.

POINT is a step of the job, ``before:NAME`` or ``after:NAME``, or ``chunk``: when the first chunk is
there. VICTIM is ``python``, this process, or ``jvm``, the one it has started. KEEP is ``keep`` if
pixels are kept.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from deltalake import DeltaTable
from pyspark import SparkContext

from vaeudf.encoding import udf as encoding
from vaeudf.spark.classic_session import session_builder
from vaeudf.table import publish as publishing
from vaeudf.workflows import encode_catalog as workflow

HOLDERS = {"create_write_transaction": DeltaTable, "create_delta": publishing}


def kill(victim: str) -> None:
    if victim == "python":
        os.kill(os.getpid(), signal.SIGKILL)
    context = SparkContext._active_spark_context
    assert context is not None and context._gateway is not None
    os.kill(context._gateway.proc.pid, signal.SIGKILL)


def arm(point: str, victim: str, folder: str) -> None:
    when, _, name = point.partition(":")
    if when == "chunk":

        def watch() -> None:
            while not list(Path(folder).glob("_staging/*/encoded/chunk-*.parquet")):
                time.sleep(0.005)
            kill(victim)

        threading.Thread(target=watch, daemon=True).start()
        return
    holder = HOLDERS.get(name, workflow)
    real = getattr(holder, name)

    def dying(*arguments, **others):  # type: ignore[no-untyped-def]
        if when == "before":
            kill(victim)
        found = real(*arguments, **others)
        if when == "after":
            kill(victim)
        return found

    setattr(holder, name, dying)


def main() -> None:
    point, victim, catalog, model, folder, keep = sys.argv[1:]
    encoding._FEWEST_PER_CHUNK = 5
    builder = session_builder("dies").master("local[2,2]")
    for key, value in {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "3",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.log.level": "OFF",
    }.items():
        builder = builder.config(key, value)
    builder.getOrCreate()
    arm(point, victim, folder)
    options = workflow.EncodeCatalog(
        catalog, model, folder, max_error_fraction=0.5, keep_pixels=keep == "keep"
    )
    workflow.encode_catalog(options)


if __name__ == "__main__":
    main()
