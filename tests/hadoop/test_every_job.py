"""Every job with all its paths in a store that Spark has a connector for."""

from __future__ import annotations

import pytest

from tests.support.connectors import let_workers_use, s3a_jars, use_store
from tests.support.every_job import Jobs, ask_and_look, left_out, make_models, put_inputs, try_demo
from tests.support.object_store import make_bucket, object_store
from tests.support.scene import tree

pytestmark = [pytest.mark.hadoop, pytest.mark.spark]


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """Let the jobs run where nothing else is, and see that they leave nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    assert tree(here) == {}


def run_all(root: str) -> None:
    jobs = Jobs()
    put_inputs(root)
    make_models(jobs, root)
    ask_and_look(jobs, root)
    try_demo(jobs, root)
    assert left_out(jobs) == []


def test_on_s3(spark, monkeypatch):
    if not s3a_jars():
        pytest.skip("VAEUDF_TEST_JARS names no folder with the jars of Spark's connector in s3a/")
    with object_store() as server:
        bucket = make_bucket(server, monkeypatch, "every job")
        use_store(spark, server)
        let_workers_use(spark, monkeypatch)
        run_all(f"{bucket}/a shop é")


def test_on_hdfs(spark, folder):
    run_all(folder)
