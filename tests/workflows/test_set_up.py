"""What spark-submit.sh does where something is missing, and when that ends in the middle."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.jobs import ROOT, run

# A Python that makes environments of itself, and whose pip does what the file `pip` says.
PYTHON = """#!/usr/bin/env bash
set -eu
case "$*" in
  "-m venv --clear "*)
    rm -rf "$4" && mkdir -p "$4/bin" "$4/lib/python3.0/site-packages"
    cp "$0" "$4/bin/python" && echo venv >>"{folder}/calls" ;;
  "-m pip install "*) echo install >>"{folder}/calls" && . "{folder}/pip" ;;
esac
"""

ENDS_WELL = """
echo "Collecting torch==2.13.0"
echo "  Downloading torch-2.13.0-cp310-cp310-linux.whl (526.6 MB)"
echo "Requirement already satisfied: numpy"
"""

NOT_INSTALLED = (
    "the packages could not be installed; what pip said is above. (No versions found: no way to "
    "the index.) When that is mended, run the same command again: it goes on with what has been "
    "fetched."
)


@pytest.fixture
def checkout(tmp_path) -> Path:
    for name in ("spark-submit.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "python").write_text(PYTHON.format(folder=tmp_path))
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def set_up(checkout: Path, pip: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Set up with a pip that does this; also, what was called."""
    (checkout / "pip").write_text(pip)
    (checkout / "calls").write_text("")
    python = str(checkout / "python")
    done = run(f"{checkout}/spark-submit.sh", "setup", VAEUDF_VENV=None, PYTHON=python)
    return done, (checkout / "calls").read_text().split()


def test_progress_is_shown_once(checkout):
    done, calls = set_up(checkout, ENDS_WELL)
    assert done.returncode == 0 and calls == ["venv", "install"]
    assert done.stderr.splitlines() == [
        f"setting up {checkout}/.venv (once, a few minutes) …",
        "  Downloading torch-2.13.0-cp310-cp310-linux.whl (526.6 MB)",
        f"set up: {checkout}/.venv",
    ]
    done, calls = set_up(checkout, ENDS_WELL)
    assert done.returncode == 0 and calls == []
    assert done.stderr.splitlines() == [f"set up: {checkout}/.venv"]


@pytest.mark.parametrize("end", ["exit 1", "kill -9 $$"])
def test_the_next_try_goes_on(checkout, end):
    said = "ERROR: [Errno 28] No space left on device"
    packages = checkout / ".venv" / "lib" / "python3.0" / "site-packages"
    failing = f"""
        mkdir "{packages}/torch-2.13.0.dist-info" "{packages}/numpy-2.4.6.dist-info"
        echo pip >"{packages}/numpy-2.4.6.dist-info/INSTALLER"
        echo "{said}" >&2
        {end}
    """
    done, calls = set_up(checkout, failing)
    assert done.returncode == 2 and calls == ["venv", "install"]
    assert said in done.stderr
    assert done.stderr.endswith(f"error: {NOT_INSTALLED}\n")
    done, calls = set_up(checkout, ENDS_WELL)
    assert done.returncode == 0 and calls == ["install"]
    # What pip had not finished is not taken for installed.
    assert [path.name for path in packages.iterdir()] == ["numpy-2.4.6.dist-info"]


def test_an_environment_that_is_half_made_is_made_anew(checkout):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/no/such/python")
    (checkout / ".venv" / "bin" / "pip").touch(0o755)
    done, calls = set_up(checkout, ENDS_WELL)
    assert done.returncode == 0 and calls == ["venv", "install"]


@pytest.mark.slow
def test_no_way_to_the_index(checkout):
    """With Python's own pip."""
    for variables in ({}, {"PIP_NO_CACHE_DIR": "1"}):
        done = run(
            *(f"{checkout}/spark-submit.sh", "setup"),
            VAEUDF_VENV=None,
            PIP_CONFIG_FILE="/dev/null",
            PIP_FIND_LINKS=None,
            PIP_EXTRA_INDEX_URL=None,
            PIP_INDEX_URL="http://127.0.0.1:9/simple",
            PIP_RETRIES="0",
            **variables,
        )
        assert done.returncode == 2
        # pip says no more than that it has found nothing.
        assert "from versions: none" in done.stderr
        assert f"error: {NOT_INSTALLED}" in done.stderr
        assert not (checkout / ".venv" / ".set-up").exists()
