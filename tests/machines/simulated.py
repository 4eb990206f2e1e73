"""Runs commands as if on another machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.machines.table import Machine
from tests.support import java
from tests.support.jobs import ROOT

WORK = ROOT / "build" / "machines"
_LOCALES = Path("/usr/share/i18n/locales")


@dataclass(frozen=True)
class Simulated:
    """A machine that commands can run on.

    Attributes:
        machine: Which.
        root: Its checkout.
        variables: The environment variables that make it, and the checkout, with their values.
        prefix: What stands before each command.
    """

    machine: Machine
    root: Path
    variables: dict[str, str]
    prefix: tuple[str, ...]

    def run(
        self, *command: str, variables: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there, in its checkout, with further environment variables."""
        return subprocess.run(
            (*self.prefix, *command),
            cwd=self.root,
            env={**os.environ, **self.variables, **(variables or {})},
            umask=self.machine.umask,
            text=True,
            **options,
        )

    def missing(self) -> str | None:
        """Why this machine cannot pass for that one, if it cannot."""
        probe = (sys.executable, "-m", "tests.machines.probe")
        done = self.run(*probe, variables={"ONEDNN_VERBOSE": "1"}, capture_output=True)
        if done.returncode:
            return done.stderr.strip().splitlines()[-1]
        *lines, last = done.stdout.splitlines()
        seen = json.loads(last)
        seen["onednn"] = next((line.split("isa:")[1] for line in lines if "cpu,isa:" in line), None)
        for name, expected in self.machine.shows.items():
            value = seen[name]
            if isinstance(expected, str):
                expected = placed(expected)
                # oneDNN names all that the processor has, after what is asked about.
                same = str(value).startswith(expected) if name == "onednn" else value == expected
            else:
                same = value == expected
            if not same:
                return f"{name} is {value!r} here, and {expected!r} there"
        return None


def simulate(machine: Machine) -> Simulated:
    """Set up what a machine needs."""
    WORK.mkdir(parents=True, exist_ok=True)
    variables = {name: placed(value) for name, value in machine.variables.items()}
    root = _copied_checkout() if machine.copied else ROOT
    path = [str(root)]
    if "LC_ALL" in variables:
        if not _make_locale(variables["LC_ALL"], Path(variables["LOCPATH"])):
            del variables["LOCPATH"]  # the machine's own locales
        path.append(str(root / "tests" / "machines" / "setlocale"))
    variables["PYTHONPATH"] = os.pathsep.join(path)
    variables["SPARK_SUBMIT_OPTS"] = " ".join(
        [*java.OPTIONS, *(f'"{placed(option)}"' for option in machine.java)]
    )
    variables["VAEUDF_VENV"] = sys.prefix
    prefix = _locked_home(Path(variables["HOME"])) if machine.locked_home else ()
    return Simulated(machine, root, variables, prefix)


def placed(text: str) -> str:
    """A text of the table, with the folder in its place."""
    return text.replace("{work}", str(WORK))


def _copied_checkout() -> Path:
    """A copy of all files that git would commit, and of what Numba has compiled of them."""
    copy = WORK / "Größe 1" / "vaeudf"
    shutil.rmtree(copy, ignore_errors=True)
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    files = [ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    for file in [*files, *(ROOT / "vaeudf").rglob("*.nb[ci]")]:
        if file.exists():
            place = copy / file.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place)
    return copy


def _make_locale(name: str, folder: Path) -> bool:
    """Compile a locale into a folder, if its source is here. Installing one takes root."""
    source, charmap = name.split(".")
    if not (shutil.which("localedef") and (_LOCALES / source).exists()):
        return False
    if not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ("localedef", "-i", source, "-f", charmap, str(folder / name))
        subprocess.run(command, check=False, capture_output=True)
    return (folder / name).exists()


def _locked_home(folder: Path) -> tuple[str, ...]:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    # Root writes everywhere, unless this right is taken from it.
    if os.getuid() == 0 and shutil.which("setpriv"):
        return ("setpriv", "--bounding-set=-dac_override", "--")
    return ()
