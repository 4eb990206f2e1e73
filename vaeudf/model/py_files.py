"""Python files of a user's own, with the code that makes their model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from vaeudf.errors import InputError

_SUFFIXES = (".py", ".zip", ".egg", ".whl")


def use_py_files(paths: Sequence[str] | None) -> None:
    """Let this process import from modules (.py) and archives (.zip, .egg, .whl).

    Raises:
        InputError: A file does not exist, or is neither.
    """
    for path in paths or ():
        file = Path(path).expanduser().absolute()
        if file.suffix not in _SUFFIXES or not file.is_file():
            raise InputError(
                f"--py-files names {path}, which "
                f"{'is no such file' if file.is_file() else 'does not exist'}; expected a module "
                f"or an archive of a package: {', '.join(_SUFFIXES)}."
            )
        place = str(file.parent if file.suffix == ".py" else file)
        if place not in sys.path:
            sys.path.insert(1, place)
