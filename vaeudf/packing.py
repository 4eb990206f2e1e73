"""An environment that runs in any folder, and the archive of it; for ./spark-submit.sh pack.

A virtual environment has packages, and a link to the Python that it was made with. Where that is
not on the cluster's machines too, nothing runs. So that Python is copied into the environment: the
interpreter, its standard library, and the shared libraries that are its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections import Counter
from pathlib import Path

_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
# Of the standard library: its tests, and what needs a screen, a compiler or an index.
_LEFT_OUT = shutil.ignore_patterns(
    *("site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3"),
    *("ensurepip", "config-*", "_test*.so", "_tkinter*.so", "_xxtest*.so", "xxlimited*.so"),
)
# Of the packages: their tests, what C++ programs are built with, what is for editors alone, and
# pip; for each file costs time where it is unpacked. The scripts name the folder that the
# environment was made in.
_NOT_PACKED = re.compile(
    r"/tests/|/torch/(?:test|include)/|/site-packages/pip/|^bin/(?!python)"
    r"|\.(?:h|hpp|cuh|cmake|pxd|pyx|pyi)$"
)
# What the modules need whose libraries a Python can be without.
_CHECK = "import sys, ctypes, hashlib, lzma, bz2, sqlite3, ssl, zlib; print(sys.base_prefix)"
_CUDA = re.compile(r"nvidia|triton|cuda", re.IGNORECASE)
_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


class CannotMove(Exception):
    """A Python that does not run in another folder; the text says why."""


def carry_python(environment: Path, patchelf: Path) -> None:
    """Copy the Python that runs this into a virtual environment of its own, in place of the link.

    Args:
        environment: The virtual environment, made with this Python.
        patchelf: The program of that name, which changes where a file looks for its libraries.

    Raises:
        CannotMove: This Python does not run in another folder. The environment is as it was.
    """
    base, interpreter = Path(sys.base_prefix), Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    standard = Path(sysconfig.get_path("stdlib", vars={"installed_base": str(base)}))
    if not sys.platform.startswith("linux"):
        raise CannotMove("only Pythons on Linux are carried")
    if base == Path("/usr") or standard != base / "lib" / _PYTHON:
        raise CannotMove(f"it belongs to the system, in {base}")
    library, binary = environment / "lib", environment / "bin" / _PYTHON
    shutil.copytree(standard, library / _PYTHON, ignore=_LEFT_OUT, dirs_exist_ok=True)
    for name in ("python", "python3", _PYTHON):
        (environment / "bin" / name).unlink(missing_ok=True)
    shutil.copy2(interpreter, binary)
    for name in ("python", "python3"):
        (environment / "bin" / name).symlink_to(_PYTHON)
    # Without it, Python looks for its library beside itself.
    (environment / "pyvenv.cfg").unlink()
    _carry_libraries(base, environment, patchelf)
    found = _output(str(environment / "bin/python"), "-I", "-c", _CHECK).strip()
    if Path(found).resolve() != environment.resolve():
        raise RuntimeError(f"the packed Python takes {found} for its own folder.")


def _carry_libraries(base: Path, environment: Path, patchelf: Path) -> None:
    """Copy the shared libraries below a Python's folder that it needs, and let it find them."""
    modules = sorted((environment / "lib" / _PYTHON / "lib-dynload").glob("*.so"))
    todo, seen = [environment / "bin" / _PYTHON, *modules], set[Path]()
    while todo:
        path = todo.pop()
        needed = [Path(found) for found in re.findall(r"=> (/\S+)", _output("ldd", str(path)))]
        own = [lib for lib in needed if lib.is_relative_to(base)]
        for lib in own:
            copy = environment / lib.relative_to(base)
            if copy not in seen:
                seen.add(copy)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(lib.resolve(), copy)
                todo.append(copy)
        folders = {lib.relative_to(base).parent for lib in own}
        if folders:
            ways = (os.path.relpath(environment / folder, path.parent) for folder in folders)
            path.chmod(path.stat().st_mode | 0o200)
            where = ":".join(f"$ORIGIN/{way}" for way in sorted(ways))
            _output(str(patchelf), "--set-rpath", where, str(path))


def make_archive(environment: Path, archive: Path) -> str:
    """Pack an environment, and return what it has come to, in lines for people.

    Args:
        environment: The folder; names in the archive are relative to it.
        archive: The file to make, ``….tar.gz``.
    """
    sizes: Counter[str] = Counter()
    # Compressing harder takes minutes and saves a tenth.
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        for folder, folders, files in os.walk(environment):
            links = [name for name in folders if (Path(folder) / name).is_symlink()]
            for name in sorted([*files, *links]):
                path = Path(folder) / name
                inner = path.relative_to(environment).as_posix()
                if not _NOT_PACKED.search(f"/{inner}") and not _NOT_PACKED.match(inner):
                    packed.add(path, inner)
                    sizes[_part(inner)] += path.lstat().st_size
    return _told(archive, sizes)


def _part(inner: str) -> str:
    """Return what a file is counted to: a package, or Python itself."""
    match = re.match(r"lib/python[\d.]+/site-packages/([^/]+)", inner)
    return "Python" if match is None else match[1].removesuffix(".libs").removesuffix(".py")


def _told(archive: Path, sizes: Counter[str]) -> str:
    largest = ", ".join(f"{name} {_gigabytes(size)}" for name, size in sizes.most_common(5))
    said = [
        f"{archive.name}: {_gigabytes(archive.stat().st_size)} GB, unpacked "
        f"{_gigabytes(sizes.total())} GB: {largest}, …"
    ]
    cuda = {name: size for name, size in sizes.items() if _CUDA.match(name)}
    # A package for CPUs may have the name, too, and be small.
    if sum(cuda.values()) > 2**26:
        said.append(
            f"{_gigabytes(sum(cuda.values()))} GB of it are for GPUs ({', '.join(sorted(cuda))}). "
            f"For a cluster without: rm -r dist; PIP_EXTRA_INDEX_URL={_CPU_INDEX} "
            "./spark-submit.sh pack"
        )
    return "\n".join(said)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f}"


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # ldd refuses what is linked to nothing.
    if done.returncode and command[0] != "ldd":
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


def main(argv: list[str]) -> None:
    """Take ``carry ENVIRONMENT PATCHELF`` or ``archive ENVIRONMENT FILE``."""
    action, first, second = argv
    if action == "archive":
        sys.stdout.write(make_archive(Path(first), Path(second)) + "\n")
        return
    try:
        carry_python(Path(first), Path(second))
    except CannotMove as error:
        interpreter = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
        sys.stdout.write(
            f"the archive has no Python of its own, for {interpreter} cannot be moved: {error}. "
            f"Every machine must have {_PYTHON} at that path. For an archive that brings its own, "
            "make .venv with another Python, of pyenv or uv: rm -r .venv; PYTHON=… "
            "./spark-submit.sh pack\n"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
