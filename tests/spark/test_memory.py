"""What is said of containers that YARN has killed for their memory."""

from __future__ import annotations

import pytest

from vaeudf.spark.memory import killed_for_memory

# As Spark and YARN write it, with what stands around it.
EXECUTOR = """An error occurred while calling o62.collectToPython.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 \
times, most recent failure: Lost task 0.3 in stage 0.0 (TID 3) (node7 executor 4): \
ExecutorLostFailure (executor 4 exited caused by one of the running tasks) Reason: Container \
killed by YARN for exceeding {kind} memory limits. {found} {kind} memory used. Consider boosting \
spark.executor.memoryOverhead.
Driver stacktrace:
\tat org.apache.spark.scheduler.DAGScheduler.$anonfun$abortStage$2(DAGScheduler.scala:2935)"""
DRIVER = (
    "AM Container for appattempt_1_0001_000001 exited with exitCode: -104 Failing this attempt."
    "Diagnostics: [2026-11-30 02:15:09.123]Container [pid=77,containerID=container_1_0001]"
    " is running 2254147584B beyond the 'PHYSICAL' memory limit. Current usage: 3.1 GB of 1 GB "
    "physical memory used; 6.2 GB of 2.1 GB virtual memory used. Killing container. Dump of the "
    "process-tree for container_1_0001_01_000001 : |- PID PPID"
)
SETTINGS = {
    "spark.executor.memory": "4g",
    "spark.executor.memoryOverhead": "2g",
    "spark.driver.memory": "1g",
}


def test_executors():
    text = EXECUTOR.format(kind="physical", found="6.1 GB of 6 GB")
    assert killed_for_memory(text, SETTINGS.get) == (
        "YARN killed executors, and each time the task was tried again, for using 6.1 GB of 6 GB "
        "of physical memory. Now spark.executor.memory is 4g, spark.executor.pyspark.memory is not "
        "set, spark.executor.memoryOverhead is 2g. Raise spark.executor.memoryOverhead, which is "
        "for what lives beside Java's heap, or lower spark.executor.cores, so that fewer Python "
        "workers share it."
    )


def test_a_driver():
    assert killed_for_memory(DRIVER, SETTINGS.get, on_driver=True) == (
        "YARN killed the driver, for using 3.1 GB of 1 GB of physical memory. Now "
        "spark.driver.memory is 1g, spark.driver.memoryOverhead is not set. Raise "
        "spark.driver.memoryOverhead, which is for what lives beside Java's heap."
    )


@pytest.mark.parametrize("on_driver", [False, True])
def test_virtual_memory(on_driver):
    """Of which Java alone takes more than YARN allows by default."""
    text = EXECUTOR.format(kind="virtual", found="6.2 GB of 2.1 GB")
    if on_driver:
        text = DRIVER.replace("PHYSICAL", "VIRTUAL")
    said = killed_for_memory(text, SETTINGS.get, on_driver=on_driver)
    assert "for using 6.2 GB of 2.1 GB of virtual memory. " in str(said)
    assert "set yarn.nodemanager.vmem-check-enabled to false in the cluster's yarn-" in str(said)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "java.lang.OutOfMemoryError: Java heap space",
        "ExecutorLostFailure (executor 1 exited caused by one of the running tasks) Reason: "
        "Container marked as failed: container_1 on host: node7. Exit status: 1.",
    ],
)
def test_other_ends(text):
    assert killed_for_memory(text, SETTINGS.get) is None
