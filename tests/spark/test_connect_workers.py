"""The Python workers of a server of Spark Connect: an archive of theirs, and wrong ones."""

from __future__ import annotations

import os
import shlex
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

import vaeudf
from tests.support.connect_server import SERVER
from vaeudf.errors import InputError
from vaeudf.spark.connect_workers import check_workers, send_archive
from vaeudf.spark.tasks import numbered_tasks


@pytest.fixture
def session(spark, pytestconfig):
    """A session of its own, whose workers no other one has."""
    url = pytestconfig.stash.get(SERVER, None)
    if url is None:
        pytest.skip("there is a server with --connect")
    session = SparkSession.builder.remote(url).create()
    yield session
    session.stop()


def archive(folder: Path, **modules: str) -> str:
    """Make an archive of modules, and of a Python that has them besides what this one has."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python").write_text(
        f"""#!/bin/sh
here=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH=$here:$PYTHONPATH exec {shlex.quote(sys.executable)} "$@"
"""
    )
    (folder / "bin" / "python").chmod(0o755)
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
    path = folder / "an archive.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for name in os.listdir(folder):
            if name != path.name:
                file.add(folder / name, name)
    return str(path)


@pytest.mark.spark
def test_workers_run_the_python_of_an_archive(session, tmp_path):
    check_workers(session)
    send_archive(session, archive(tmp_path, only_in_the_archive="answer = 42"))
    check_workers(session)

    def work(task):
        from only_in_the_archive import answer

        yield pa.RecordBatch.from_pydict({"x": [answer]})

    assert [row.x for row in numbered_tasks(session, 2, work, "x long").collect()] == [42, 42]


@pytest.mark.spark
def test_workers_without_a_python(session, tmp_path):
    python = str(tmp_path / "bin" / "python")
    session.conf.set("spark.sql.execution.pyspark.python", python)
    with pytest.raises(InputError) as raised:
        check_workers(session)
    assert str(raised.value).startswith(
        f"the server cannot start {python} for its Python workers (error=2, No such file or "
        "directory). Install vaeudf where the server finds Python"
    )


@pytest.mark.spark
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "import sys; sys.meta_path.insert(0, __import__('blocking'))",
            "the server's Python workers have no module vaeudf. Install vaeudf where ",
        ),
        (
            "import vaeudf.version; vaeudf.version.VERSION = '0.0.1'",
            f"the server's Python workers have vaeudf 0.0.1, and this is {vaeudf.__version__}; "
            "expected the same. Install vaeudf where the server finds Python",
        ),
    ],
)
def test_workers_without_this_vaeudf(session, tmp_path, code, expected):
    blocking = """
def find_spec(name, path, target=None):
    if name == "vaeudf":
        raise ModuleNotFoundError("No module named 'vaeudf'")
"""
    send_archive(session, archive(tmp_path, sitecustomize=code, blocking=blocking))
    with pytest.raises(InputError) as raised:
        check_workers(session)
    assert str(raised.value).startswith(expected)
    assert str(raised.value).endswith("--archive or SPARK_REMOTE_ARCHIVE (docs/clusters.md).")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none.tar.gz", "there is no file {path}; expected an archive of this machine, as "),
        ("environment", "{path} is not an archive that Spark Connect takes; expected a path "),
        ("a#b.zip", "{path} is not an archive that Spark Connect takes; expected a path "),
    ],
)
def test_what_is_no_archive(tmp_path, name, expected):
    path = str(tmp_path / name)
    with pytest.raises(InputError) as raised:
        send_archive(None, path)
    assert str(raised.value).startswith(expected.format(path=path))
