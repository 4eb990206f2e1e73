"""A real standalone cluster on this machine: a master, and workers on addresses of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

PROPERTIES = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.executor.memory": "1g",
    "spark.sql.shuffle.partitions": "4",
    "spark.log.level": "ERROR",
}


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up.

    Attributes:
        url: Its master.
        spark_home: The Spark that it runs, outside the checkout.
        home: The home folder of everybody on it.
        workers: Each worker's folder, in which its executors run.
        prefix: What commands that run on it begin with.
    """

    url: str
    spark_home: Path
    home: Path
    workers: tuple[Path, ...]
    prefix: tuple[str, ...] = ()

    def submit(
        self,
        arguments: Sequence[str | Path],
        properties: Mapping[str, str],
        environment: Mapping[str, str],
        cwd: Path,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        """Run spark-submit, with nothing of this process's environment but Java.

        What executors of earlier applications have left is removed first.
        """
        # What earlier applications have unpacked: gigabytes each.
        for folder in self.workers:
            for old in folder.glob("app-*"):
                shutil.rmtree(old, ignore_errors=True)
        conf = [
            word
            for key, value in {**PROPERTIES, **properties}.items()
            for word in ("--conf", f"{key}={value}")
        ]
        return subprocess.run(
            [
                *self.prefix,
                self.spark_home / "bin/spark-submit",
                "--master",
                self.url,
                *conf,
                *arguments,
            ],
            env={**clean_environment(self.spark_home, self.home), **environment},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@contextmanager
def standalone_cluster(
    root: Path,
    hosts: Sequence[str] = ("127.0.0.2", "127.0.0.3"),
    cores: int = 2,
    environments: Mapping[str, Mapping[str, str]] | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[Cluster]:
    """Start a cluster, and stop it in the end.

    Args:
        root: A folder for all that it writes.
        hosts: The workers' addresses.
        cores: How many tasks each runs at a time.
        environments: What some hosts' executors have in their environment besides.
        prefix: What the workers' commands, and those of who submits, begin with.
    """
    home = root / "home"
    home.mkdir(parents=True)
    spark_home = copy_of_spark(root / "spark")
    port = free_port()
    url = f"spark://127.0.0.1:{port}"
    with ExitStack() as running:
        running.enter_context(
            daemon(
                root / "master.log",
                spark_home,
                {**clean_environment(spark_home, home), "SPARK_LOCAL_IP": "127.0.0.1"},
                "org.apache.spark.deploy.master.Master",
                *("--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"),
                ready="I have been elected leader",
            )
        )
        folders = []
        for host in hosts:
            folder = root / f"worker-{host}"
            own = (environments or {}).get(host, {})
            running.enter_context(
                daemon(
                    root / f"worker-{host}.log",
                    spark_home,
                    {**clean_environment(spark_home, home), "SPARK_LOCAL_IP": host, **own},
                    "org.apache.spark.deploy.worker.Worker",
                    *("--host", host, "--webui-port", "0", "--cores", str(cores)),
                    *("--memory", "4g", "--work-dir", str(folder), url),
                    ready="Successfully registered with master",
                    prefix=prefix,
                )
            )
            folders.append(folder)
        try:
            yield Cluster(url, spark_home, home, tuple(folders), tuple(prefix))
        finally:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def daemon(
    log: Path,
    spark_home: Path,
    environment: Mapping[str, str],
    *command: str,
    ready: str,
    prefix: Sequence[str] = (),
) -> Iterator[None]:
    """Run one of Spark's servers until the block ends."""
    with open(log, "w") as stream:
        process = subprocess.Popen(
            [*prefix, spark_home / "bin/spark-class", *command],
            env=dict(environment),
            cwd=log.parent,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 60
        while ready not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def copy_of_spark(target: Path) -> Path:
    """Put the pip package's Spark elsewhere, by hard links where these can be made."""

    def copy(source: str, goal: str) -> None:
        try:
            os.link(source, goal)
        except OSError:
            shutil.copy2(source, goal)

    shutil.copytree(Path(pyspark.__file__).parent, target, copy_function=copy)
    return target


def clean_environment(spark_home: Path, home: Path) -> dict[str, str]:
    """Return an environment in which nothing leads to the checkout."""
    kept = {name: os.environ[name] for name in ("JAVA_HOME", "LANG") if name in os.environ}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    java = shutil.which("java")
    if java is not None:
        path = f"{Path(java).resolve().parent}:{path}"
    return {**kept, "PATH": path, "HOME": str(home), "SPARK_HOME": str(spark_home)}


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])
