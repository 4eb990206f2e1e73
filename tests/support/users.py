"""Commands of other Unix users, as far as a test that root runs can start them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GROUP = 100
"""Of all users here, besides their own."""
# What follows is the folder of this Python, the folder that keeps it from others, and a command.
_SCRIPT = """
hold=$(mktemp -d)
mount --bind "$1" "$hold"
mount -t tmpfs -o mode=755 none "$2"
mkdir -p "$1"
mount --move "$hold" "$1"
rmdir "$hold"
umask 002
shift 2
exec "$@"
"""


def as_user(user: str) -> tuple[str, ...]:
    """Return what commands begin with that a user of this machine runs, also in the group.

    The test is skipped where nobody may become another user, or this Python cannot be shown to it.

    Args:
        user: The name, which Java wants to know.
    """
    if os.getuid() != 0:
        pytest.skip("only root starts processes of other users")
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv, which starts processes of other users")
    own = pwd.getpwnam(user)
    become = ("setpriv", f"--reuid={own.pw_uid}", f"--regid={own.pw_gid}", f"--groups={GROUP}")
    base = Path(sys.base_prefix).resolve()
    closed = [folder for folder in base.parents if not folder.stat().st_mode & 0o005]
    prefix = become
    if closed:
        script = ("sh", "-ec", _SCRIPT, "sh", str(base), str(closed[-1]))
        prefix = ("unshare", "--mount", *script, *become)
    looking = (*prefix, "--", sys.executable, "-c", "import pyspark, torch")
    done = subprocess.run(looking, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        pytest.skip(f"{user} cannot run this Python: {done.stderr.strip()[-200:]}")
    return prefix
