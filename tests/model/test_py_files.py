"""Python files of the user's, on the path of imports."""

from __future__ import annotations

import importlib
import re
import sys
import zipfile

import pytest

from vaeudf.errors import InputError
from vaeudf.model.py_files import as_file, split_factory, use_py_files


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


def package(folder, name, *, with_init=True):
    """A package whose model is in a module of it, which imports another."""
    root = folder / name
    (root / "parts").mkdir(parents=True)
    if with_init:
        (root / "__init__.py").write_text("")
        (root / "parts" / "__init__.py").write_text("VALUE = 3\n")
        (root / "nets.py").write_text("from .parts import VALUE\n")
    else:
        (root / f"nets_{name}.py").write_text("VALUE = 4\n")
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "nets.pyc").write_bytes(b"x")
    return root


def test_a_folder_is_a_package_or_holds_modules(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    root = package(tmp_path, f"net_{tmp_path.name}")
    loose = package(tmp_path, f"src_{tmp_path.name}", with_init=False)
    use_py_files([str(root), f"{loose}/"])
    assert importlib.import_module(f"{root.name}.nets").VALUE == 3
    assert importlib.import_module(f"nets_{loose.name}").VALUE == 4


def test_a_package_is_sent_as_an_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "sent").mkdir()
    root = package(tmp_path / "a", f"pack_{tmp_path.name}")
    loose = package(tmp_path / "b", f"more_{tmp_path.name}", with_init=False)
    files = [as_file(str(path), tmp_path / "sent") for path in (root, loose, root)]
    assert len(set(files)) == 3 and all(file.suffix == ".zip" for file in files)
    with zipfile.ZipFile(files[0]) as content:
        assert sorted(content.namelist()) == [
            f"{root.name}/{name}" for name in ("__init__.py", "nets.py", "parts/__init__.py")
        ]
    sys.path[1:1] = [str(file) for file in files[:2]]
    assert importlib.import_module(f"{root.name}.nets").VALUE == 3
    assert importlib.import_module(f"nets_{loose.name}").VALUE == 4
    module = tmp_path / "m.py"
    module.write_text("")
    assert as_file(str(module), tmp_path / "sent") == module


def test_a_folder_that_is_too_large_or_empty(tmp_path):
    root = package(tmp_path, "large")
    with open(root / "data.bin", "wb") as file:
        file.truncate(2**28 + 1)  # without taking room
    with pytest.raises(InputError, match=r"large, a folder of [\d,]+ bytes, which are sent to"):
        as_file(str(root), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="which is a folder without modules; expected a module"):
        use_py_files([str(tmp_path / "empty")])


def test_a_factory_in_a_file(tmp_path):
    (tmp_path / "my_vae.py").write_text("")
    (tmp_path / "my-vae.py").write_text("")
    file = str(tmp_path / "my_vae.py")
    assert split_factory(f"{file}:Vae.make") == ("my_vae:Vae.make", file)
    assert split_factory("package.module:make") == ("package.module:make", None)
    assert split_factory("nothing") == ("nothing", None)
    with pytest.raises(InputError, match=r"none\.py does not exist; expected FILE\.py:CALLABLE"):
        split_factory(f"{tmp_path}/none.py:Vae")
    with pytest.raises(InputError, match=r"my-vae\.py cannot be imported by this name; rename it"):
        split_factory(f"{tmp_path}/my-vae.py:Vae")
