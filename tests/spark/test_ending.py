"""The file that tells how a driver on YARN has ended, on a file system of Hadoop's own."""

from __future__ import annotations

import getpass
import os
import re
import stat
import sys
import time

import pytest
from pyspark import SparkConf

from vaeudf.errors import ClusterError
from vaeudf.spark.ending import Ending, EndingFile, record

pytestmark = [pytest.mark.spark, pytest.mark.classic]


@pytest.fixture
def staged(spark, tmp_path):
    """Spark's folder for this user's applications, and the file of one in it."""
    given = SparkConf(loadDefaults=False).set("spark.yarn.stagingDir", f"file:{tmp_path}/staging")
    folder = tmp_path / "staging" / getpass.getuser() / ".sparkStaging"
    return folder, EndingFile(spark.sparkContext._jvm, given, "vaeudf-1")


def test_it_is_beside_the_files_that_spark_stages(staged):
    folder, file = staged
    assert file.uri == f"file:{folder}/vaeudf-1.json"
    file.check()
    assert list(folder.iterdir()) == []


def test_what_a_driver_has_written(staged, capsys):
    folder, file = staged
    assert file.take() is None

    def work():
        sys.stdout.write("out é\n")
        sys.stderr.write("err\n")
        sys.exit(3)

    with pytest.raises(SystemExit):
        record(work, file.uri)
    assert capsys.readouterr() == ("out é\n", "err\n")
    (written,) = folder.glob("*.json")
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert file.take() == Ending(3, "out é\n", "err\n")
    assert list(folder.iterdir()) == []


def test_what_nobody_wants_to_know(staged):
    folder, file = staged
    file.remove()
    record(lambda: None, file.uri)
    assert list(folder.iterdir())
    file.remove()
    assert not list(folder.iterdir())


def test_what_nobody_has_taken_for_a_week(staged):
    folder, file = staged
    folder.mkdir(parents=True)
    now = time.time()
    for name, days in {
        "vaeudf-2.json": 8,
        "vaeudf-3.json": 6,
        "other.json": 8,
        "vaeudf-4": 8,
    }.items():
        (folder / name).write_text("{}")
        os.utime(folder / name, (now, now - days * 24 * 3600))
    file.check()
    assert {path.name for path in folder.iterdir()} == {"vaeudf-3.json", "other.json", "vaeudf-4"}


def test_a_folder_that_cannot_be_written_to(staged, tmp_path):
    """Nobody would know how the job ends."""
    (tmp_path / "staging").write_text("a file")
    _, file = staged
    with pytest.raises(ClusterError) as caught:
        file.check()
    assert re.fullmatch(
        rf"{re.escape(file.uri)} cannot be written: .*{tmp_path}/staging.*\. A driver on YARN "
        r"tells there how it ended\. Name a folder that you can write to by "
        r"spark\.yarn\.stagingDir, in the properties file\.",
        str(caught.value),
    )


def test_a_file_system_that_nobody_knows(spark):
    given = SparkConf(loadDefaults=False).set("spark.yarn.stagingDir", "nobody://knows/it")
    with pytest.raises(ClusterError, match=r'^nobody://knows/it cannot be opened: .*"nobody"\.$'):
        EndingFile(spark.sparkContext._jvm, given, "vaeudf-1")
