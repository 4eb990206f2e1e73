"""A machine without the Python that the tests run with, as far as one machine can show it."""

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
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh", str(folder), str(base))
    hidden = ("test", "!", "-e", f"{base}/bin")
    if subprocess.run([*prefix, *hidden], capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here, so this Python cannot be hidden")
    return prefix
