"""Executors and Python workers of a real cluster are killed, stopped or slow.

Run by ``./spark-submit.sh test -m faults``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.conftest import NUM_ITEMS
from tests.cluster.standalone import Cluster
from tests.support.jobs import ROOT
from tests.support.nights import assert_same_table
from tests.support.scene import tree
from tests.support.tables import read
from vaeudf.table.open import open_table

pytestmark = [pytest.mark.spark, pytest.mark.faults]

DELAY = "spark.executorEnv.VAEUDF_TEST_DELAY"


@dataclass(frozen=True)
class Night:
    """encode_catalog on the cluster, with the checkout's own Python there."""

    cluster: Cluster
    catalog: Path
    model: str
    table: str

    def run(self, properties: dict[str, str]) -> subprocess.CompletedProcess[str]:
        path = f"{ROOT}/tests/faults/poison{os.pathsep}{ROOT}"
        own = {"spark.executorEnv.PYTHONPATH": path, "spark.executorEnv.VAEUDF_TEST_POISON": "1"}
        options = ("--catalog", self.catalog, "--model", self.model, "--table", self.table)
        return self.cluster.submit(
            [f"{ROOT}/jobs/encode_catalog.py", *map(str, options)],
            {**own, **properties},
            {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
            cwd=self.cluster.home,
        )

    def run_and(self, harm: Callable[[], None], properties: dict[str, str]) -> dict:
        """Do harm as soon as the first chunk is there; return the job's summary."""
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.run, {DELAY: "0.05", **properties})
            while not list(Path(self.table).glob("_staging/*/encoded/chunk-*.parquet")):
                assert not running.done(), running.result().stdout + running.result().stderr
                time.sleep(0.02)
            harm()
            return summary_of(running.result())

    def check(self, summary: dict, expected: str) -> None:
        assert summary["encoded"] == NUM_ITEMS and summary["quarantined"] == {}
        assert_same_table(read(self.table), read(expected))
        assert not [path for path in tree(self.table) if path.startswith("_staging")]
        assert open_table(self.table).version == 1


@pytest.fixture
def night(cluster, shop, bundle_path, tmp_path) -> Night:
    return Night(cluster, shop, bundle_path, str(tmp_path / "posteriors"))


def summary_of(finished: subprocess.CompletedProcess[str]) -> dict:
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    summary: dict = json.loads(finished.stdout.splitlines()[-1])
    return summary


def processes(word: str, folder: Path) -> list[int]:
    """Return the processes with a word in their command line that run in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
                inside = Path(os.readlink(entry / "cwd")).is_relative_to(folder)
            except OSError:
                continue
            if word in words and inside:
                found.append(int(entry.name))
    assert found
    return found


def test_executors_are_killed(night, cluster, expected):
    def harm() -> None:
        for folder in cluster.workers:
            os.kill(processes("CoarseGrainedExecutorBackend", folder)[0], signal.SIGKILL)
            time.sleep(5)

    night.check(night.run_and(harm, {}), expected)


def test_python_workers_are_killed(night, cluster, expected):
    def harm() -> None:
        for folder in cluster.workers:
            for victim in processes("pyspark.daemon", folder):
                os.kill(victim, signal.SIGKILL)

    night.check(night.run_and(harm, {}), expected)


def test_a_python_worker_hangs(night, expected, tmp_path):
    """It neither works nor ends, where its own watchdog does not see it: the idle kill has it."""
    finished = night.run(
        {
            "spark.executorEnv.VAEUDF_TEST_HANG_ONCE": str(tmp_path / "hangs"),
            "spark.python.worker.idleTimeoutSeconds": "10",
            "spark.python.worker.killOnIdleTimeout": "true",
        }
    )
    assert (tmp_path / "hangs").exists()
    night.check(summary_of(finished), expected)


def test_speculation(night, expected, tmp_path):
    """On one host an image takes 2 seconds: what it has begun is done elsewhere too."""
    events = tmp_path / "events"
    events.mkdir()
    finished = night.run(
        {
            "spark.executorEnv.VAEUDF_TEST_DELAY_OF_SLOW_HOST": "2",
            "spark.speculation": "true",
            "spark.speculation.quantile": "0.3",
            "spark.speculation.multiplier": "1.5",
            "spark.speculation.minTaskRuntime": "1s",
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": f"file://{events}",
            "spark.eventLog.compress": "false",
        }
    )
    night.check(summary_of(finished), expected)
    ended = [
        json.loads(line)
        for file in events.rglob("*")
        if file.is_file()
        for line in file.read_text().splitlines()
        if "SparkListenerTaskEnd" in line
    ]
    won = [event for event in ended if event["Task Info"]["Speculative"]]
    assert [event for event in won if event["Task End Reason"]["Reason"] == "Success"]
