"""A real HDFS and YARN on this machine, a node of each in one process, on the loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from xml.etree import ElementTree

import pyspark

_MAIN = "org.apache.hadoop.mapreduce.MiniHadoopClusterManager"
_LOG = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d %p %c{1}: %m%n
logger.audit.name = org.apache.hadoop.hdfs.server.namenode.FSNamesystem.audit
logger.audit.level = info
"""


# A queue in which applications have the right to most of the machines. Nobody is in it by default;
# until then the others have all of them.
URGENT = "urgent"
_SHARES = {"default": "40", URGENT: "60"}
_QUEUES = {
    "yarn.scheduler.capacity.root.queues": ",".join(_SHARES),
    "yarn.scheduler.capacity.maximum-am-resource-percent": "0.9",
    **{
        f"yarn.scheduler.capacity.root.{queue}.{key}": value
        for queue, share in _SHARES.items()
        for key, value in {
            "capacity": share,
            "maximum-capacity": "100",
            "user-limit-factor": "10",
        }.items()
    },
}
# What is above a queue's share is taken back after a second, where others ask for theirs.
_PREEMPTION = {
    "yarn.resourcemanager.scheduler.monitor.enable": "true",
    **{
        f"yarn.resourcemanager.monitor.capacity.preemption.{key}": value
        for key, value in {
            "monitoring_interval": "500",
            "max_wait_before_kill": "1000",
            "total_preemption_per_round": "1.0",
            "natural_termination_factor": "1.0",
        }.items()
    },
}
# What an executor and a driver of conf/yarn.conf ask for, in MB; they use little of it.
_MEMORY = "32768"
# What a container has, in MB, for which there is only room on a machine that a test brings.
LARGER = 36_864
# Each turns off the watch over memory, unless it is told not to.
_MONITORS = (
    "yarn.minicluster.control-resource-monitoring",
    "mapreduce.minicluster.control-resource-monitoring",
)
_ADDRESSES = ("scheduler", "resource-tracker", "admin", "webapp")


@dataclass(frozen=True)
class Hadoop:
    """An HDFS and a YARN that are up.

    Attributes:
        uri: Its root, without a slash.
        pid: The process that all of it runs in; containers are among its descendants.
        conf: A folder for HADOOP_CONF_DIR. There this is the default file system; the active one of
            the two name nodes of ``hdfs://night``, of which the first is down; and what
            ``viewfs://shop`` mounts: its folder /stock at /data, and for the rest its root.
        log: What all of it says; the name node says there what it is asked for.
    """

    uri: str
    conf: Path
    pid: int
    log: Path

    def opened(self, path: str) -> list[str]:
        """Return what has been opened to be read below a path of HDFS, in order."""
        asked = re.findall(r"\tcmd=open\tsrc=([^\t]+)\t", self.log.read_text())
        # Other characters than ASCII's stand there as Java writes them.
        names = (re.sub(r"\\u([0-9A-F]{4})", lambda code: chr(int(code[1], 16)), n) for n in asked)
        return [name for name in names if name.startswith(f"{path}/")]


