"""The jobs as a person runs them: spark-submit.sh, spark-submit, and what comes out."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.jobs import (
    ROOT,
    run,
    submit,
    summary,
)
from tests.support.scene import LATENT_DIM, NUM_ITEMS

JOBS = sorted(path.stem for path in (ROOT / "jobs").glob("*.py"))


def test_every_job_is_thin():
    for job in JOBS:
        assert len((ROOT / "jobs" / f"{job}.py").read_text().splitlines()) <= 10


def test_a_job(tmp_path, parquet_catalog, bundle_path):
    table = str(tmp_path / "table")
    encoded = submit(
        *("encode_catalog", "--catalog", parquet_catalog, "--model", bundle_path),
        *("--table", table),
    )
    found = summary(encoded)
    assert encoded.stdout.count("\n") == 1, "one line on stdout and nothing else"
    assert (found["encoded"], found["quarantined"]) == (NUM_ITEMS, {})
    assert found["seconds"]["encode"] > 0


@pytest.mark.slow
@pytest.mark.spark
def test_few_hits_of_each_value(catalog_table, tmp_path):
    """How many there are is asked while the job's own session is there."""
    z = ",".join(["0.1"] * LATENT_DIM)
    done = submit(
        *("query_topk", "--table", catalog_table, "--z", z, "--k", "30"),
        *("--per", "category", "--output", f"{tmp_path}/hits"),
    )
    assert summary(done)["output"] == f"{tmp_path}/hits"
    hits = pq.read_table(tmp_path / "hits")["item_id"].to_pylist()
    assert len(hits) == len({name.split("-")[0] for name in hits})
    assert f"k is 30, but per category allows only {len(hits)} items per query" in done.stderr


@pytest.mark.slow
def test_bare_spark_submit(tmp_path, parquet_catalog, bundle_path):
    table = str(tmp_path / "table")
    done = run(
        shutil.which("spark-submit", path=f"{sys.prefix}/bin") or "spark-submit",
        *("--master", "local[2]", str(ROOT / "jobs" / "encode_catalog.py")),
        *("--catalog", parquet_catalog, "--model", bundle_path, "--table", table),
        PATH=f"{sys.prefix}/bin:{os.environ['PATH']}",
        PYSPARK_PYTHON=None,
    )
    assert summary(done)["encoded"] == NUM_ITEMS


