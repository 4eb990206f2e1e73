"""Jobs on a real YARN: the driver here or there, executors that are killed, too little memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyspark
import pytest
from pyarrow import fs

from tests.hadoop.mini_hadoop import (
    LARGER,
    URGENT,
    another_machine,
    ask_yarn,
    descendants,
    kill_all,
)
from tests.support.jobs import ROOT, submit, summary
from tests.support.nights import assert_same_table
from tests.support.results import read_results
from tests.support.scene import NUM_ITEMS
from tests.support.tables import read
from tests.support.versions import publish_rows
from vaeudf import PosteriorIndex
from vaeudf.storage.locations import filesystem
from vaeudf.table.runs import new_run_id
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

pytestmark = [pytest.mark.hadoop, pytest.mark.spark]

POISON = os.pathsep.join([f"{ROOT}/tests/faults/poison", str(ROOT)])
HOG = os.pathsep.join([f"{ROOT}/tests/hadoop/hog", str(ROOT)])


@pytest.fixture(scope="module")
def posteriors(hadoop) -> Iterator[str]:
    """A table on HDFS, named by the default file system."""
    rng = np.random.default_rng(3)
    mu, log_var = rng.normal(size=(2, 50, 3)).astype(np.float32)
    vectors = {
        name: pa.array(list(values), pa.list_(pa.float32()))
        for name, values in (("mu", mu), ("log_var", log_var))
    }
    ids = [f"item-{i}" for i in range(50)]
    rows = pa.table({"item_id": ids, **vectors, "source_version": ["v"] * len(ids)})
    uri = f"{hadoop.uri}/tables/posteriors"
    publish_rows(uri, new_run_id(), rows, "m")
    yield uri.replace(hadoop.uri, "hdfs://")


@pytest.fixture
def environment_of(hadoop, tmp_path) -> Callable[..., dict[str, str]]:
    """Gives variables to submit with by conf/yarn.conf, to nodes that run no service of Spark's."""

    def variables(deploy_mode: str, **properties: str | None) -> dict[str, str]:
        own = {
            "spark.executorEnv.PYTHONPATH": str(ROOT),
            "spark.yarn.appMasterEnv.PYTHONPATH": str(ROOT),
            # YARN's proxy adds a filter to the page while Spark makes it: on a slow machine Spark
            # then sometimes ends with "No filter named org.apache.spark.deploy.yarn.AmIpFilter".
            "spark.ui.enabled": "false",
            # They are not sent to a machine that they are on.
            "spark.yarn.jars": f"local:{Path(pyspark.__file__).parent}/jars/*",
            **{key.replace("__", "."): value for key, value in properties.items()},
        }
        given = (ROOT / "conf/yarn.conf").read_text().splitlines()
        kept = [line for line in given if line.split(" ")[0] not in own]
        # A test may have two jobs at a time.
        file = tmp_path / f"yarn-{len(list(tmp_path.glob('yarn-*')))}.conf"
        file.write_text(
            "\n".join([*kept, *(f"{key} {value}" for key, value in own.items() if value), ""])
        )
        return {
            "SPARK_MASTER": "yarn",
            "SPARK_DEPLOY_MODE": deploy_mode,
            "SPARK_CONF": str(file),
            "HADOOP_CONF_DIR": str(hadoop.conf),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
        }

    return variables


@pytest.fixture
def on_yarn(environment_of) -> Callable[..., object]:
    """Submits a job."""

    def run(*words: str, deploy_mode: str = "client", **properties: str | None):
        # Some wait for what else a test does.
        return submit(*words, timeout=1200, **environment_of(deploy_mode, **properties))

    return run


@pytest.mark.parametrize("deploy_mode", ["client", "cluster"])
def test_a_query(configured, posteriors, folder, on_yarn, deploy_mode):
    done = on_yarn(
        *("query_topk", "--table", posteriors, "--z", "0,0.5,1", "--k", "5"),
        *("--output", f"{folder}/results"),
        deploy_mode=deploy_mode,
    )
    found = summary(done)
    assert found["items"] == 50 and found["output"] == f"{folder}/results"
    assert done.stdout.count("\n") == 1
    assert ("running on YARN as application_" in done.stderr) == (deploy_mode == "cluster")
    (expected,), _ = PosteriorIndex.from_table(posteriors).search([[0, 0.5, 1]], k=5)
    assert [hit["item_id"] for hit in read_results(f"{folder}/results")] == list(expected)
    if deploy_mode == "cluster":
        assert left_in_staging(configured) == []


def left_in_staging(hadoop) -> list[str]:
    """What is left where Spark puts the files of applications."""
    files, inner = filesystem(f"{hadoop.uri}/user")
    found = files.get_file_info(fs.FileSelector(inner, recursive=True, allow_not_found=True))
    return [info.path for info in found if info.is_file and "/.sparkStaging/" in info.path]


