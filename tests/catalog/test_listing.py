"""Listing files, against Spark's own listing."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from tests.support.cases import further_cases_slow
from vaeudf.catalog.listing import list_files
from vaeudf.catalog.patterns import root_of
from vaeudf.catalog.reader import ImageReader
from vaeudf.catalog.source import CatalogSource, count_ignored, list_items
from vaeudf.errors import InputError
from vaeudf.images.formats import IMAGE_SUFFIXES
from vaeudf.schema import PLACE
from vaeudf.storage.locations import spark_literal, spark_uri

pytestmark = pytest.mark.spark


@pytest.fixture(params=further_cases_slow(["driver", "tasks"], ["tasks"]), autouse=True)
def who_lists(request, monkeypatch):
    """By tasks are listed only catalogs that are larger than those made here and elsewhere."""
    if request.param == "tasks":
        monkeypatch.setattr("vaeudf.catalog.listing._MANY_FOLDERS", 2)
    return request.param


NAMES = [
    "a",
    "b b",
    "é",
    "100%",
    "c=1",
    "_d",
    "_e=2",
    ".f",
    "g,h",
    "#x",
    "i+j",
    "{k}",
    "[l]",
    "日本",
]
SUFFIXES = [".jpg", ".PNG", ".Jpeg", ".txt", "", ".jpg._COPYING_", ".jpg.tmp", "jpg"]


def tree_of_files(root, seed, depth=3):
    """Make folders and files of odd names, none of them empty; return how many files."""
    rng = np.random.default_rng(seed)
    made = 0
    root.mkdir(parents=True, exist_ok=True)
    for name in rng.choice(NAMES, size=4, replace=False):
        if depth and rng.random() < 0.6:
            made += tree_of_files(root / name, int(rng.integers(2**31)), depth - 1)
        for suffix in rng.choice(SUFFIXES, size=2, replace=False):
            path = root / f"{name}{suffix}"
            if not path.exists():
                path.write_bytes(b"x" * int(rng.integers(1, 99)))
                os.utime(path, ns=(0, int(rng.integers(0, 2**61))))
                made += 1
    return made


def theirs(spark, location):
    frame = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(location)
    rows = frame.selectExpr("path", "length", "unix_micros(modificationTime) as t").collect()
    return sorted((re.sub("^file:/+", "/", row.path), row.length, row.t) for row in rows)


def ours(spark, path):
    rows = list_files(spark, str(path)).collect()
    return sorted((row.path, row.length, row.modified * 1000) for row in rows)


@pytest.mark.parametrize("seed", further_cases_slow(range(4), [0]))
def test_as_spark_lists_them(spark, tmp_path, seed):
    root = tmp_path / "new [2026] {a,b} é%20"
    made = tree_of_files(root, seed)
    found = ours(spark, str(root))
    assert found == theirs(spark, spark_literal(str(root)))
    assert 0 < len(found) < made
    assert ours(spark, f"file://{root}") == found


@pytest.mark.parametrize(
    "pattern",
    further_cases_slow(
        ["*", "*/*", "*/*.jpg", "{a,b b,é}", "{a,a/*}", "[a-c]*/?*", "*/_[a-z]*", "?.jpg"],
        ["*", "{a,a/*}", "*/_[a-z]*"],
    ),
)
def test_globs_as_spark_reads_them(spark, tmp_path, pattern):
    for name in ("a", "b b", "é", "c=1"):
        tree_of_files(tmp_path / name, len(name), 2)
        (tmp_path / name / "_x").mkdir()
        (tmp_path / name / "_x" / "y.jpg").write_bytes(b"x")
    (tmp_path / "a.jpg").write_bytes(b"x")
    path = f"{tmp_path}/{pattern}"
    expected = theirs(spark, spark_uri(path))
    if "_" not in pattern:
        # Spark goes into hidden folders that a star matches; we, like a shell, do not.
        expected = [row for row in expected if not re.search(r"/[._](?![^/]*=)", row[0])]
    found = ours(spark, path)
    if "_" in pattern:
        # Spark passes over files that are asked for by such a name; we do not.
        found = [row for row in found if not re.search(r"/_[^=/]*$", row[0])]
        assert len(found) < len(ours(spark, path))
    assert found == sorted(set(expected)) != []


@pytest.mark.slow
def test_many_folders_and_few(spark, tmp_path, who_lists, capsys):
    for i in range(40):
        (tmp_path / f"{i:02d}" / "deep").mkdir(parents=True)
        (tmp_path / f"{i:02d}" / "deep" / "a.jpg").write_bytes(b"x")
    list_files(spark, str(tmp_path)).explain()
    with_tasks = "MapInArrow" in capsys.readouterr().out
    assert with_tasks == (who_lists == "tasks")
    assert len(ours(spark, str(tmp_path))) == 40
    assert len(ours(spark, str(tmp_path / "07"))) == 1
    assert len(ours(spark, str(tmp_path / "07" / "deep" / "a.jpg"))) == 1
    some = "{" + ",".join(f"{i:02d}" for i in range(30)) + "}"
    assert len(ours(spark, f"{tmp_path}/{some}/deep/a.jpg")) == 30


def test_more_files_of_one_folder_than_are_asked_for_one_by_one(spark, tmp_path):
    for i in range(200):
        (tmp_path / f"{i:03d}.jpg").write_bytes(b"x")
    assert len(ours(spark, f"{tmp_path}/[01]*.jpg")) == 200
    assert len(ours(spark, f"{tmp_path}/1*.jpg")) == 100


def test_links_and_pipes(spark, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(b"x")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "link.jpg").symlink_to("a/x.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "to a pipe.jpg").symlink_to("pipe.jpg")
    found = [(path[len(str(tmp_path)) + 1 :], length) for path, length, _ in ours(spark, tmp_path)]
    assert found == [("a/x.jpg", 1), ("b/x.jpg", 1), ("link.jpg", 1)]


def test_links_to_nowhere_are_items_that_cannot_be_read(spark, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "a" / "itself.jpg").symlink_to("itself.jpg")
    (tmp_path / "not an image").symlink_to("nowhere")
    (tmp_path / ".hidden.jpg").symlink_to("nowhere")
    (tmp_path / "good.jpg").write_bytes(b"good")
    source = CatalogSource(str(tmp_path), format="images")
    rows = {row.item_id: row for row in list_items(spark, source).collect()}
    assert sorted(rows) == ["a/gone.jpg", "a/itself.jpg", "good.jpg"]
    assert count_ignored(spark, source) == 1
    reader = ImageReader("image")
    images = {name: reader.read(*(row[place] for place in PLACE)) for name, row in rows.items()}
    assert images.pop("good.jpg") == b"good"
    for name, failure in images.items():
        assert failure.reason == "unavailable"
        assert failure.message.startswith(f"{tmp_path}/{name} could not be read: ")
    # Once the file is there, the item has another version.
    (tmp_path / "a" / "nowhere.jpg").write_bytes(b"back")
    again = {row.item_id: row for row in list_items(spark, source).collect()}
    assert again["a/gone.jpg"].source_version != rows["a/gone.jpg"].source_version
    assert again["a/gone.jpg"].image_length == 4


def test_circles_of_links_are_walked_once(spark, tmp_path):
    root = tmp_path / "photos"
    for name in ("a/x.jpg", "b/deep/y.jpg", "z.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    (tmp_path / "beside.jpg").write_bytes(b"x")
    (root / "itself").symlink_to(".")
    (root / "b" / "deep" / "top").symlink_to(root)
    (root / "a" / "to_b").symlink_to("../b")
    (root / "b" / "to_a").symlink_to("../a")
    (root / "a" / "outside").symlink_to("../..")
    names = [path[len(str(root)) + 1 :] for path, _, _ in ours(spark, root)]
    assert names == [
        "a/outside/beside.jpg",
        "a/to_b/deep/y.jpg",
        "a/x.jpg",
        "b/deep/y.jpg",
        "b/to_a/outside/beside.jpg",
        "b/to_a/x.jpg",
        "z.jpg",
    ]


def test_names_that_are_not_utf_8(spark, tmp_path):
    """One file that nobody can name must not stop a night, nor be passed over in silence."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "good.jpg").write_bytes(b"x")
    with open(os.fsencode(tmp_path) + b"/deep/\xff\xe9.jpg", "wb") as file:
        file.write(b"image")
    rows = {row.item_id: row for row in list_items(spark, CatalogSource(str(tmp_path))).collect()}
    assert sorted(rows) == ["deep/good.jpg", "deep/��.jpg"]
    odd = rows["deep/��.jpg"]
    assert odd.image_length == 5
    failure = ImageReader("image").read(odd.image_file, None, odd.image_length, odd.image_modified)
    assert failure.reason == "unavailable"


