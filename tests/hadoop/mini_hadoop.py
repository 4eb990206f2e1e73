"""A real HDFS and YARN on this machine, a node of each in one process, on the loopback."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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


_QUEUES = {
    "yarn.scheduler.capacity.root.queues": "default",
    "yarn.scheduler.capacity.root.default.capacity": "100",
    "yarn.scheduler.capacity.maximum-am-resource-percent": "0.9",
}
# What an executor and a driver of conf/yarn.conf ask for; they use little of it.
_MEMORY = "32768"
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
        "yarn.resourcemanager.hostname": "127.0.0.1",
        "yarn.minicluster.yarn.nodemanager.resource.memory-mb": _MEMORY,
        "yarn.scheduler.maximum-allocation-mb": _MEMORY,
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
    java = Path(os.environ["JAVA_HOME"]) / "bin/java" if "JAVA_HOME" in os.environ else "java"
    details, log = root / "details.json", root / "hadoop.log"
    with open(log, "w") as stream:
        process = subprocess.Popen(
            [
                *(*prefix, java, "-Xmx1g", "-cp"),
                f"{site}:{jars}/*:{Path(pyspark.__file__).parent}/jars/*",
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
        deadline = time.monotonic() + 180
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
