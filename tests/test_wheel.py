"""The package as pip installs it: all of its files, and a command that runs every job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.jobs import ROOT, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("setuptools", "77", "a wheel is built with setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    # From a copy, for setuptools leaves a build folder in the source.
    names = ("pyproject.toml", "README.md", "LICENSE", "vaeudf")
    subprocess.run(["cp", "-R", *(str(ROOT / name) for name in names), str(source)], check=True)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (made,) = folder.glob("*.whl")
    return made


def test_it_has_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("vaeudf/")}
    files = (path for path in (ROOT / "vaeudf").rglob("*") if path.is_file())
    assert packed == {
        path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts
    }


def test_the_command_runs_jobs_from_anywhere(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    options = ("--quiet", "--no-deps", "--target", str(site), str(wheel))
    subprocess.run([sys.executable, "-m", "pip", "install", *options], check=True)
    unset = (
        "SPARK_MASTER",
        "SPARK_CONF",
        "SPARK_CONF_DIR",
        "PYSPARK_SUBMIT_ARGS",
        "PYSPARK_PYTHON",
    )
    done = run(
        *(f"{site}/bin/vaeudf", "draw_catalog", "--output", "c", "--items", "5", "--size", "16"),
        cwd=empty,
        PYTHONPATH=str(site),
        **dict.fromkeys(unset),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1 and json.loads(done.stdout)["output"] == f"{empty}/c"
    # vaeudf's log settings and properties were used: Spark says nothing, and shows no web page.
    assert "WARN " not in done.stderr and "INFO " not in done.stderr
    assert os.listdir(empty) == ["c"]
