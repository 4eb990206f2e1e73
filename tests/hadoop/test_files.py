"""Files and folders of a real HDFS, as pyarrow's filesystem has them."""

from __future__ import annotations

import posixpath
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hdfs_native import Client
from pyarrow import fs

from tests.support.folders import NAMES
from vaeudf.errors import InputError
from vaeudf.storage.locations import (
    exists,
    filesystem,
    has_folders,
    is_empty_folder,
    is_file,
    is_whole_store,
    make_folder,
    remove,
)
from vaeudf.storage.outputs import check_output, mark, replacing
from vaeudf.storage.single_file import check_file, write_file

pytestmark = pytest.mark.hadoop


def put(uri: str, content: bytes = b"x") -> None:
    files, inner = filesystem(uri)
    with files.open_output_stream(inner) as stream:
        stream.write(content)


def get(uri: str) -> bytes:
    files, inner = filesystem(uri)
    with files.open_input_stream(inner) as stream:
        return stream.read()


def names(uri: str) -> list[str]:
    files, inner = filesystem(uri)
    found = files.get_file_info(fs.FileSelector(inner, recursive=True, allow_not_found=True))
    return sorted(entry.path[len(inner) + 1 :] for entry in found if entry.is_file)


def test_writing_listing_reading_and_removing(folder):
    assert not exists(folder) and not is_file(folder) and has_folders(filesystem(folder)[0])
    for name in (*NAMES, "a/b/c"):
        put(f"{folder}/{name}", name.encode())
    assert names(folder) == sorted([*NAMES, "a/b/c"])
    for name in (*NAMES, "a/b/c"):
        assert is_file(f"{folder}/{name}") and get(f"{folder}/{name}") == name.encode()
    put(f"{folder}/plain", b"another")
    assert get(f"{folder}/plain") == b"another"
    remove(f"{folder}/a")
    remove(f"{folder}/plain")
    remove(f"{folder}/plain")  # nothing there is fine
    assert names(folder) == sorted(set(NAMES) - {"plain"})
    remove(folder)
    assert not exists(folder)
    files, inner = filesystem(folder)
    make_folder(files, f"{inner}/x/y")
    assert is_empty_folder(f"{folder}/x/y") and not is_empty_folder(f"{folder}/x")
    assert is_whole_store(folder.rpartition("/")[0]) and not is_whole_store(folder)


def test_sizes_and_times(folder, hadoop):
    before = time.time()
    put(f"{folder}/a", b"12345")
    files, inner = filesystem(folder)
    (listed,) = files.get_file_info(fs.FileSelector(inner))
    (asked,) = files.get_file_info([f"{inner}/a"])
    for info in (listed, asked):
        assert (info.path, info.size, info.is_file) == (f"{inner}/a", 5, True)
        # To the millisecond, as HDFS has them.
        assert before - 0.001 <= info.mtime.timestamp() <= time.time()
        assert info.mtime_ns % 1_000_000 == 0
    Client(hadoop.uri).set_times(f"{inner}/a", 1_700_000_000_123, 1_700_000_000_123)
    assert files.get_file_info(f"{inner}/a").mtime_ns == 1_700_000_000_123_000_000
    assert files.get_file_info(inner).type == fs.FileType.Directory
    missing = files.get_file_info([f"{inner}/none", f"{inner}/a/below-a-file"])
    assert [info.type for info in missing] == [fs.FileType.NotFound] * 2


def test_parquet_in_ranges(folder):
    """Many blocks of the file at a time, by many threads."""
    rng = np.random.default_rng(0)
    table = pa.table({"i": np.arange(200_000), "x": rng.normal(size=200_000)})
    files, inner = filesystem(f"{folder}/table.parquet")
    pq.write_table(table, inner, filesystem=files, row_group_size=10_000)
    assert pq.read_table(inner, filesystem=files).equals(table)
    assert pq.ParquetFile(inner, filesystem=files).read_row_group(7).equals(table[70_000:80_000])
    with files.open_input_file(inner) as file, ThreadPoolExecutor(8) as pool:
        whole = file.read_at(file.size(), 0)
        starts = [int(start) for start in rng.integers(0, len(whole), 200)]
        found = pool.map(lambda start: file.read_at(5000, start), starts)
        for start, piece in zip(starts, found, strict=True):
            assert piece == whole[start : start + 5000]


def test_moving(folder):
    """In one step, and what is at the goal is replaced, as pyarrow says; not a full folder."""
    for name in ("a", "b", "full/x", "folder/y"):
        put(f"{folder}/{name}", name.encode())
    files, inner = filesystem(folder)
    files.create_dir(f"{inner}/empty")
    files.move(f"{inner}/a", f"{inner}/b")
    files.move(f"{inner}/folder", f"{inner}/empty")
    assert names(folder) == ["b", "empty/y", "full/x"] and get(f"{folder}/b") == b"a"
    for source, goal, problem in (
        ("empty", "full", "rename destination directory is not empty"),
        ("b", "full", "must both be directories"),
        ("none", "b", "rename source .*/none is not found"),
        ("b", "none/b", "rename destination parent .*/none/b not found"),
    ):
        with pytest.raises(OSError, match=problem) as found:
            files.move(f"{inner}/{source}", f"{inner}/{goal}")
        assert "\n" not in str(found.value)
    assert names(folder) == ["b", "empty/y", "full/x"]
    files.copy_file(f"{inner}/b", f"{inner}/c")
    assert get(f"{folder}/b") == get(f"{folder}/c") == b"a"


