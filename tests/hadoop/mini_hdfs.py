"""A real HDFS on this machine: a name node and a data node in one process, on the loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
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
"""


@dataclass(frozen=True)
class Hdfs:
    """An HDFS that is up.

    Attributes:
        uri: Its root, without a slash.
        conf: A folder for HADOOP_CONF_DIR. There this is the default file system; the active one of
            the two name nodes of ``hdfs://night``, of which the first is down; and what
            ``viewfs://shop`` mounts: its folder /stock at /data, and for the rest its root.
    """

    uri: str
    conf: Path


@contextmanager
def mini_hdfs(jars: Path, root: Path) -> Iterator[Hdfs]:
    """Start an HDFS, and stop it in the end.

    Args:
        jars: A folder with the jars of tests/hadoop/pom.xml.
        root: A folder for all that it writes.
    """
    site = root / "site"
    site.mkdir(parents=True)
    (site / "log4j2.properties").write_text(_LOG)
    port, nobody = free_ports(2)
    java = Path(os.environ["JAVA_HOME"]) / "bin/java" if "JAVA_HOME" in os.environ else "java"
    details, log = root / "details.json", root / "hdfs.log"
    with open(log, "w") as stream:
        process = subprocess.Popen(
            [
                *(java, "-Xmx512m", "-cp"),
                f"{site}:{jars}/*:{Path(pyspark.__file__).parent}/jars/*",
                *(_MAIN, "-format", "-nomr", "-datanodes", "1", "-nnport", str(port)),
                *("-writeDetails", str(details)),
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
        yield Hdfs(uri, write_configuration(root / "conf", uri, f"localhost:{nobody}"))
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
