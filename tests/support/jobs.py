"""Jobs started as a user starts them: a process each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(
    *command: str, cwd: str | Path = "/", timeout: float = 300, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a command from another folder than the checkout, with variables set or (None) unset."""
    merged = {**os.environ, "VAEUDF_VENV": sys.prefix, **environment}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        env={name: value for name, value in merged.items() if value is not None},
    )


def submit(
    *arguments: str, cwd: str | Path = "/", timeout: float = 300, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    command = str(ROOT / "spark-submit.sh"), *arguments
    return run(*command, cwd=cwd, timeout=timeout, **environment)


def summary(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return json.loads(lines[-1])


def pack() -> Path:
    """Return the folder that ./spark-submit.sh pack makes, which takes minutes the first time."""
    environment = {**os.environ, "VAEUDF_VENV": sys.prefix}
    subprocess.run([ROOT / "spark-submit.sh", "pack"], env=environment, check=True, timeout=900)
    return ROOT / "dist"