def test_folders_whose_names_are_not_utf_8(spark, tmp_path):
    os.makedirs(os.fsencode(tmp_path) + b"/a/\xff/b")
    with open(os.fsencode(tmp_path) + b"/a/\xff/b/c.jpg", "wb") as file:
        file.write(b"image")
    os.symlink("nowhere", os.fsencode(tmp_path) + b"/a/\xfe.jpg")
    rows = list_items(spark, CatalogSource(str(tmp_path), format="images")).collect()
    found = sorted((row.item_id, row.image_length) for row in rows)
    # The link's own length is that of the name it leads to.
    assert found == [("a/\ufffd.jpg", 7), ("a/\ufffd/b/c.jpg", 5)]


def test_a_glob_with_two_dots(spark, tmp_path, monkeypatch):
    for name in ("here/x", "photos/a/1.jpg", "photos/b/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path / "here")
    for path in ("../photos/*", "../photos", "../here/../photos/?"):
        rows = list_items(spark, CatalogSource(path)).collect()
        assert sorted(row.item_id for row in rows) == ["a/1.jpg", "b/2.jpg"]
        assert all(ImageReader("image").read(r.image_file, None, 1, 0) == b"x" for r in rows)


def test_a_hidden_file_that_is_named(spark, tmp_path):
    (tmp_path / "_DSC1.jpg").write_bytes(b"x")
    (row,) = list_items(spark, CatalogSource(f"{tmp_path}/_DSC1.jpg")).collect()
    assert row.item_id == "_DSC1.jpg"


def test_items_as_spark_lists_them(spark, tmp_path):
    tree_of_files(tmp_path, 7)
    source = CatalogSource(str(tmp_path), format="images")
    rows = list_items(spark, source).collect()
    suffixes = tuple(f".{suffix}" for suffix in IMAGE_SUFFIXES)
    expected = {
        path.removeprefix(f"{tmp_path}/"): f"{modified}-{length}"
        for path, length, modified in theirs(spark, spark_literal(str(tmp_path)))
        if path.lower().endswith(suffixes)
    }
    assert {row.item_id: row.source_version for row in rows} == expected
    assert len(rows) > 3


def test_what_is_not_there(spark, tmp_path):
    for name, found in (("nothing", "does not exist"), ("no*", "matches nothing")):
        with pytest.raises(InputError) as refused:
            list_files(spark, f"{tmp_path}/{name}")
        assert str(refused.value) == (
            f"catalog {tmp_path}/{name} {found}; expected a folder, a glob or a file."
        )
    with pytest.raises(InputError, match=r"^catalog .+ cannot be read: .*Unclosed"):
        list_files(spark, f"{tmp_path}/a[b")


def test_a_folder_that_may_not_be_listed(spark, tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()

    class Refuses:
        def get_file_info(self, what):
            raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("vaeudf.catalog.listing.filesystem", lambda path: (Refuses(), path))
    with pytest.raises(InputError, match=r"^folder .+ cannot be listed: .*Permission denied"):
        list_files(spark, str(tmp_path))


def test_root_of(tmp_path):
    (tmp_path / "x [1]").mkdir()
    (tmp_path / "x [1]" / "a.jpg").touch()
    for path, root in (
        ("x [1]", "x [1]"),
        ("x [1]/", "x [1]"),
        ("x [1]/a.jpg", "x [1]"),
        ("x*/a.jpg", "."),
        ("y/z/{a,b}/*.jpg", "y/z"),
    ):
        expected = str(tmp_path / root).removesuffix("/.")
        assert root_of(f"{tmp_path}/{path}") == expected
