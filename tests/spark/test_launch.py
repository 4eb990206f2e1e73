"""What Spark is started with: from the environment's variables to PySpark's."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from vaeudf.errors import InputError
from vaeudf.spark.launch import CONF, LOCAL_MASTER, configure_launch, drives_on_cluster

LOCAL_CONF = str(CONF / "local.conf")


def configured(**environment: str) -> dict[str, str]:
    configure_launch(environment)
    return environment


def arguments(**environment: str) -> list[str]:
    return shlex.split(configured(**environment)["PYSPARK_SUBMIT_ARGS"])


def test_a_local_spark_is_the_default():
    found = configured()
    assert found.pop("SPARK_CONF_DIR") == str(CONF)
    assert shlex.split(found.pop("PYSPARK_SUBMIT_ARGS")) == [
        *("--master", LOCAL_MASTER, "--properties-file", LOCAL_CONF, "pyspark-shell")
    ]
    assert found == {}


def test_the_files_are_there():
    assert "spark.driver.memory" in Path(LOCAL_CONF).read_text()
    assert "rootLogger.level" in (CONF / "log4j2.properties").read_text()


@pytest.mark.parametrize(
    ("master", "expected"),
    [
        ("local[2]", ["--master", "local[2]", "--properties-file", LOCAL_CONF]),
        ("spark://it's:7077", ["--master", "spark://it's:7077"]),
        ("yarn", ["--master", "yarn"]),
    ],
)
def test_a_master(master, expected):
    assert arguments(SPARK_MASTER=master) == [*expected, "pyspark-shell"]


@pytest.mark.parametrize("master", ["", "yarn"])
def test_a_properties_file(tmp_path, master):
    mine = tmp_path / "it's mine.conf"
    mine.touch()
    assert arguments(SPARK_MASTER=master, SPARK_CONF=str(mine)) == [
        *("--master", master or LOCAL_MASTER, "--properties-file", str(mine), "pyspark-shell")
    ]


def test_a_properties_file_that_is_not_there():
    with pytest.raises(InputError) as caught:
        configured(SPARK_CONF="/no/such.conf")
    assert str(caught.value) == (
        "SPARK_CONF names /no/such.conf, which is not there; expected a Spark properties file."
    )


def test_arguments_of_the_users_own():
    mine = "--master yarn --queue night pyspark-shell"
    assert configured(PYSPARK_SUBMIT_ARGS=mine)["PYSPARK_SUBMIT_ARGS"] == mine
    # Spark takes the last of two: what is added comes first.
    assert arguments(PYSPARK_SUBMIT_ARGS=mine, SPARK_MASTER="spark://host:7077") == [
        *("--master", "spark://host:7077", "--master", "yarn", "--queue", "night", "pyspark-shell")
    ]


@pytest.mark.parametrize("name", ["SPARK_HOME", "SPARK_CONF_DIR"])
def test_log_settings_of_the_users_own(name):
    assert configured(**{name: "/opt/spark"}).get("SPARK_CONF_DIR") != str(CONF)


def test_spark_submit_has_said_it_all():
    given = {"PYSPARK_GATEWAY_PORT": "1234", "SPARK_MASTER": "yarn"}
    assert configured(**given) == given


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"SPARK_DEPLOY_MODE": ""}, False),
        ({"SPARK_DEPLOY_MODE": "client", "SPARK_MASTER": "spark://host:7077"}, False),
        ({"SPARK_DEPLOY_MODE": "cluster", "SPARK_MASTER": "yarn"}, True),
        # There already.
        ({"SPARK_DEPLOY_MODE": "cluster", "PYSPARK_GATEWAY_PORT": "1234"}, False),
    ],
)
def test_where_the_driver_runs(environment, expected):
    assert drives_on_cluster(environment) == expected


def test_a_deploy_mode_that_there_is_not():
    with pytest.raises(InputError) as caught:
        drives_on_cluster({"SPARK_DEPLOY_MODE": "clutser"})
    assert str(caught.value) == (
        "SPARK_DEPLOY_MODE is clutser; expected client or cluster (default: client)."
    )
    with pytest.raises(InputError) as caught:
        drives_on_cluster({"SPARK_DEPLOY_MODE": "cluster", "SPARK_MASTER": "spark://host:7077"})
    assert str(caught.value) == (
        "SPARK_DEPLOY_MODE is cluster, and SPARK_MASTER spark://host:7077; expected yarn. On other "
        "clusters the driver runs here: unset SPARK_DEPLOY_MODE."
    )


def test_a_server_is_not_started():
    assert configured(SPARK_REMOTE="sc://host:15002") == {"SPARK_REMOTE": "sc://host:15002"}


@pytest.mark.parametrize("name", ["SPARK_MASTER", "SPARK_CONF"])
def test_a_server_and_how_to_start_spark(name):
    with pytest.raises(InputError) as caught:
        configured(SPARK_REMOTE="sc://host:15002/;token=secret", **{name: "mine"})
    assert str(caught.value) == (
        f"SPARK_REMOTE is sc://host:15002/, and {name} mine; expected one of the two: unset the "
        "other."
    )


def test_a_server_has_a_driver():
    with pytest.raises(InputError, match="expected one of the two: a server of Spark Connect has"):
        drives_on_cluster({"SPARK_REMOTE": "sc://host", "SPARK_DEPLOY_MODE": "cluster"})
