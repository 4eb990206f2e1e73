"""Python workers whose address space is limited, as the properties for clusters have it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.jobs import ROOT

# As many threads as fetch images from a store, each with some memory of its own, in a worker that
# has imported what an encoder needs.
_TASK = """
import json, sys
from vaeudf.spark.classic_session import session_builder

def work(_):
    import resource, threading
    import deltalake, pyarrow, torch

    pyarrow.array(range(1000))
    there, ended, kept = threading.Barrier(33), threading.Event(), []

    def fetch():
        kept.append([bytes(1000 + i) for i in range(1000)])
        there.wait()
        ended.wait()

    threads = [threading.Thread(target=fetch, daemon=True) for _ in range(32)]
    try:
        for thread in threads:
            thread.start()
        there.wait(60)
    finally:
        ended.set()
    yield len(kept), resource.getrlimit(resource.RLIMIT_AS)[0]

session = session_builder("limited").master("local[1,1]").getOrCreate()
print(json.dumps(session.sparkContext.parallelize([0], 1).mapPartitions(work).collect()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits it")
def test_all_threads_that_fetch_images_can_start():
    limits = "--conf spark.executor.pyspark.memory=2g --conf spark.ui.enabled=false"
    done = subprocess.run(
        [sys.executable, "-c", _TASK],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYSPARK_SUBMIT_ARGS": f"--master local[1,1] {limits} pyspark-shell",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == [[32, 2 * 1024**3]]
