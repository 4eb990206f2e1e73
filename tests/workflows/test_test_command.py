"""What `./spark-submit.sh test` ends with, where a check or the tests find something."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.jobs import ROOT, run

TOOLS = ("python", "ruff", "mypy", "lint-imports")
# In place of each tool: it says that it was called and with what, and ends as it is told to.
TOOL = """#!/usr/bin/env bash
case "$*" in
  "-c "*) exit 0 ;;
  "-m vaeudf.precompile") exit 0 ;;
esac
echo "said by {name} $*"
exit {code}
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    for name in ("spark-submit.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def run_with(checkout: Path, **codes: int) -> subprocess.CompletedProcess[str]:
    """Run the tests with tools that end with these exit codes, and the others with 0."""
    for name in TOOLS:
        tool = checkout / "bin" / name
        tool.write_text(TOOL.format(name=name, code=codes.get(name.replace("-", "_"), 0)))
        tool.chmod(0o755)
    return run(f"{checkout}/spark-submit.sh", "test", "-k", "x", VAEUDF_VENV=str(checkout))


def test_nothing_is_found(checkout):
    done = run_with(checkout)
    assert done.returncode == 0
    assert done.stdout == "said by python -m pytest -k x\n"
    assert "said by ruff check .\nsaid by ruff format --check .\n" in done.stderr
    assert "said by mypy" not in done.stderr and "said by lint-imports" not in done.stderr


def test_style_is_checked_before_anything_else(checkout):
    done = run_with(checkout, ruff=1)
    assert done.returncode == 1
    assert done.stdout == "" and "mypy" not in done.stderr


@pytest.mark.parametrize("tool", ["mypy", "lint-imports"])
@pytest.mark.parametrize("tests", [0, 1])
def test_types_and_layers_end_the_run_with_an_error(checkout, tool, tests):
    done = run_with(checkout, python=tests, **{tool.replace("-", "_"): 3})
    assert done.returncode == 1
    assert done.stdout == "said by python -m pytest -k x\n"
    title = {"lint-imports": "import-linter"}.get(tool, tool)
    assert done.stderr.endswith(f"{title}:\nsaid by {tool} \n")


def test_the_tests_exit_code_is_kept(checkout):
    assert run_with(checkout, python=5).returncode == 5
