"""Executors and drivers that YARN has killed for their memory: which, and what to set."""

from __future__ import annotations

import re
from collections.abc import Callable

# The first is of Spark, about executors; the second of YARN, about the container of a driver.
_KILLED = (
    r"Container killed by YARN for exceeding (?P<kind>physical|virtual) memory limits\. "
    r"(?P<found>[\d.]+ \w+ of [\d.]+ \w+) (?:physical|virtual) memory used",
    r"beyond the '(?P<kind>PHYSICAL|VIRTUAL)' memory limit\. Current usage: "
    r"(?P<found>[\d.]+ \w+ of [\d.]+ \w+) physical memory used"
    r"(?:; (?P<virtual>[\d.]+ \w+ of [\d.]+ \w+) virtual memory used)?",
)
_EXECUTOR = (
    "spark.executor.memory",
    "spark.executor.pyspark.memory",
    "spark.executor.memoryOverhead",
)
_DRIVER = ("spark.driver.memory", "spark.driver.memoryOverhead")


def killed_for_memory(
    text: str, setting: Callable[[str], str | None], *, on_driver: bool = False
) -> str | None:
    """Return what to say where YARN has killed a container for its memory, else None.

    Args:
        text: What Spark or YARN says of the end.
        setting: Gives an application's property, or None.
        on_driver: Whether it is the driver's container, else an executor's.
    """
    matches = (re.search(pattern, text) for pattern in _KILLED)
    match = next(filter(None, matches), None)
    if match is None:
        return None
    groups = match.groupdict()
    is_virtual = match["kind"].lower() == "virtual"
    found = (groups.get("virtual") or match["found"]) if is_virtual else match["found"]
    whose = "the driver" if on_driver else "executors, and each time the task was tried again"
    kind = "virtual" if is_virtual else "physical"
    said = f"YARN killed {whose}, for using {found} of {kind} memory."
    if is_virtual:
        return (
            f"{said} Virtual memory is address space, of which Java and Python take much and use "
            "little: set yarn.nodemanager.vmem-check-enabled to false in the cluster's "
            "yarn-site.xml, or raise yarn.nodemanager.vmem-pmem-ratio there."
        )
    keys = _DRIVER if on_driver else _EXECUTOR
    used = ", ".join(f"{key} is {setting(key) or 'not set'}" for key in keys)
    advice = f"Raise {keys[-1]}, which is for what lives beside Java's heap"
    if not on_driver:
        advice += ", or lower spark.executor.cores, so that fewer Python workers share it"
    return f"{said} Now {used}. {advice}."
