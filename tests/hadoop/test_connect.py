"""A client of Spark Connect and a server that have nothing in common but a store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.connect_server import connect_server
from tests.support.connectors import s3a_jars
from tests.support.hidden import without
from tests.support.jobs import ROOT
from tests.support.object_store import make_bucket, object_store
from tests.support.scene import tree

pytestmark = pytest.mark.hadoop


def test_every_job_at_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not s3a_jars():
        pytest.skip("VAEUDF_TEST_JARS names no folder with the jars of Spark's connector in s3a/")
    client, there, empty = tmp_path / "client", tmp_path / "server", tmp_path / "empty"
    here = client / "work"
    for folder in (here, client / "cache", there, empty):
        folder.mkdir(parents=True)
    with object_store() as store:
        bucket = make_bucket(store, monkeypatch, "by Spark Connect")
        settings = {
            "spark.jars": ",".join(s3a_jars()),
            "spark.sql.shuffle.partitions": "3",
            "spark.log.level": "OFF",
            "spark.hadoop.fs.s3a.endpoint": store,
            "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
            "spark.hadoop.fs.s3a.access.key": "someone",
            "spark.hadoop.fs.s3a.secret.key": "secret",
        }
        unseen = without(client, empty)
        with connect_server(there, settings, python_path=str(ROOT), prefix=unseen) as url:
            job = (sys.executable, "-m", "tests.hadoop.run_every_job", f"{bucket}/a shop é")
            done = subprocess.run(
                [*without(there, empty), *job],
                capture_output=True,
                text=True,
                cwd=here,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "SPARK_REMOTE": url,
                    "XDG_CACHE_HOME": str(client / "cache"),
                },
            )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines()[-1] == "[]"
    assert tree(here) == {}
