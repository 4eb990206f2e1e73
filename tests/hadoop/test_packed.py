"""What ./spark-submit.sh pack makes, on a YARN whose machines have no Python."""

from __future__ import annotations

import os
from pathlib import Path

import pyspark
import pytest

from tests.hadoop.mini_hadoop import mini_hadoop
from tests.support.hidden import without_python
from tests.support.jobs import ROOT, pack, submit, summary
from vaeudf.storage.locations import filesystem

pytestmark = [pytest.mark.hadoop, pytest.mark.spark]


def test_a_driver_and_its_workers(tmp_path):
    jars = os.environ.get("VAEUDF_TEST_JARS")
    if not jars:
        pytest.skip("VAEUDF_TEST_JARS names no folder with Hadoop's jars (tests/hadoop/pom.xml)")
    (tmp_path / "empty").mkdir()
    prefix = without_python(tmp_path / "empty")
    pack()
    own = f"spark.yarn.jars local:{Path(pyspark.__file__).parent}/jars/*\n"
    (tmp_path / "yarn.conf").write_text((ROOT / "conf/yarn.conf").read_text() + own)
    with mini_hadoop(Path(jars).absolute() / "hadoop", tmp_path / "hadoop", prefix) as hadoop:
        done = submit(
            *("draw_catalog", "--items", "30", "--output", f"{hadoop.uri}/shop/drawn"),
            SPARK_MASTER="yarn",
            SPARK_DEPLOY_MODE="cluster",
            SPARK_CONF=str(tmp_path / "yarn.conf"),
            HADOOP_CONF_DIR=str(hadoop.conf),
            SPARK_LOCAL_IP="127.0.0.1",
            PYSPARK_PYTHON=None,
            PYTHONPATH=None,
        )
        assert summary(done)["items"] == 30
        files, inner = filesystem(f"{hadoop.uri}/shop/drawn")
        assert files.get_file_info(inner).type.name == "Directory"
