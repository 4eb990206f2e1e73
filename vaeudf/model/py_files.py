"""Python files of the user's, with the code that makes their model."""

from __future__ import annotations

import keyword
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from vaeudf.errors import InputError
from vaeudf.storage.locations import absolute, is_local

_SUFFIXES = (".py", ".zip", ".egg", ".whl")
# What is left out of a package that is sent to executors.
_NOT_CODE = ("__pycache__", ".git")
_MOST_BYTES_OF_CODE = 2**28


def use_py_files(paths: Sequence[str] | None) -> None:
    """Let this process import from modules (.py), archives (.zip, .egg, .whl) and packages.

    Raises:
        InputError: A file does not exist, is in a store, or is of another kind.
    """
    for path in paths or ():
        file = _checked(path)
        if file.is_dir():
            place = str(_root_of(file))
        else:
            place = str(file.parent if file.suffix == ".py" else file)
        if place not in sys.path:
            sys.path.insert(1, place)


def as_file(path: str, folder: Path) -> Path:
    """Return what Spark can send of a module, an archive or a package: a file.

    Args:
        path: As for :func:`use_py_files`.
        folder: Where the archive of a package is made.

    Raises:
        InputError: As :func:`use_py_files`, or the package has more than 256 MiB.
    """
    file = _checked(path)
    if not file.is_dir():
        return file
    found = [part for part in sorted(file.rglob("*")) if part.is_file() and _is_code(part, file)]
    size = sum(part.stat().st_size for part in found)
    if size > _MOST_BYTES_OF_CODE:
        raise InputError(
            f"--py-files names {path}, a folder of {size:,} bytes, which are sent to every "
            f"executor; expected at most {_MOST_BYTES_OF_CODE:,}. Name the package with the "
            "model's code alone."
        )
    archive = folder / f"{file.name}.zip"
    number = 1
    while archive.exists():  # another package of this name
        number += 1
        archive = folder / f"{file.name}-{number}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as content:
        for part in found:
            content.write(part, part.relative_to(_root_of(file)))
    return archive


def split_factory(factory: str) -> tuple[str, str | None]:
    """Return ``module:callable`` and the file of the module, if ``file.py:callable`` names one.

    Raises:
        InputError: The file does not exist, is in a store, or has a name that no module can have.
    """
    path, colon, name = factory.rpartition(":")
    if not colon or not path.endswith(".py"):
        return factory, None
    file = _local(path, "--factory")
    if not file.is_file():
        raise InputError(f"factory {factory}: {path} does not exist; expected FILE.py:CALLABLE.")
    if not file.stem.isidentifier() or keyword.iskeyword(file.stem):
        raise InputError(
            f"factory {factory}: {file.name} cannot be imported by this name; rename it, with "
            "letters, digits and underscores alone."
        )
    return f"{file.stem}:{name}", str(file)


def _local(path: str, what: str) -> Path:
    """Return the absolute path of code, which Python imports from this machine alone.

    Raises:
        InputError: It is the URI of a store.
    """
    if not is_local(path):
        raise InputError(
            f"{what} names {path}, in a store; expected a path on this machine, for Python "
            "imports code from there. Copy it here, and name the copy."
        )
    return Path(absolute(path))


def _checked(path: str) -> Path:
    file = _local(path, "--py-files")
    try:
        is_package = file.is_dir() and any(file.glob("*.py"))
    except OSError as error:
        raise InputError(f"--py-files names {path}, which cannot be read: {error}.") from None
    if not is_package and not (file.suffix in _SUFFIXES and file.is_file()):
        if file.is_dir():
            why = "is a folder without modules"
        else:
            why = "is another kind of file" if file.is_file() else "does not exist"
        raise InputError(
            f"--py-files names {path}, which {why}; expected a module or an archive of a "
            f"package: {', '.join(_SUFFIXES)}; or the folder of a package."
        )
    return file


def _root_of(folder: Path) -> Path:
    """Return from where a folder is imported: the folder above a package, or that of modules."""
    return folder.parent if (folder / "__init__.py").is_file() else folder


def _is_code(part: Path, folder: Path) -> bool:
    return not any(name in _NOT_CODE for name in part.relative_to(folder).parts)
