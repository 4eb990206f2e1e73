"""The properties files in conf/, as far as they can be looked at without such clusters."""

from __future__ import annotations

from pathlib import Path

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
