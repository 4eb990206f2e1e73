"""The packed environment on a real cluster of two workers, with nothing of the checkout on it.

There is no Python on it either, but for what the archive brings.

Run by ``./spark-submit.sh test -m cluster``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cluster.conftest import NUM_ITEMS
from tests.cluster.standalone import PROPERTIES, Cluster, clean_environment, standalone_cluster
from tests.support.connect_server import connect_server
from tests.support.hidden import without_python
from tests.support.jobs import ROOT
from tests.support.nights import assert_same_table
from tests.support.tables import read
from vaeudf.workflows.cluster_catalog import ClusterCatalog, cluster_catalog
from vaeudf.workflows.query_topk import QueryTopk, query_topk

pytestmark = [pytest.mark.spark, pytest.mark.cluster]

WHERE = """
from pyspark.sql import SparkSession
def where(_):
    import os, sys, numpy, torch, vaeudf
    yield [os.getcwd(), *(module.__file__ for module in (numpy, torch, vaeudf)), *sys.path]
session = SparkSession.builder.getOrCreate()
for places in session.sparkContext.parallelize(range(8), 8).mapPartitions(where).collect():
    print("PLACES " + " ".join(places))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """Two workers from which the Python that the archive was made with is hidden."""
    root = tmp_path_factory.mktemp("cluster")
    (root / "empty").mkdir()
    with standalone_cluster(root, prefix=without_python(root / "empty")) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(packed, tmp_path_factory) -> Path:
    """The machine that jobs are submitted from: dist/ and the unpacked environment."""
    folder = tmp_path_factory.mktemp("gateway")
    shutil.copytree(packed / "jobs", folder / "jobs")
    shutil.copy(packed / "vaeudf.zip", folder)
    with tarfile.open(packed / "environment.tar.gz") as archive:
        archive.extractall(folder / "environment", filter="fully_trusted")
    (folder / "where.py").write_text(WHERE)
    return folder


