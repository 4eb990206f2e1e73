"""Python files of the user's, on the path of imports."""

from __future__ import annotations

import importlib
import re
import sys
import zipfile

import pytest

from vaeudf.errors import InputError
from vaeudf.model.py_files import use_py_files


def test_modules_and_archives_can_be_imported(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = tmp_path / f"single_{tmp_path.name}.py"
    module.write_text("VALUE = 1")
    packed = f"packed_{tmp_path.name}"
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        archive.writestr(f"{packed}/__init__.py", "VALUE = 2")
    for _ in range(2):
        use_py_files([str(module), str(tmp_path / "package.zip")])
    assert sys.path.count(str(tmp_path)) == sys.path.count(str(tmp_path / "package.zip")) == 1
    assert importlib.import_module(module.stem).VALUE == 1
    assert importlib.import_module(packed).VALUE == 2
    use_py_files(None)


@pytest.mark.parametrize(
    ("name", "why"), [("none.py", "does not exist"), ("notes.txt", "is another kind of file")]
)
def test_other_files(tmp_path, name, why):
    (tmp_path / "notes.txt").write_text("x")
    path = str(tmp_path / name)
    message = f"--py-files names {path}, which {why}; expected a module or an archive of a package:"
    with pytest.raises(InputError, match=re.escape(message)):
        use_py_files([path])
