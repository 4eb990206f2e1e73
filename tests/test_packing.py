"""The archive of an environment: what goes in, what is said of it, and a Python that cannot go.

That a carried Python runs where none is, tests/cluster/test_packed.py shows.
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import pytest

from vaeudf.packing import main

SITE = "lib/python3.11/site-packages"


def environment(folder: Path, **sizes: int) -> Path:
    """A folder with packages of so many bytes each, and with what is not packed."""
    others = (
        *("bin/python3.11", "bin/activate", "bin/vaeudf", "lib/python3.11/os.py"),
        *(f"{SITE}/torch/include/a.h", f"{SITE}/numpy/tests/a.py", f"{SITE}/torch/test/a.py"),
        *(f"{SITE}/pip/__init__.py", f"{SITE}/numpy/a.pyi", f"{SITE}/pyarrow/src/a.h"),
    )
    for name in others:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 10**6)
    for name, size in sizes.items():
        path = folder / SITE / name / "lib.so"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        with open(path, "r+b") as stream:
            stream.truncate(size)
    (folder / "bin/python").symlink_to("python3.11")
    (folder / "lib64").symlink_to("lib")
    return folder


def packed(folder: Path, capsys, **sizes: int) -> tuple[set[str], list[str]]:
    """Return the names in the archive, and what is said of it."""
    archive = folder / "environment.tar.gz"
    main(["archive", str(environment(folder / "it", **sizes)), str(archive)])
    with tarfile.open(archive) as found:
        return set(found.getnames()), capsys.readouterr().out.splitlines()


def test_what_goes_in_and_what_is_said(tmp_path, capsys):
    names, said = packed(tmp_path, capsys, torch=48_000_000, numpy=12_000_000)
    assert names == {
        *("bin/python", "bin/python3.11", "lib64", "lib/python3.11/os.py"),
        *(f"{SITE}/torch/lib.so", f"{SITE}/numpy/lib.so"),
    }
    assert said == [
        "environment.tar.gz: 0.00 GB, unpacked 0.06 GB: torch 0.05, numpy 0.01, Python 0.00, …"
    ]


def test_packages_for_gpus(tmp_path, capsys):
    _, said = packed(tmp_path, capsys, torch=1, nvidia=60_000_000, triton=20_000_000)
    assert said[1:] == [
        "0.08 GB of it are for GPUs (nvidia, triton). For a cluster without: rm -r dist; "
        "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu ./spark-submit.sh pack"
    ]


def test_a_python_that_cannot_be_moved(tmp_path, capsys, monkeypatch):
    """The system's own. The environment stays as it is, with its link."""
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(sys, "_base_executable", "/usr/bin/python3.11", raising=False)
    folder = environment(tmp_path / "it")
    before = sorted(folder.rglob("*"))
    main(["carry", str(folder), "patchelf"])
    said = capsys.readouterr().out
    assert sorted(folder.rglob("*")) == before
    assert said.startswith("the archive has no Python of its own, for /usr/bin/python3.")
    assert "cannot be moved: it belongs to the system, in /usr. Every machine must have" in said
    assert "rm -r .venv; PYTHON=… ./spark-submit.sh pack" in said


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems(tmp_path, capsys, monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    main(["carry", str(environment(tmp_path / "it")), "patchelf"])
    assert "cannot be moved: only Pythons on Linux are carried. Every" in capsys.readouterr().out
