"""Folders that are written: what may be replaced, and that only by a whole one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import vaeudf.storage.outputs
from tests.support.folders import LONG, NAMES, fill, tree
from vaeudf.errors import InputError
from vaeudf.storage.locations import exists
from vaeudf.storage.outputs import check_output, replacing, replacing_all


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


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    def refusal(path):
        with pytest.raises(InputError) as caught:
            check_output(str(path), overwrite=True, marker="marker")
        return str(caught.value)

    fill(tmp_path, file="x")
    path = tmp_path / "file" / "deep" / "er"
    assert refusal(path) == (
        f"{path} cannot be made, for {tmp_path}/file is a file; name another folder."
    )
    # Root, who runs some tests, may write everywhere.
    monkeypatch.setattr(os, "access", lambda folder, mode: folder != str(tmp_path))
    path = tmp_path / "deep" / "er"
    assert refusal(path) == (
        f"{path} cannot be made, for this user may not write to {tmp_path}; name another folder."
    )
    assert tree(tmp_path) == {"file": "x"}


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
        check_output(
            f"{tmp_path}/{output}",
            overwrite=True,
            marker="marker",
            inputs=[f"{tmp_path}/{source}"],
        )

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

    def move(source, target, *more):
        calls.append(target)
        if len(calls) == failing:
            raise PermissionError(target)
        original(source, target, *more)

    original = vaeudf.storage.outputs._move
    monkeypatch.setattr(vaeudf.storage.outputs, "_move", move)
    with pytest.raises(PermissionError), replacing(str(tmp_path / "out")) as staging:
        fill(staging, a="1")
    assert tree(tmp_path / "out") == LONG and os.listdir(tmp_path) == ["out"]


def test_two_runs_at_once_do_not_share_a_folder(tmp_path):
    with replacing(str(tmp_path / "out")) as first, replacing(str(tmp_path / "out")) as second:
        assert first != second
        fill(first, a="1")
        fill(second, a="2")
    assert tree(tmp_path) == {"out/a": "1"}


# ---- replacing_all


def test_folders_that_belong_together(tmp_path):
    fill(tmp_path / "a", old="0")
    fill(tmp_path / "c", old="0")
    a, b, c, d = (str(tmp_path / name) for name in "abcd")
    with replacing_all({a: "mark", b: None}, removing=[c, d]) as (first, second):
        fill(first, new="1")
        fill(second, new="2")
        assert tree(a) == tree(c) == {"old": "0"} and not exists(b)
    assert tree(tmp_path) == {"a/mark": "", "a/new": "1", "b/new": "2"}
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("failing", range(1, 6))
def test_a_move_that_fails_keeps_all_older_folders(tmp_path, monkeypatch, failing):
    fill(tmp_path / "a", **LONG)
    fill(tmp_path / "c", **LONG)
    a, b, c, d = (str(tmp_path / name) for name in "abcd")
    before = tree(tmp_path)
    calls = []

    def move(source, target, *more):
        calls.append(target)
        if len(calls) == failing:
            raise PermissionError(target)
        original(source, target, *more)

    original = vaeudf.storage.outputs._move
    monkeypatch.setattr(vaeudf.storage.outputs, "_move", move)
    with pytest.raises(PermissionError), replacing_all({a: "m", b: "m", d: "m"}, [c]) as folders:
        for folder in folders:
            fill(folder, new="1")
    assert tree(tmp_path) == before and sorted(os.listdir(tmp_path)) == ["a", "c"]
