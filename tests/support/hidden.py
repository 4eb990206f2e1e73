"""Machines that lack something, as far as one machine can show them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def without_python(folder: Path) -> tuple[str, ...]:
    """Return what commands begin with for which the folder of this Python is empty.

    The test is skipped where that cannot be: it takes a mount namespace, and a Python that is not
    the system's.

    Args:
        folder: One that is there, and empty.
    """
    base = Path(sys.base_prefix).resolve()
    if base == Path("/usr"):
        pytest.skip("this Python is the system's, and cannot be hidden")
    return without(base, folder)


def without(hidden: Path, folder: Path) -> tuple[str, ...]:
    """Return what commands begin with for which a folder is empty.

    The test is skipped where that cannot be: it takes a mount namespace.

    Args:
        hidden: The folder; to be seen, it must have something in it.
        folder: One that is there, and empty.
    """
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh", str(folder), str(hidden))
    is_empty = ("sh", "-c", f"test -z \"$(ls -A '{hidden}')\"")
    if subprocess.run([*prefix, *is_empty], capture_output=True, check=False).returncode:
        pytest.skip(f"nothing may be mounted here, so {hidden} cannot be hidden")
    return prefix