def test_an_error_is_one_message(tmp_path, bundle_path):
    arguments = [
        "--catalog",
        f"{tmp_path}/none",
        "--model",
        bundle_path,
        "--table",
        f"{tmp_path}/t",
    ]
    done = submit("encode_catalog", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    message = done.stderr.replace("WARNING: Using incubator modules: jdk.incubator.vector\n", "")
    assert message == (
        f"error: catalog {tmp_path}/none does not exist; expected a folder, a glob or a file.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_while_encoding(tmp_path, parquet_catalog, bundle_path):
    job = str(ROOT / "jobs" / "encode_catalog.py")
    table = tmp_path / "t"
    arguments = ["--catalog", parquet_catalog, "--model", bundle_path, "--table", str(table)]
    running = subprocess.Popen(
        [sys.executable, job, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (table / "_staging").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert out == "" and "error: interrupted" in err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_job():
    done = submit("encode_everything")
    assert done.returncode == 2
    assert "there is no job 'encode_everything'" in done.stderr
    assert all(job in done.stderr for job in JOBS)


def test_a_properties_file_that_is_not_there():
    done = submit("query_topk", "--table", "t", "--z", "0", SPARK_CONF="/no/such.conf")
    assert done.returncode == 2
    assert "error: SPARK_CONF names /no/such.conf, which is not there" in done.stderr


def test_lint_gates_the_tests(tmp_path):
    """A finding of ruff must end `test` with an error, before pytest."""
    for name in ("spark-submit.sh", "pyproject.toml", "constraints.txt", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bad.py").write_text("print(1)\n")
    done = run(f"{tmp_path}/spark-submit.sh", "test", "--version")
    assert done.returncode != 0
    assert "T201" in done.stderr and "pytest …" not in done.stderr


def test_without_arguments():
    done = submit()
    assert done.returncode == 0 and done.stdout.startswith("usage: ./spark-submit.sh COMMAND")


@pytest.mark.slow
def test_an_archive_of_another_vaeudf_is_not_sent_along(tmp_path):
    for name in ("spark-submit.sh", "pyproject.toml", "constraints.txt", "jobs", "conf", "vaeudf"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "environment.tar.gz").touch()
    (tmp_path / "dist" / "packed-from").write_text("1 2\n")
    command = (f"{tmp_path}/spark-submit.sh", "query_topk", "--table", "t")
    done = run(*command, SPARK_MASTER="spark://127.0.0.1:1", PYSPARK_PYTHON=None)
    assert done.returncode == 2
    assert "error: vaeudf has changed since dist/ was packed; run ./spark-submit.sh pack" in (
        done.stderr
    )
    # An environment of the user's own is another matter, and so is this machine.
    properties = tmp_path / "my.conf"
    properties.write_text("spark.archives: hdfs:///envs/mine.tar.gz#environment\n")
    for master, conf, python in (
        ("spark://127.0.0.1:1", str(properties), None),
        ("spark://127.0.0.1:1", None, "python3.11"),
        ("local[1]", None, None),
    ):
        environment = {"SPARK_MASTER": master, "SPARK_CONF": conf, "PYSPARK_PYTHON": python}
        done = run(*command, "--help", **environment)
        assert done.returncode == 0 and done.stdout.startswith("usage: query_topk"), done.stderr


def test_an_archive_in_a_folder_with_blanks_is_sent_along_as_a_uri(tmp_path):
    root = tmp_path / "Größe 1 's"
    root.mkdir()
    for name in ("spark-submit.sh", "pyproject.toml", "constraints.txt", "jobs", "conf", "vaeudf"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    (root / "dist").mkdir()
    archive = root / "dist" / "environment.tar.gz"
    archive.touch()
    digest = (
        'cd "$0"; set -- help; . ./spark-submit.sh >/dev/null; archive_digest >dist/packed-from'
    )
    environment = {**os.environ, "VAEUDF_VENV": sys.prefix}
    subprocess.run(["bash", "-c", digest, root], check=True, env=environment)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf %s "$PYSPARK_SUBMIT_ARGS"\n')
    python.chmod(0o755)
    done = run(
        *(f"{root}/spark-submit.sh", "query_topk", "--table", "t"),
        SPARK_MASTER="spark://127.0.0.1:1",
        PYSPARK_PYTHON=None,
        PYSPARK_DRIVER_PYTHON=str(python),
    )
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout)
    assert words == ["--archives", f"{archive.as_uri()}#environment", "pyspark-shell"]


def test_another_spark_needs_a_version():
    done = submit("test-spark", "four")
    assert done.returncode == 2
    assert "error: test-spark needs a version of PySpark, such as 4.0; found 'four'" in done.stderr


def test_a_python_that_is_too_old_or_absent(tmp_path):
    for name in ("spark-submit.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    done = run(f"{tmp_path}/spark-submit.sh", "setup", VAEUDF_VENV=None, PYTHON="no-such-python")
    assert done.returncode == 2
    assert "error: found no Python 3.10 or newer as 'no-such-python'" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_environment_of_the_users_without_vaeudf(tmp_path):
    done = submit("demo", VAEUDF_VENV=str(tmp_path))
    assert done.returncode == 2
    assert f"error: {tmp_path} has no Python with vaeudf" in done.stderr


@pytest.mark.network
@pytest.mark.slow
def test_without_java(tmp_path):
    """With no java anywhere, one from the package index runs the job."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for folder in reversed(os.environ["PATH"].split(":")):
        for tool in Path(folder).glob("*") if Path(folder).is_dir() else ():
            link = tools / tool.name
            if not tool.name.startswith("java"):
                link.unlink(missing_ok=True)
                link.symlink_to(tool)
    assert shutil.which("java", path=str(tools)) is None
    # Java 8 where JAVA_HOME points must not be taken for a good one either.
    old = tmp_path / "old" / "bin"
    old.mkdir(parents=True)
    (old / "java").write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_292\"' >&2\n")
    (old / "java").chmod(0o755)
    done = submit(
        *("draw_catalog", "--output", f"{tmp_path}/c", "--items", "5", "--size", "16"),
        PATH=str(tools),
        JAVA_HOME=str(old.parent),
    )
    assert summary(done)["items"] == 5
    assert pq.read_table(f"{tmp_path}/c").num_rows == 5
    wrapper = Path(sys.prefix, "java", "bin", "java").read_text()
    assert "jdk.incubator.vector" in wrapper