def test_an_error_of_a_driver_on_yarn(hadoop, folder, on_yarn):
    """It ends the command as it does where the driver is here."""
    done = on_yarn(
        *("query_topk", "--table", f"{folder}/none", "--z", "0,0,0"), deploy_mode="cluster"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"error: table {folder}/none does not exist")
    assert left_in_staging(hadoop) == []


def end_of(hadoop, stderr: str) -> str:
    """What YARN says of the end of the application that a command has told of."""
    name = re.search(r"application_\d+_\d+", stderr)[0]
    deadline = time.monotonic() + 60
    while True:
        found = ask_yarn(hadoop.conf, f"apps/{name}")["app"]["finalStatus"]
        if found != "UNDEFINED" or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def test_a_job_that_needs_no_spark(hadoop, posteriors, folder, on_yarn):
    """YARN takes a driver for failed that has never started one."""
    done = on_yarn(
        *("maintain_table", "--table", posteriors),
        deploy_mode="cluster",
        spark__yarn__stagingDir=f"{folder}/staging",
    )
    assert summary(done)["table"] == posteriors
    assert end_of(hadoop, done.stderr) == "SUCCEEDED"
    files, inner = filesystem(f"{folder}/staging")
    found = files.get_file_info(fs.FileSelector(inner, recursive=True))
    assert found and not [info.path for info in found if info.is_file]


def test_ctrl_c_while_a_driver_is_on_yarn(hadoop, posteriors, environment_of):
    words = ["query_topk", "--table", posteriors, "--z", "0,0,0"]
    running = subprocess.Popen(
        [ROOT / "spark-submit.sh", *words],
        env={**os.environ, "VAEUDF_VENV": sys.prefix, **environment_of("cluster")},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    heard = ""
    for line in running.stderr:
        heard += line
        if "running on YARN as" in line:
            running.send_signal(signal.SIGINT)
            break
    heard += running.communicate(timeout=120)[1]
    assert running.returncode == 130, heard
    assert re.fullmatch(
        r"error: interrupted; YARN ends application_\w+\. Its driver is killed there, and may "
        r"leave unfinished files beside what it was to write\.",
        heard.splitlines()[-1],
    )
    assert end_of(hadoop, heard) == "KILLED"


def executors(pid: int, kind: bytes = b"ExecutorBackend") -> list[int]:
    """Return the executors, or Spark's processes of another kind, below a process."""
    found = []
    for one in descendants(pid):
        try:
            words = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        # Not the shells that have started it.
        if words[0].endswith(b"java") and any(kind in word for word in words):
            found.append(one)
    return found


def wait_until_encoded(table: str, running: Future) -> None:
    """Wait until something is encoded for a table that a job is to write."""
    files, inner = filesystem(table)
    staged = fs.FileSelector(f"{inner}/_staging", recursive=True, allow_not_found=True)
    while not any("/encoded" in info.path for info in files.get_file_info(staged)):
        assert not running.done(), running.result().stderr
        time.sleep(0.1)


def test_an_executor_is_killed_while_encoding(
    spark, hadoop, folder, image_folder, bundle_path, on_yarn, tmp_path
):
    """Nothing is lost, and nothing is there twice."""
    local = str(tmp_path / "posteriors")
    encode_catalog(EncodeCatalog(image_folder, bundle_path, local))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            on_yarn,
            *("encode_catalog", "--catalog", f"file:{image_folder}"),
            *("--model", bundle_path, "--table", f"{folder}/posteriors"),
            spark__executorEnv__PYTHONPATH=POISON,
            spark__executorEnv__VAEUDF_TEST_POISON="1",
            spark__executorEnv__VAEUDF_TEST_DELAY="0.2",
            spark__dynamicAllocation__maxExecutors="1",
        )
        wait_until_encoded(f"{folder}/posteriors", running)
        (victim,) = executors(hadoop.pid)
        time.sleep(1)  # within its tasks
        os.kill(victim, signal.SIGKILL)
        done = running.result()
    assert summary(done)["encoded"] == NUM_ITEMS
    found, expected = (
        read(uri).drop_columns("source_version") for uri in (f"{folder}/posteriors", local)
    )
    assert_same_table(found, expected)


