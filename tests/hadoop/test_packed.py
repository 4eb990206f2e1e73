"""From pack to a page, as docs/clusters.md has it, on a YARN whose machines have no Python."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest

from tests.hadoop.mini_hadoop import Hadoop, mini_hadoop
from tests.support.hidden import without_python
from tests.support.jobs import ROOT, pack, submit, summary
from vaeudf.catalog.garments import draw_garment, sample_garment
from vaeudf.storage.locations import filesystem

pytestmark = [pytest.mark.hadoop, pytest.mark.spark]

SECTION = "### From pack to a page of pictures"
(PAGE, ONCE) = re.findall(
    r"^```sh\n(.*?)^```",
    (ROOT / "docs" / "clusters.md").read_text().split(SECTION)[1].split("\n### ")[0],
    re.MULTILINE | re.DOTALL,
)
# What is not the newcomer's: Spark's jars are not sent to a machine that they are on, and YARN's
# proxy does not meet Spark's page while that is made (tests/hadoop/test_yarn.py says why).
OWN = f"spark.yarn.jars local:{Path(pyspark.__file__).parent}/jars/*\nspark.ui.enabled false\n"


@pytest.fixture(scope="module")
def yarn(tmp_path_factory) -> Iterator[Hadoop]:
    jars = os.environ.get("VAEUDF_TEST_JARS")
    if not jars:
        pytest.skip("VAEUDF_TEST_JARS names no folder with Hadoop's jars (tests/hadoop/pom.xml)")
    root = tmp_path_factory.mktemp("yarn")
    (root / "empty").mkdir()
    prefix = without_python(root / "empty")
    pack()
    with mini_hadoop(Path(jars).absolute() / "hadoop", root / "hadoop", prefix) as running:
        yield running


@pytest.fixture
def here(yarn, tmp_path) -> Path:
    """A folder in which the documented commands find what a checkout has, and Hadoop's client."""
    (tmp_path / "spark-submit.sh").write_text(f'#!/bin/sh\nexec "{ROOT}/spark-submit.sh" "$@"\n')
    jars = f"{os.environ['VAEUDF_TEST_JARS']}/hadoop/*:{Path(pyspark.__file__).parent}/jars/*"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hdfs").write_text(
        '#!/bin/sh\nshift\nexec java -cp "$HADOOP_CONF_DIR:'
        f'{jars}" org.apache.hadoop.fs.FsShell "$@"\n'
    )
    for program in ("spark-submit.sh", "bin/hdfs"):
        (tmp_path / program).chmod(0o755)
    (tmp_path / "dist").symlink_to(ROOT / "dist")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "yarn.conf").write_text((ROOT / "conf/yarn.conf").read_text() + OWN)
    return tmp_path


def run(yarn: Hadoop, here: Path, commands: str) -> subprocess.CompletedProcess[str]:
    """Run commands of the page, with this cluster's configuration, and little training."""
    there = commands.replace("/etc/hadoop/conf", shlex.quote(str(yarn.conf)))
    quick = re.sub(r"train_vae (.*)", r"train_vae \1 --epochs 1", there)
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH",)},
        "VAEUDF_VENV": sys.prefix,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PATH": f"{here / 'bin'}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
    }
    environment.pop("PYSPARK_PYTHON", None)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", quick],
        capture_output=True,
        text=True,
        cwd=here,
        stdin=subprocess.DEVNULL,
        timeout=1200,
        env=environment,
    )


def test_from_pack_to_a_page(yarn, here):
    (here / "photos" / "dress").mkdir(parents=True)
    for index in range(60):
        picture = draw_garment(sample_garment(0, index), 48)
        picture.save(here / "photos" / "dress" / f"{index:04d}.jpg")
    done = run(yarn, here, PAGE)
    assert summary(done)["items"] == 60
    page = (here / "page" / "index.html").read_text()
    assert page.count("dress/") >= 5 and "<img" in page


def test_a_driver_and_its_workers(yarn, here):
    """The archive is sent with the job, whose driver is on YARN, too."""
    done = submit(
        *("draw_catalog", "--items", "30", "--output", f"{yarn.uri}/shop/first"),
        timeout=1200,
        SPARK_MASTER="yarn",
        SPARK_DEPLOY_MODE="cluster",
        SPARK_CONF=str(here / "conf" / "yarn.conf"),
        HADOOP_CONF_DIR=str(yarn.conf),
        SPARK_LOCAL_IP="127.0.0.1",
        PYSPARK_PYTHON=None,
        PYTHONPATH=None,
    )
    assert summary(done)["items"] == 30
    files, inner = filesystem(f"{yarn.uri}/shop/first")
    assert files.get_file_info(inner).type.name == "Directory"


def test_an_archive_that_is_on_hdfs(yarn, here):
    """It is sent with no job; and the driver is on YARN, too."""
    before = len(yarn.log.read_text())
    done = run(
        yarn,
        here,
        f"export HADOOP_CONF_DIR=/etc/hadoop/conf SPARK_MASTER=yarn\n{ONCE}"
        "export SPARK_DEPLOY_MODE=cluster\n"
        "./spark-submit.sh draw_catalog --items 30 --output hdfs:///shop/drawn\n",
    )
    assert summary(done)["items"] == 30
    put = re.findall(r"\tcmd=create\tsrc=(\S*tar\.gz\S*)", yarn.log.read_text()[before:])
    assert put and not [path for path in put if "/.sparkStaging/" in path]
    files, inner = filesystem(f"{yarn.uri}/shop/drawn")
    assert files.get_file_info(inner).type.name == "Directory"
