"""The properties files in conf/, as far as they can be looked at without such clusters."""

from __future__ import annotations

import re
from pathlib import Path

import pyspark
import pytest

from vaeudf.spark.launch import CONF

FOLDER = Path(__file__).parents[2] / "conf"
FILES = [*sorted(FOLDER.glob("*.conf")), CONF / "local.conf"]


def properties(path: Path) -> dict[str, str]:
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
    assert all(len(pair) == 2 for pair in pairs), pairs
    found = dict(pairs)
    assert len(found) == len(pairs)  # Spark would take the last of two, without a word
    return found


def test_there_is_one_for_each_kind_of_cluster():
    assert [path.stem for path in FILES] == ["kubernetes", "standalone", "yarn", "local"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_the_jobs_rely_on(path):
    found = properties(path)
    assert all(key.startswith("spark.") for key in found)
    # The second attempt tells an image apart that brings its worker down; no executor or machine
    # may be left out for that.
    assert int(found.get("spark.task.maxFailures", "4")) >= 2
    assert found.get("spark.excludeOnFailure.enabled", "false") == "false"
    assert found["spark.python.worker.faulthandler.enabled"] == "true"


@pytest.mark.parametrize("name", ["yarn", "kubernetes"])
def test_executors_come_without_a_service_on_the_nodes(name):
    """Where that is asked for and not there, none ever starts."""
    found = properties(FOLDER / f"{name}.conf")
    assert found["spark.dynamicAllocation.enabled"] == "true"
    assert found["spark.dynamicAllocation.shuffleTracking.enabled"] == "true"
    assert "spark.shuffle.service.enabled" not in found


def test_python_workers_on_yarn_find_hadoops_configuration():
    """Where Spark's client puts it (LOCALIZED_HADOOP_CONF_DIR)."""
    found = properties(FOLDER / "yarn.conf")
    assert found["spark.executorEnv.HADOOP_CONF_DIR"] == "./__spark_conf__/__hadoop_conf__"


# Where Spark keeps its settings, each an object that knows them once it is there.
SETTINGS = (
    *("internal.config.package", "internal.config.Python", "internal.config.UI"),
    *("deploy.k8s.Config", "deploy.yarn.config.package", "sql.internal.SQLConf"),
)
# With any name behind it.
ENVIRONMENTS = ("spark.executorEnv.", "spark.yarn.appMasterEnv.")
SINCE_4_1 = {"spark.python.worker.killOnIdleTimeout"}


@pytest.mark.spark
@pytest.mark.classic
def test_spark_knows_every_property(spark):
    """Of one that is misspelt it says nothing."""
    loader = spark._jvm.java.lang.Thread.currentThread().getContextClassLoader()
    for name in SETTINGS:
        spark._jvm.java.lang.Class.forName(f"org.apache.spark.{name}$", True, loader)
    entries = spark._jvm.org.apache.spark.internal.config.ConfigEntry
    keys = {
        key
        for path in FILES
        for key in properties(path)
        if not key.startswith(ENVIRONMENTS)
        and not (key in SINCE_4_1 and pyspark.__version__.startswith("4.0"))
    }
    assert entries.findEntry("spark.executor.coresx") is None
    assert [key for key in keys if entries.findEntry(key) is None] == []


def test_the_image_has_the_spark_of_the_driver():
    pinned = (FOLDER.parent / "constraints.txt").read_text()
    newest = max(re.findall(r"^pyspark==([\d.]+)", pinned, re.MULTILINE))
    (base,) = re.findall(r"^FROM (\S+)$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    named = properties(FOLDER / "kubernetes.conf")["spark.kubernetes.container.image"]
    assert base == named == f"apache/spark:{newest}-python3"


def test_the_image_is_made_of_what_is_there():
    copied = re.findall(r"^COPY (.+) \S+$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    names = " ".join(copied).split()
    assert "vaeudf" in names and all((FOLDER.parent / name).exists() for name in names)