@contextmanager
def mini_hadoop(jars: Path, root: Path, prefix: Sequence[str] = ()) -> Iterator[Hadoop]:
    """Start both, and stop them in the end.

    Args:
        jars: A folder with the jars of tests/hadoop/pom.xml.
        root: A folder for all that it writes.
        prefix: What the command that starts it begins with.
    """
    site = root / "site"
    site.mkdir(parents=True)
    (site / "log4j2.properties").write_text(_LOG)
    write_properties(site / "capacity-scheduler.xml", _QUEUES)
    port, nobody, manager, *others = free_ports(3 + len(_ADDRESSES))
    addresses = {
        "yarn.resourcemanager.address": f"127.0.0.1:{manager}",
        **{
            f"yarn.resourcemanager.{name}.address": f"127.0.0.1:{other}"
            for name, other in zip(_ADDRESSES, others, strict=True)
        },
    }
    settings = {
        **addresses,
        **_PREEMPTION,
        "yarn.resourcemanager.hostname": "127.0.0.1",
        "yarn.minicluster.yarn.nodemanager.resource.memory-mb": _MEMORY,
        "yarn.scheduler.maximum-allocation-mb": str(LARGER),
        # A machine that is gone is given up after so long, in place of ten minutes.
        "yarn.nm.liveness-monitor.expiry-interval-ms": "15000",
        "yarn.nodemanager.vmem-check-enabled": "false",
        # Containers that use more memory than they have asked for are killed, by the watch that
        # Hadoop leaves to cgroups unless it is told that these do not enforce it.
        "yarn.nodemanager.resource.memory.enforced": "false",
        **dict.fromkeys(_MONITORS, "true"),
        "yarn.nodemanager.container-monitor.interval-ms": "500",
        **{
            f"mapreduce.jobhistory.{name}address": "127.0.0.1:0"
            for name in ("", "admin.", "webapp.")
        },
    }
    details, log = root / "details.json", root / "hadoop.log"
    with open(log, "w") as stream:
        process = subprocess.Popen(
            [
                *(*prefix, *_java(site, jars)),
                *(_MAIN, "-format", "-datanodes", "1", "-nodemanagers", "1"),
                *("-nnport", str(port), "-rmport", str(manager), "-writeDetails", str(details)),
                *(word for pair in settings.items() for word in ("-D", "=".join(pair))),
            ],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 600
        while not details.exists():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        uri = f"hdfs://localhost:{port}"
        conf = write_configuration(root / "conf", uri, f"localhost:{nobody}")
        write_properties(conf / "yarn-site.xml", addresses)
        yield Hadoop(uri, conf, process.pid, log)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(root / "target", ignore_errors=True)


@contextmanager
def another_machine(hadoop: Hadoop, jars: Path, root: Path) -> Iterator[int]:
    """Let YARN have one more machine, with room for one container of ``LARGER``, and no other.

    Yields:
        The process that runs it; containers are among its descendants. All of them are killed in
        the end, if a test has not done so.
    """
    root.mkdir()
    (root / "log4j2.properties").write_text(_LOG)
    shutil.copy(hadoop.conf / "core-site.xml", root)
    port, localizer, page = free_ports(3)
    settings = {
        **properties_of(hadoop.conf / "yarn-site.xml"),
        "yarn.nodemanager.hostname": "127.0.0.1",
        "yarn.nodemanager.address": f"127.0.0.1:{port}",
        "yarn.nodemanager.localizer.address": f"127.0.0.1:{localizer}",
        "yarn.nodemanager.webapp.address": f"127.0.0.1:{page}",
        "yarn.nodemanager.resource.memory-mb": str(LARGER),
        "yarn.nodemanager.local-dirs": f"{root}/local",
        "yarn.nodemanager.log-dirs": f"{root}/logs",
        "yarn.nodemanager.vmem-check-enabled": "false",
        "yarn.nodemanager.disk-health-checker.enable": "false",
    }
    write_properties(root / "yarn-site.xml", settings)
    with open(root / "node.log", "w") as stream:
        process = subprocess.Popen(
            [*_java(root, jars), "org.apache.hadoop.yarn.server.nodemanager.NodeManager"],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        while f":{port}" not in str(ask_yarn(hadoop.conf, "nodes?states=RUNNING")):
            assert process.poll() is None, (root / "node.log").read_text()
            time.sleep(0.2)
        yield process.pid
    finally:
        kill_all(process.pid)
        process.wait(60)
        shutil.rmtree(root, ignore_errors=True)


def ask_yarn(conf: Path, what: str) -> Any:
    """Return what the ResourceManager answers of applications or machines."""
    address = properties_of(conf / "yarn-site.xml")["yarn.resourcemanager.webapp.address"]
    with urlopen(f"http://{address}/ws/v1/cluster/{what}") as answer:
        return json.load(answer)


def descendants(pid: int) -> list[int]:
    """Return a process and all that it has started, directly or not."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def kill_all(pid: int) -> None:
    """Kill a process and all that it has started, as a machine ends whose power fails."""
    for one in descendants(pid):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _java(site: Path, jars: Path) -> list[str | Path]:
    """Return how Java is started with Hadoop, whose configuration is in a folder."""
    java = Path(os.environ["JAVA_HOME"]) / "bin/java" if "JAVA_HOME" in os.environ else "java"
    # Without its native library, Hadoop starts a chmod for each file that it unpacks. So that takes
    # the least time.
    mechanism = "-Djdk.lang.Process.launchMechanism=VFORK"
    return [
        java,
        "-Xmx1g",
        mechanism,
        "-cp",
        f"{site}:{jars}/*:{Path(pyspark.__file__).parent}/jars/*",
    ]


def write_configuration(folder: Path, uri: str, nobody: str) -> Path:
    """Write what a client needs, and return the folder."""
    folder.mkdir()
    write_properties(
        folder / "core-site.xml",
        {
            "fs.defaultFS": uri,
            "fs.viewfs.mounttable.shop.link./data": f"{uri}/stock",
            "fs.viewfs.mounttable.shop.linkFallback": f"{uri}/",
        },
    )
    write_properties(
        folder / "hdfs-site.xml",
        {
            "dfs.nameservices": "night",
            "dfs.ha.namenodes.night": "first,second",
            "dfs.namenode.rpc-address.night.first": nobody,
            "dfs.namenode.rpc-address.night.second": uri.removeprefix("hdfs://"),
            "dfs.client.failover.proxy.provider.night": (
                "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
            ),
        },
    )
    return folder


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Write a file of properties as Hadoop reads it."""
    rows = (
        f"<property><name>{key}</name><value>{value}</value></property>"
        for key, value in properties.items()
    )
    path.write_text(
        '<?xml version="1.0"?>\n<configuration>\n' + "\n".join(rows) + "\n</configuration>\n"
    )


def properties_of(path: Path) -> dict[str, str]:
    """Read a file of properties."""
    rows = ElementTree.parse(path).iter("property")
    return {str(row.findtext("name")): str(row.findtext("value")) for row in rows}


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at."""
    servers = [socket.socket() for _ in range(count)]
    try:
        for server in servers:
            server.bind(("127.0.0.1", 0))
        return [int(server.getsockname()[1]) for server in servers]
    finally:
        for server in servers:
            server.close()