@pytest.fixture
def submit(cluster, packed, gateway):
    def run(*words: str | Path, **properties: str) -> str:
        done = cluster.submit(
            [
                *("--archives", f"{(packed / 'environment.tar.gz').as_uri()}#environment"),
                *map(str, words),
            ],
            {key.replace("_", "."): value for key, value in properties.items()},
            {
                "PYSPARK_DRIVER_PYTHON": str(gateway / "environment/bin/python"),
                "PYSPARK_PYTHON": "./environment/bin/python",
            },
            cwd=gateway,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


def results(folder: Path) -> list[dict]:
    rows = [row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    return sorted(rows, key=lambda row: (row["query_id"], row["rank"]))


def test_encode_and_query_as_on_one_machine(
    spark, submit, cluster, packed, shop, bundle_path, queries, expected, tmp_path
):
    table, found = tmp_path / "posteriors", tmp_path / "results"
    options = ("--catalog", shop, "--model", bundle_path, "--table", table)
    summary = json.loads(submit("jobs/encode_catalog.py", *options).splitlines()[-1])
    assert summary["encoded"] == NUM_ITEMS and summary["application_id"].startswith("app-")
    assert_same_table(read(str(table)), read(expected))

    # Against the very same posteriors: the last digits of two runs of a network may differ.
    ask = ("--table", table, "--queries", queries, "--k", "10", "--output", found)
    summary = json.loads(submit("jobs/query_topk.py", *ask).splitlines()[-1])
    assert summary["queries"] == 40
    here = tmp_path / "here"
    query_topk(QueryTopk(table=str(table), queries=str(queries), k=10, output=str(here)))
    assert results(found) == results(here)
    assert len(results(found)) == 400

    # Other machines, other partitions, the same clusters to the last bit.
    clusters = tmp_path / "clusters"
    grouped = ("--table", table, "--k", "4", "--output", clusters)
    summary = json.loads(submit("jobs/cluster_catalog.py", *grouped).splitlines()[-1])
    options = ClusterCatalog(table=str(table), k=4, output=str(tmp_path / "clusters-here"))
    assert cluster_catalog(options)["objective"] == summary["objective"]
    for name in ("items", "centroids.parquet"):
        mine, theirs = (
            pq.read_table(folder / name) for folder in (tmp_path / "clusters-here", clusters)
        )
        by = "item_id" if name == "items" else "cluster"
        assert mine.sort_by(by) == theirs.sort_by(by)

    # Nothing was compiled on the cluster: it has what the archive brought, to the last byte.
    brought = set()
    with tarfile.open(packed / "environment.tar.gz") as archive:
        for member in archive:
            if member.name.endswith((".nbi", ".nbc")):
                brought.add((os.path.basename(member.name), archive.extractfile(member).read()))
    there = {
        (path.name, path.read_bytes())
        for folder in (*cluster.workers, cluster.home)
        for path in folder.rglob("*.nb[ic]")
    }
    assert brought and there == brought


def test_nothing_comes_from_the_checkout(submit, cluster):
    lines = [line for line in submit("where.py").splitlines() if line.startswith("PLACES")]
    assert len(lines) == 8
    assert len({line.split()[1] for line in lines}) == 2  # both workers were at work
    for line in lines:
        assert str(ROOT) not in line and sys.prefix not in line
        for module in line.split()[2:5]:
            assert any(module.startswith(str(folder)) for folder in cluster.workers)
            assert "/environment/lib/" in module


def test_the_package_alone_for_py_files(submit, gateway, cluster, expected, tmp_path):
    """It comes before what the environment has; a home that is not there is no hindrance."""
    lines = submit("--py-files", gateway / "vaeudf.zip", "where.py").splitlines()
    (first, *_) = [line for line in lines if line.startswith("PLACES")]
    assert "vaeudf.zip/vaeudf/__init__.py" in first.split()[4]
    answer = submit(
        *("--py-files", gateway / "vaeudf.zip", "--conf", "spark.executorEnv.HOME=/nonexistent"),
        *("jobs/query_topk.py", "--table", expected, "--z", "0,0,0,0", "--k", "3"),
    )
    assert json.loads(answer.splitlines()[-1])["items"] == NUM_ITEMS


def test_a_server_of_spark_connect(packed, bundle_path, shop, expected, tmp_path):
    """A server without any Python is sent the archive with the job's session."""
    server, empty = tmp_path / "server", tmp_path / "empty"
    for folder in (server, empty):
        folder.mkdir()
    table = tmp_path / "posteriors"
    with connect_server(server, PROPERTIES, prefix=without_python(empty)) as url:

        def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "vaeudf", *words, "--remote", url],
                env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
                capture_output=True,
                text=True,
                timeout=600,
            )

        words = ("encode_catalog", "--catalog", shop, "--model", bundle_path, "--table", table)
        alone = run(*words)
        assert (alone.returncode, alone.stdout) == (2, ""), alone.stderr
        assert "--archive or SPARK_REMOTE_ARCHIVE" in alone.stderr.splitlines()[-1]
        done = run(*words, "--archive", packed / "environment.tar.gz")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["encoded"] == NUM_ITEMS
    assert_same_table(read(str(table)), read(expected))


def test_from_the_checkout(cluster, packed, expected):
    """./spark-submit.sh uses what was packed as soon as the master is another machine."""
    properties = cluster.home / "spark.conf"
    properties.write_text("".join(f"{key} {value}\n" for key, value in PROPERTIES.items()))
    environment = {
        **{k: v for k, v in clean_environment(cluster.spark_home, cluster.home).items()},
        "SPARK_MASTER": cluster.url,
        "SPARK_CONF": str(properties),
        "VAEUDF_VENV": sys.prefix,
    }
    done = subprocess.run(
        [ROOT / "spark-submit.sh", "query_topk", "--table", expected, "--z", "0,0,0,0", "--k", "3"],
        env=environment,
        cwd=cluster.home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["items"] == NUM_ITEMS
