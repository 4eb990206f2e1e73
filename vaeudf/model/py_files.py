"""Python files of the user's, with the code that makes their model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from vaeudf.errors import InputError

_SUFFIXES = (".py", ".zip", ".egg", ".whl")


def use_py_files(paths: Sequence[str] | None) -> None:
    """Let this process import from modules (.py) and archives (.zip, .egg, .whl).

    Raises:
        InputError: A file does not exist, or is of another kind.
    """
    for path in paths or ():
        file = Path(path).expanduser().absolute()
        if file.suffix not in _SUFFIXES or not file.is_file():
            why = "is another kind of file" if file.is_file() else "does not exist"
            raise InputError(
                f"--py-files names {path}, which {why}; expected a module or an archive of a "
                f"package: {', '.join(_SUFFIXES)}."
            )
        place = str(file.parent if file.suffix == ".py" else file)
        if place not in sys.path:
            sys.path.insert(1, place)
