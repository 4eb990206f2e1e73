from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.jobs import ROOT
from vaeudf.errors import InputError
from vaeudf.spark.session import spark_session

SCRIPT = """
from vaeudf.spark.session import spark_session
with spark_session("mine") as spark:
    conf = spark.sparkContext.getConf()
    for key in ("spark.app.name", "spark.master", "spark.sql.files.openCostInBytes",
                "spark.sql.session.timeZone"):
        print(conf.get(key))
"""


def only(**variables: str) -> dict[str, str]:
    """These variables, and what the tests tell every Java."""
    return {"SPARK_SUBMIT_OPTS": os.environ["SPARK_SUBMIT_OPTS"], **variables}


def run(**variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=only(**variables),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_what_spark_submit_says_wins_over_the_defaults(tmp_path):
    properties = tmp_path / "it's mine.conf"
    properties.write_text("spark.sql.files.openCostInBytes 7\n")
    arguments = f"--master 'local[1,3]' --properties-file \"{properties}\" pyspark-shell"
    found = run(PYSPARK_SUBMIT_ARGS=arguments)
    assert found == ["mine", "local[1,3]", "7", "UTC"]


@pytest.mark.classic
def test_defaults_of_a_session(spark):
    """Of the tests' own, which says nothing else of these."""
    conf = spark.sparkContext.getConf()
    assert conf.get("spark.sql.files.openCostInBytes") == "65536"
    assert conf.get("spark.sql.session.timeZone") == "UTC"


@pytest.mark.slow
def test_defaults():
    assert run() == ["mine", "local[*]", "65536", "UTC"]


@pytest.mark.slow
def test_a_master_that_is_none():
    code = "from vaeudf.spark.session import spark_session\nwith spark_session('mine'): pass"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=only(PYSPARK_SUBMIT_ARGS="--master 'mars' pyspark-shell"),
    )
    assert done.returncode == 1
    assert "ClusterError: Spark did not start, with --master 'mars' (" in done.stderr
    assert "Is the master right, and does it run?" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (
            "",
            "InputError: s3://shop/a is in a store that this Spark cannot open: it has no "
            "connector for s3a://, which this job needs. docs/clusters.md says which packages to "
            "add, with spark.jars.packages or --packages.",
        ),
        # Whatever a property names for the scheme is one: nothing is opened yet.
        (
            "--conf spark.hadoop.fs.s3a.impl=org.apache.hadoop.fs.LocalFileSystem ",
            "ClusterError: Spark did not start, with --master local[none]",
        ),
    ],
)
def test_a_store_without_a_connector_is_refused_before_spark_starts(tmp_path, option, expected):
    """At a master that is none: Spark itself cannot start."""
    code = f"""
from vaeudf.spark.session import spark_session
with spark_session("mine", "{tmp_path}", "s3://shop/a"): pass
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=only(PYSPARK_SUBMIT_ARGS=f"--master local[none] {option}pyspark-shell"),
    )
    assert done.returncode == 1 and expected in done.stderr, done.stderr


@pytest.mark.classic
def test_a_session_that_runs_is_asked_for_a_connector_too(spark):
    with (
        pytest.raises(InputError, match=r"^s3://shop/a is in a store that this Spark cannot open"),
        spark_session("other", "s3://shop/a"),
    ):
        pytest.fail("it was given")
    assert spark.range(2).count() == 2


def test_an_active_session_is_used_and_left_running(spark):
    with spark_session("other") as session:
        assert session is spark
    assert spark.range(2).count() == 2


CONNECTED = """
from vaeudf.spark import connect_session
connect_session._SECONDS_TO_CONNECT = 1
connect_session.start("mine")
"""


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        (
            "sc://127.0.0.1:1/;token=secret",
            "ClusterError: the server of Spark Connect at sc://127.0.0.1:1 does not answer within "
            "1 s. Is the address right, and does it run?",
        ),
        (
            "spark://host:7077",
            "InputError: SPARK_REMOTE is spark://host:7077; expected a server of Spark Connect, "
            "such as sc://host:15002.",
        ),
    ],
)
def test_a_server_that_is_not_there(remote, expected):
    done = subprocess.run(
        [sys.executable, "-c", CONNECTED],
        capture_output=True,
        text=True,
        env=only(SPARK_REMOTE=remote),
    )
    assert done.stderr.splitlines()[-1] == f"vaeudf.errors.{expected}"


def test_a_client_without_its_packages(tmp_path):
    # PySpark takes a program without a file for a doctest, and leaves.
    program = tmp_path / "program.py"
    program.write_text(f"import sys; sys.modules['grpc'] = None\n{CONNECTED}")
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        env=only(SPARK_REMOTE="sc://127.0.0.1:1", PYTHONPATH=str(ROOT)),
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "vaeudf.errors.InputError: SPARK_REMOTE is sc://127.0.0.1:1, and what Spark Connect needs "
        "is not installed ([PACKAGE_NOT_INSTALLED] grpcio >= "
    )
    assert last.endswith("): pip install 'vaeudf[connect]'.")