def test_a_machine_is_lost_while_encoding(
    spark, hadoop, folder, image_folder, bundle_path, on_yarn, tmp_path
):
    """Its NodeManager, the executor on it, and what that has begun."""
    local, table = str(tmp_path / "posteriors"), f"{folder}/posteriors"
    encode_catalog(EncodeCatalog(image_folder, bundle_path, local))
    jars = Path(os.environ["VAEUDF_TEST_JARS"]).absolute() / "hadoop"
    with ExitStack() as machines, ThreadPoolExecutor(1) as pool:

        def bring(name: str) -> int:
            return machines.enter_context(another_machine(hadoop, jars, tmp_path / name))

        machine = bring("first")
        running = pool.submit(
            on_yarn,
            *("encode_catalog", "--catalog", f"file:{image_folder}"),
            *("--model", bundle_path, "--table", table),
            spark__executorEnv__PYTHONPATH=POISON,
            spark__executorEnv__VAEUDF_TEST_POISON="1",
            spark__executorEnv__VAEUDF_TEST_DELAY="0.2",
            spark__dynamicAllocation__maxExecutors="1",
            # There is no room for it but on the machines that come.
            spark__executor__memoryOverhead=f"{LARGER - 16 * 1024}m",
        )
        while not ask_yarn(hadoop.conf, "apps?states=RUNNING")["apps"]:
            assert not running.done(), running.result().stderr
            time.sleep(0.2)
        # What asks YARN for executors is to stay; where it is, there is no room beside it.
        if executors(machine, b"ExecutorLauncher"):
            machine = bring("second")
        wait_until_encoded(table, running)
        assert len(executors(machine)) == 1 and executors(hadoop.pid) == []
        time.sleep(1)  # within its tasks
        kill_all(machine)
        machine = bring("another")
        while not executors(machine):
            assert not running.done(), "the job has ended without it"
            time.sleep(0.1)
        done = running.result()
    assert summary(done)["encoded"] == NUM_ITEMS
    found, expected = (read(uri).drop_columns("source_version") for uri in (table, local))
    assert_same_table(found, expected)


def test_an_executor_is_taken_for_another_queue(
    spark, hadoop, posteriors, folder, image_folder, bundle_path, on_yarn, tmp_path
):
    """YARN pre-empts it, for an application that has a right to its share: nothing is lost."""
    local, table = str(tmp_path / "posteriors"), f"{folder}/posteriors"
    encode_catalog(EncodeCatalog(image_folder, bundle_path, local))
    hangs = tmp_path / "hangs"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            on_yarn,
            *("encode_catalog", "--catalog", f"file:{image_folder}"),
            *("--model", bundle_path, "--table", table),
            spark__executorEnv__PYTHONPATH=POISON,
            spark__executorEnv__VAEUDF_TEST_POISON="1",
            # The first executor is at work until it is taken.
            spark__executorEnv__VAEUDF_TEST_HANG_ONCE=str(hangs),
            # There is room for one of either application.
            spark__dynamicAllocation__maxExecutors="1",
        )
        while not hangs.exists():
            assert not running.done(), running.result().stderr
            time.sleep(0.2)
        ((night,),) = ask_yarn(hadoop.conf, "apps?states=RUNNING")["apps"].values()
        asked = on_yarn(
            *("query_topk", "--table", posteriors, "--z", "0,0.5,1", "--k", "5"),
            spark__yarn__queue=URGENT,
            spark__dynamicAllocation__maxExecutors="1",
        )
        assert summary(asked)["items"] == 50
        assert not running.done(), "the query was not to wait for the encode's end"
        done = running.result()
    assert summary(done)["encoded"] == NUM_ITEMS
    taken = ask_yarn(hadoop.conf, f"apps/{night['id']}")["app"]
    assert taken["numNonAMContainerPreempted"] == 1 and taken["numAMContainerPreempted"] == 0
    found, expected = (read(uri).drop_columns("source_version") for uri in (table, local))
    assert_same_table(found, expected)


MEMORY = {"spark__executor__memory": "512m", "spark__executor__memoryOverhead": "512m"}


def test_executors_that_are_killed_for_their_memory(posteriors, on_yarn):
    done = on_yarn(
        *("query_topk", "--table", posteriors, "--z", "0,0,0"),
        **MEMORY,
        spark__executor__cores="1",
        # With it, the worker would be refused the memory, and would live.
        spark__executor__pyspark__memory=None,
        spark__executorEnv__PYTHONPATH=HOG,
        spark__executorEnv__VAEUDF_TEST_HOG="1",
        spark__task__maxFailures="2",
    )
    assert (done.returncode, done.stdout) == (1, "")
    message = done.stderr.splitlines()[-1]
    assert message.startswith(
        "error: YARN killed executors, and each time the task was tried again"
    )
    assert " GB of physical memory. " in message
    assert (
        "Now spark.executor.memory is 512m, spark.executor.pyspark.memory is not set, "
        "spark.executor.memoryOverhead is 512m. Raise spark.executor.memoryOverhead"
    ) in message
    assert "\tat " not in done.stderr and "Traceback" not in done.stderr


def test_a_driver_that_is_killed_for_its_memory(posteriors, on_yarn):
    done = on_yarn(
        *("query_topk", "--table", posteriors, "--z", "0,0,0"),
        deploy_mode="cluster",
        spark__driver__memory="512m",
        spark__driver__memoryOverhead="512m",
        spark__yarn__appMasterEnv__PYTHONPATH=HOG,
        spark__yarn__appMasterEnv__VAEUDF_TEST_HOG="1",
    )
    assert (done.returncode, done.stdout) == (1, "")
    message = done.stderr.splitlines()[-1]
    assert message.startswith("error: YARN killed the driver, for using ")
    assert "Now spark.driver.memory is 512m, spark.driver.memoryOverhead is 512m. Raise" in message
    assert "\tat " not in done.stderr and "Traceback" not in done.stderr