def test_what_cannot_be_done(folder):
    put(f"{folder}/file")
    files, inner = filesystem(folder)
    nowhere, file = f"{inner}/none", f"{inner}/file"
    for kind, do in (
        (FileNotFoundError, lambda: files.open_input_file(nowhere)),
        (FileNotFoundError, lambda: files.delete_file(nowhere)),
        (FileNotFoundError, lambda: files.delete_dir(nowhere)),
        (FileNotFoundError, lambda: files.get_file_info(fs.FileSelector(nowhere))),
        (FileNotFoundError, lambda: files.create_dir(f"{nowhere}/x", recursive=False)),
        (NotADirectoryError, lambda: files.get_file_info(fs.FileSelector(file))),
        (NotADirectoryError, lambda: files.delete_dir(file)),
        (IsADirectoryError, lambda: files.delete_file(inner)),
        (OSError, lambda: files.open_output_stream(f"{file}/below")),
        (OSError, lambda: files.open_output_stream(inner)),
        (OSError, lambda: files.create_dir(file)),
    ):
        with pytest.raises(kind) as found:
            do()
        assert "\n" not in str(found.value)
    assert names(folder) == ["file"]
    assert files.get_file_info(fs.FileSelector(nowhere, allow_not_found=True)) == []
    files.delete_dir_contents(inner)
    assert is_empty_folder(folder)


def test_a_user_who_may_not(folder, hadoop):
    put(f"{folder}/file")
    code = f"""if True:
        from vaeudf.storage.locations import filesystem
        files, inner = filesystem({folder!r})
        for do in (files.delete_dir, lambda path: files.open_output_stream(path + "/x")):
            try:
                do(inner)
            except PermissionError as error:
                print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HADOOP_USER_NAME": "kim", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all(line.startswith("Permission denied: user=kim, access=") for line in lines)
    assert names(folder) == ["file"]


def test_a_file_and_a_folder_in_one_step(folder):
    files, inner = filesystem(folder)
    with pytest.raises(InputError, match=r"^the folder of .*/page\.html does not exist; make it"):
        check_file(f"{folder}/page.html", overwrite=False, mark=b"page")
    files.create_dir(inner)
    for content in (b"<page one>", b"<page two>"):
        check_file(f"{folder}/page.html", overwrite=True, mark=b"page")
        assert write_file(f"{folder}/page.html", content) == f"{folder}/page.html"
        assert get(f"{folder}/page.html") == content and names(folder) == ["page.html"]
    for round_ in (b"1", b"2"):
        with replacing(f"{folder}/results", "_mark") as staging:
            put(f"{staging}/part-{round_.decode()}", round_)
            assert names(f"{folder}/results") == ([] if round_ == b"1" else ["_mark", "part-1"])
    with pytest.raises(ZeroDivisionError), replacing(f"{folder}/results", "_mark") as staging:
        put(f"{staging}/part-3")
        raise ZeroDivisionError
    assert names(folder) == ["page.html", "results/_mark", "results/part-2"]
    with pytest.raises(InputError, match="exists already; name another folder"):
        check_output(f"{folder}/results", overwrite=False, marker="_mark")
    check_output(f"{folder}/results", overwrite=True, marker="_mark")
    with pytest.raises(InputError, match=r"cannot be made, for .*/page\.html is a file"):
        check_output(f"{folder}/page.html/x", overwrite=False, marker="_mark")
    mark(folder, "_another")
    assert get(f"{folder}/_another") == b""


def test_names_that_the_configuration_explains(configured):
    """The default file system, a name service with a name node that is down, and a mount table."""
    name = test_names_that_the_configuration_explains.__name__
    here = f"{configured.uri}/stock/{name}"
    put(f"{here}/a", b"A")
    for there in (
        f"hdfs:///stock/{name}",
        f"hdfs://night/stock/{name}",
        f"viewfs://shop/data/{name}",
        f"viewfs://shop/stock/{name}",
    ):
        assert names(there) == ["a"] and get(f"{there}/a") == b"A"
        write_file(f"{there}/b", there.encode())
        assert get(posixpath.join(here, "b")) == there.encode()
        remove(f"{there}/b")
    remove(f"{configured.uri}/stock")


def test_a_folder_at_the_root_is_replaced(configured):
    uri = f"hdfs:///{test_a_folder_at_the_root_is_replaced.__name__}"
    for content in (b"old", b"new"):
        with replacing(uri) as folder:
            put(f"{folder}/a", content)
    assert names(uri) == ["a"] and get(f"{uri}/a") == b"new"
    remove(uri)
