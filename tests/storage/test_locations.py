"""Paths and URIs, and what is there."""

from __future__ import annotations

import os
import re

import pyarrow.fs
import pytest

from tests.support.folders import NAMES, fill, tree
from vaeudf.errors import InputError
from vaeudf.storage.locations import (
    absolute,
    exists,
    filesystem,
    is_empty_folder,
    is_whole_store,
    remove,
    spark_literal,
    spark_uri,
)

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


def test_whole_stores():
    for path in ("s3://bucket", "s3a://bucket/", "gs://bucket//"):
        assert is_whole_store(path)
    for path in ("s3://bucket/a", "/", "/data"):
        assert not is_whole_store(path)
