"""The command ``vaeudf``: which jobs there are, and how it runs one."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

import vaeudf
from tests.support.jobs import ROOT
from vaeudf.__main__ import main, run_submitted
from vaeudf.spark.launch import LOCAL_MASTER
from vaeudf.workflows.cli import parse
from vaeudf.workflows.jobs import LISTING, NAMES, find_job


def ended(*argv: str) -> object:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    return caught.value.code


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_the_jobs(capsys, argv):
    main(argv)
    out, err = capsys.readouterr()
    assert err == "" and out.startswith("usage: vaeudf JOB [options]\n")
    assert LISTING in out and "SPARK_MASTER" in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_list_is_complete():
    assert sorted(NAMES) == sorted(path.stem for path in (ROOT / "jobs").glob("*.py"))


def test_help_is_fast():
    code = """
import sys
from vaeudf.__main__ import main, run_submitted
main(["--help"])
heavy = ["torch", "pyspark", "pandas", "pyarrow", "PIL", "deltalake", "jsonargparse", "jinja2"]
assert not [name for name in heavy if name in sys.modules]
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"vaeudf {vaeudf.__version__}\n"


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("query-topk", " Did you mean query_topk?"),
        ("encode_catalogue", " Did you mean encode_catalog?"),
        ("xyzzy", ""),
        ("--k", ""),
        ("", ""),
    ],
)
def test_a_job_that_there_is_not(capsys, command, hint):
    assert ended(command, "--help") == 2
    message = f"error: there is no job {command!r}.{hint} See vaeudf --help.\n"
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize("job", NAMES)
def test_help_of_a_job(capsys, job):
    assert ended(job, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: {job} ")
    assert "--debug" in out and "--config" in out


@pytest.mark.parametrize("job", NAMES)
def test_the_example_of_a_job(job):
    options_type, _ = find_job(job)
    example = ROOT / "conf" / "examples" / f"{job}.yaml"
    assert isinstance(parse(options_type, ["--config", str(example)]), options_type)


def test_examples_are_of_jobs():
    assert {path.stem for path in (ROOT / "conf" / "examples").iterdir()} == set(NAMES)


@pytest.fixture
def environment(monkeypatch):
    """Lets a test change the environment's variables, and has them as before afterwards."""
    names = ("SPARK_MASTER", "SPARK_CONF", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS", "SPARK_REMOTE")
    for name in (*names, "PYSPARK_GATEWAY_PORT", "SPARK_REMOTE_ARCHIVE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_a_job_is_run(capsys, environment, tmp_path):
    """Its error is its own, and by then it is decided what its Spark would be started with."""
    assert ended("maintain_table", "--table", str(tmp_path / "none")) == 2
    assert capsys.readouterr().err.startswith(f"error: table {tmp_path}/none does not exist; ")
    assert f"--master '{LOCAL_MASTER}' " in os.environ["PYSPARK_SUBMIT_ARGS"]


def test_a_properties_file_that_is_not_there(capsys, environment):
    environment.setenv("SPARK_CONF", "/no/such.conf")
    assert ended("maintain_table", "--table", "none") == 2
    assert capsys.readouterr().err == (
        "error: SPARK_CONF names /no/such.conf, which is not there; expected a Spark properties "
        "file.\n"
    )


@pytest.mark.parametrize("flag", [("--remote", "sc://host:15002"), ("--remote=sc://host:15002",)])
def test_a_server_of_spark_connect(capsys, environment, tmp_path, flag):
    assert ended("maintain_table", *flag, "--table", str(tmp_path / "none")) == 2
    assert capsys.readouterr().err.startswith(f"error: table {tmp_path}/none does not exist; ")
    assert os.environ["SPARK_REMOTE"] == "sc://host:15002"
    assert "PYSPARK_SUBMIT_ARGS" not in os.environ


def test_a_server_without_its_name(capsys, environment):
    assert ended("maintain_table", "--table", "none", "--remote") == 2
    assert capsys.readouterr().err == "error: --remote needs a value, such as sc://host:15002.\n"


def test_an_archive_for_a_server_of_spark_connect(capsys, environment, tmp_path):
    table = ("--table", str(tmp_path / "none"))
    remote = ("--remote", "sc://host:15002")
    assert ended("maintain_table", *remote, "--archive", "a.tar.gz", *table) == 2
    assert capsys.readouterr().err.startswith(f"error: table {tmp_path}/none does not exist; ")
    assert os.environ["SPARK_REMOTE_ARCHIVE"] == "a.tar.gz"
    assert ended("maintain_table", *remote, *table, "--archive") == 2
    assert capsys.readouterr().err == (
        "error: --archive needs a value, such as dist/environment.tar.gz.\n"
    )
    environment.delenv("SPARK_REMOTE")
    assert ended("maintain_table", *table, "--archive=a.tar.gz") == 2
    assert capsys.readouterr().err.startswith(
        "error: --archive is for a server of Spark Connect; expected --remote or SPARK_REMOTE "
    )


def test_a_driver_on_yarn_starts_spark_first(monkeypatch):
    """YARN ends one that has not by some time; not every job starts it by itself."""
    events = []

    @dataclass(frozen=True)
    class Listed:
        table: str

    @contextmanager
    def session(name):
        events.append(f"Spark starts for {name}")
        yield
        events.append("Spark stops")

    def job(options):
        events.append(options)
        return {}

    monkeypatch.setattr("vaeudf.spark.session.spark_session", session)
    monkeypatch.setattr("vaeudf.spark.ending.record", lambda work, result: work())
    monkeypatch.setattr("vaeudf.__main__.find_job", lambda name: (Listed, job))
    run_submitted("maintain_table", {"table": "hdfs:///t"}, "hdfs:///r", debug=False)
    assert events == ["Spark starts for maintain_table", Listed("hdfs:///t"), "Spark stops"]


def test_what_needs_no_spark_runs_here(capsys, caplog, environment):
    environment.setenv("SPARK_DEPLOY_MODE", "cluster")
    environment.setenv("SPARK_MASTER", "yarn")
    with caplog.at_level(logging.WARNING):
        assert ended("explore", "--table", "/no/table") == 2
    assert caplog.messages == ["explore needs no Spark, and runs here: not on the cluster."]
    assert capsys.readouterr().err.startswith("error: table /no/table does not exist; ")
