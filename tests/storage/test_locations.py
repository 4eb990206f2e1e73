"""Paths and URIs, and folders that are replaced only by whole ones."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pyarrow.fs
import pytest

import vaeudf.storage.locations
from vaeudf.errors import InputError
from vaeudf.storage.locations import (
    absolute,
    check_output,
    exists,
    filesystem,
    is_empty_folder,
    remove,
    replacing,
    spark_literal,
    spark_uri,
)

NAMES = [
    "plain",
    "with space",
    "Ünïcode 日本 👕",
    "[a]{b}*?",
    "50%25",
    "a#b?c=d&e",
    'it\'s "so"',
    "-x",
]
LONG = {f"f{i}": str(i) for i in range(5)}


def fill(folder, **files):
    """Write files, also below folders that do not exist yet."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        Path(folder, name).write_text(text)


def tree(folder):
    """All files below a folder, hidden ones too, with their text."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


# ---- names


def test_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/kim")
    for path, expected in {
        "a/b": f"{tmp_path}/a/b",
        "./a/": f"{tmp_path}/a",
        "/a/b/": "/a/b",
        "~/a": "/home/kim/a",
        "file:///a/b": "/a/b",
        "file:/a/b": "/a/b",
        "file:///a b%20c": "/a b%20c",  # as Hadoop reads it: not an encoded space
        "s3://bucket/a/b": "s3://bucket/a/b",
        "abfss://c@h.net/x": "abfss://c@h.net/x",
        "hdfs://name:8020/x": "hdfs://name:8020/x",
        "dbfs:/x": "dbfs:/x",
        "2024-01-01T10:00": f"{tmp_path}/2024-01-01T10:00",
        "C:x": f"{tmp_path}/C:x",
    }.items():
        assert absolute(path) == expected
        assert absolute(absolute(path)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_filesystem_of_a_local_path(tmp_path, name):
    files, inner = filesystem(str(tmp_path / name))
    assert isinstance(files, pyarrow.fs.LocalFileSystem) and inner == str(tmp_path / name)
    assert filesystem(f"file://{tmp_path}/{name}")[1] == inner


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("foo://bucket/x", "Unrecognized filesystem"),
        ("dbfs:/x", "expected a path, or a URI like s3://bucket/key"),
        ("run:1/x", "expected a path, or a URI like s3://bucket/key"),
    ],
)
def test_unknown_schemes(uri, problem):
    with pytest.raises(InputError, match=f"^cannot open {re.escape(uri)}: {problem}"):
        exists(uri)


@pytest.mark.parametrize("name", NAMES)
def test_spark_uri_has_a_scheme_and_encodes_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert spark_uri(name) == f"file://{tmp_path}/{name}"
    assert spark_uri(f"file://{tmp_path}/{name}") == f"file://{tmp_path}/{name}"


def test_spark_uri_of_remote_paths():
    for uri in ("s3a://bucket/a b", "hdfs://name:8020/x", "abfss://c@h.net/*.jpg"):
        assert spark_uri(uri) == uri


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b c", "file:///a/b c"),
        ("/a[1]", r"file:///a\[1\]"),
        ("/a{b,c}", r"file:///a\{b,c\}"),
        ("/*.jp?g", r"file:///\*.jp\?g"),
        ("/a\\b", r"file:///a\\b"),
        ("s3://bucket/x[1]*", r"s3a://bucket/x\[1\]\*"),
        ("/50%25 é", "file:///50%25 é"),
    ],
)
def test_spark_literal_escapes_what_a_glob_would_read(path, expected):
    assert spark_literal(path) == expected


# ---- looking and removing


@pytest.mark.parametrize("name", NAMES)
def test_exists_and_remove(tmp_path, name):
    folder, file = tmp_path / name, tmp_path / "files" / name
    fill(folder / "inner", **{name: "x"})
    fill(tmp_path / "files", **{name: "x"})
    fill(tmp_path / "other", a="x")
    for path in (folder, file):
        assert exists(str(path)) and exists(f"file://{path}")
        remove(str(path))
        assert not exists(str(path)) and not path.exists()
        remove(str(path))  # nothing there is fine
    assert tree(tmp_path) == {"other/a": "x"}


def test_remove_takes_a_link_and_not_what_it_points_to(tmp_path):
    fill(tmp_path / "real", a="x")
    (tmp_path / "link").symlink_to("real")
    remove(str(tmp_path / "link"))
    assert os.listdir(tmp_path) == ["real"] and tree(tmp_path) == {"real/a": "x"}


def test_is_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "full", **{".hidden": "x"})
    assert is_empty_folder(str(tmp_path / "empty"))
    assert is_empty_folder(f"file://{tmp_path}/empty")
    assert not is_empty_folder(str(tmp_path / "full"))
    assert not is_empty_folder(str(tmp_path / "full" / ".hidden"))
    assert not is_empty_folder(str(tmp_path / "none"))


def test_check_output(tmp_path):
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "full", a="x")
    fill(tmp_path / "ours", marker="x")
    for name in ("none", "empty"):
        check_output(str(tmp_path / name), overwrite=False, marker="marker")
    check_output(f"{tmp_path}/ours", overwrite=True, marker="marker")
    for name in ("ours", "full", "full/a"):
        path = f"{tmp_path}/{name}"
        message = f"{path} exists already; name another folder, or replace it with --overwrite."
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            check_output(path, overwrite=False, marker="marker")
    for name in ("full", "full/a"):
        with pytest.raises(InputError, match=r"is not the output of such a job \(it has no marker"):
            check_output(f"{tmp_path}/{name}", overwrite=True, marker="marker")
    assert tree(tmp_path) == {"full/a": "x", "ours/marker": "x"}


@pytest.mark.parametrize(
    ("output", "source", "clash"),
    [
        ("a", "a", True),
        ("a/", "a/b/c", True),
        ("a/b", "a", True),
        ("ab", "a", False),
        ("a", "ab", False),
    ],
)
def test_an_output_is_neither_above_nor_below_an_input(tmp_path, output, source, clash):
    def check():
        check_output(f"{tmp_path}/{output}", True, "marker", [f"{tmp_path}/{source}"])

    if not clash:
        return check()
    with pytest.raises(InputError, match="are one, or one is inside the other"):
        check()


# ---- replacing


@pytest.mark.parametrize("name", NAMES)
def test_replacing_makes_a_new_folder(tmp_path, name):
    with replacing(str(tmp_path / name)) as staging:
        assert os.path.dirname(staging) == str(tmp_path)
        assert os.path.basename(staging).startswith(".")
        fill(staging, a="1")
        assert not exists(str(tmp_path / name))
    assert tree(tmp_path) == {f"{name}/a": "1"} and os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", NAMES)
def test_replacing_takes_the_place_of_an_older_folder(tmp_path, name):
    fill(tmp_path / name / "sub", old="0")
    with replacing(str(tmp_path / name)) as staging:
        fill(staging, a="1")
        assert tree(tmp_path / name) == {"sub/old": "0"}
    assert tree(tmp_path) == {f"{name}/a": "1"} and os.listdir(tmp_path) == [name]


def test_replacing_other_spellings_of_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("out", "out/", "./out", f"file://{tmp_path}/out"):
        with replacing(path) as staging:
            fill(staging, a=path)
        assert tree(tmp_path) == {"out/a": path}
    with replacing("deep/er/out") as staging:
        fill(staging, a="1")
    assert tree(tmp_path / "deep") == {"er/out/a": "1"}


def test_replacing_a_file_or_with_a_file(tmp_path):
    path = tmp_path / "out"
    path.write_text("old")
    with replacing(str(path)) as staging:
        fill(staging, a="1")
    assert tree(tmp_path) == {"out/a": "1"}
    with replacing(str(path)) as staging:
        Path(staging).write_text("new")
    assert tree(tmp_path) == {"out": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [{}, LONG])
def test_an_error_keeps_the_older_folder_and_leaves_nothing_else(tmp_path, error, old):
    if old:
        fill(tmp_path / "out", **old)
    with pytest.raises(error), replacing(str(tmp_path / "out")) as staging:
        fill(staging, a="1")
        fill(f"{staging}/sub", b="1")
        raise error
    assert tree(tmp_path) == {f"out/{name}": text for name, text in old.items()}
    assert os.listdir(tmp_path) == (["out"] if old else [])


def test_a_block_that_writes_nothing_keeps_the_older_folder(tmp_path):
    fill(tmp_path / "out", **LONG)
    with pytest.raises(FileNotFoundError), replacing(str(tmp_path / "out")):
        pass
    assert tree(tmp_path / "out") == LONG and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_move_that_fails_keeps_the_older_folder(tmp_path, monkeypatch, failing):
    fill(tmp_path / "out", **LONG)
    calls = []

    def move(source, target):
        calls.append(target)
        if len(calls) == failing:
            raise PermissionError(target)
        original(source, target)

    original = vaeudf.storage.locations._move
    monkeypatch.setattr(vaeudf.storage.locations, "_move", move)
    with pytest.raises(PermissionError), replacing(str(tmp_path / "out")) as staging:
        fill(staging, a="1")
    assert tree(tmp_path / "out") == LONG and os.listdir(tmp_path) == ["out"]


def test_two_runs_at_once_do_not_share_a_folder(tmp_path):
    with replacing(str(tmp_path / "out")) as first, replacing(str(tmp_path / "out")) as second:
        assert first != second
        fill(first, a="1")
        fill(second, a="2")
    assert tree(tmp_path) == {"out/a": "1"}
