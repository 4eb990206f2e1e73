from __future__ import annotations

import os
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from tests.support.scene import NUM_ITEMS
from vaeudf.catalog.reader import ImageReader
from vaeudf.catalog.source import (
    CatalogSource,
    check_items,
    count_ignored,
    hashed_version,
    in_file_order,
    list_items,
    read_images,
)
from vaeudf.errors import InputError
from vaeudf.schema import PLACE

pytestmark = pytest.mark.spark


def test_folder_gives_relative_paths_and_bytes(spark, image_folder, garments):
    rows = list_items(spark, CatalogSource(image_folder)).collect()
    reader = ImageReader("image")
    found = {row.item_id: reader.read(*(row[name] for name in PLACE)) for row in rows}
    expected = {f"{r['category']}/{r['item_id']} é.png": r["image"] for r in garments.to_pylist()}
    assert found == expected


def test_folder_versions_are_time_and_length(spark, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, 1_700_000_000_123_000_000))
    (row,) = list_items(spark, CatalogSource(str(tmp_path))).collect()
    assert row.source_version == "1700000000123000-5"


def test_glob_ids_are_relative_to_what_does_not_vary(spark, image_folder, tmp_path):
    for name in ("x/red", "y/red", "y/blue"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.JPG").write_bytes(b"x")
    rows = list_items(spark, CatalogSource(f"{tmp_path}/*/red")).collect()
    assert sorted(row.item_id for row in rows) == ["x/red/1.JPG", "y/red/1.JPG"]


def test_one_file_is_a_catalog(spark, tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (row,) = list_items(spark, CatalogSource(f"{tmp_path}/a.png")).collect()
    assert row.item_id == "a.png"


def test_files_not_named_as_images_are_counted(spark, image_folder):
    assert count_ignored(spark, CatalogSource(image_folder)) == 1


def test_oversized_files_are_listed_but_not_read(spark, tmp_path, monkeypatch):
    monkeypatch.setattr("vaeudf.catalog.reader.MAX_BYTES", 10)
    (tmp_path / "small.png").write_bytes(b"x" * 10)
    (tmp_path / "large.png").write_bytes(b"x" * 11)
    source = CatalogSource(str(tmp_path))
    lengths = {row.item_id: row.image_length for row in list_items(spark, source).collect()}
    assert lengths == {"small.png": 10, "large.png": 11}
    found = read_images(spark, source, ["small.png", "large.png"])
    assert found == {"small.png": b"x" * 10, "large.png": None}


def test_parquet_keeps_the_payload(spark, parquet_catalog, garments):
    catalog = list_items(spark, CatalogSource(parquet_catalog))
    assert catalog.columns == ["item_id", "source_version", "category", "price", "stock", *PLACE]
    assert catalog.count() == NUM_ITEMS
    row = catalog.where("stock = 3").first()
    image = ImageReader("image").read(*(row[name] for name in PLACE))
    assert image == garments["image"][3].as_py()
    assert row.price == garments["price"][3].as_py()


def test_parquet_columns_are_options(spark, tmp_path):
    path = tmp_path / "c.parquet"
    table = pa.table(
        {
            "sku": [1, 2],
            "photo": [{"bytes": b"a", "path": "x"}, {"bytes": b"b", "path": "y"}],
            "stamp": [10, 20],
            "odd.name": ["p", "q"],
        }
    )
    pq.write_table(table, path)
    source = CatalogSource(
        str(path), id_column="sku", image_column="photo.bytes", version_column="stamp"
    )
    rows = sorted(list_items(spark, source).drop(*PLACE).collect())
    assert [row.asDict() for row in rows] == [
        {"item_id": "1", "source_version": "10", "odd.name": "p"},
        {"item_id": "2", "source_version": "20", "odd.name": "q"},
    ]
    assert read_images(spark, source, ["1", "2"]) == {"1": b"a", "2": b"b"}


@pytest.mark.slow
def test_items_of_one_file_are_together_and_in_order(spark):
    rows = [
        (f"i{i}", f"/{file}.parquet", row)
        for i, (file, row) in enumerate((file, row) for row in (3, 1, None, 2, 0) for file in "cab")
    ]
    items = spark.createDataFrame(rows, "item_id string, image_file string, image_row long")
    rows = in_file_order(items, 3).withColumn("part", F.spark_partition_id()).collect()
    places = [
        [(row.image_file, row.image_row) for row in rows if row.part == part] for part in range(3)
    ]
    # Rows without a number are files of their own, and come first.
    expected = [(f"/{file}.parquet", row) for file in "abc" for row in (None, 0, 1, 2, 3)]
    assert [place for part in places for place in part] == expected
    assert all(places)


def test_hashes_are_those_that_spark_computes(spark, tmp_path):
    images = [b"x", b"", None]
    pq.write_table(pa.table({"item_id": list("abc"), "image": images}), tmp_path / "c.parquet")
    rows = sorted(list_items(spark, CatalogSource(str(tmp_path / "c.parquet"))).collect())
    assert [row.source_version for row in rows] == [hashed_version(image) for image in images]


def test_source_version_changes_with_the_image_only(spark, tmp_path):
    def version(image: bytes, price: float) -> str:
        path = str(tmp_path / "v.parquet")
        pq.write_table(pa.table({"item_id": ["a"], "image": [image], "price": [price]}), path)
        spark.catalog.clearCache()
        return list_items(spark, CatalogSource(path)).first().source_version

    assert version(b"x", 1.0) == version(b"x", 2.0) != version(b"y", 1.0)


@pytest.mark.parametrize("fixture", ["parquet_catalog", "image_folder"])
def test_some_items_images(spark, request, fixture, garments):
    source = CatalogSource(request.getfixturevalue(fixture))
    first, second = sorted(list_items(spark, source).select("item_id").limit(2).collect())
    found = read_images(spark, source, [first.item_id, second.item_id, "gone"])
    assert set(found) == {first.item_id, second.item_id}
    assert set(found.values()) <= set(garments["image"].to_pylist())
    assert read_images(spark, source, ["gone"]) == {}


def test_one_files_picture(spark, tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    assert read_images(spark, CatalogSource(f"{tmp_path}/a.png"), ["a.png"]) == {"a.png": b"x"}


def test_pictures_need_no_payload_columns(spark, parquet_catalog, garments):
    source = CatalogSource(parquet_catalog, payload_columns=["gone"], version_column="gone too")
    (item,) = garments["item_id"][:1].to_pylist()
    assert read_images(spark, source, [item]) == {item: garments["image"][0].as_py()}


def test_versions_that_are_null(spark, tmp_path):
    path = str(tmp_path / "c.parquet")
    pq.write_table(pa.table({"item_id": ["a", "b"], "image": [b"x"] * 2, "v": [1, None]}), path)
    catalog = list_items(spark, CatalogSource(path, version_column="v"))
    with pytest.raises(InputError, match=r"version column is null for 1 items, such as 'b'"):
        check_items(catalog, has_version_column=True)


def refused(spark, source: CatalogSource, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        check_items(list_items(spark, source))


def test_missing_path(spark, tmp_path):
    refused(spark, CatalogSource(f"{tmp_path}/none"), f"catalog {tmp_path}/none does not exist")
    refused(spark, CatalogSource(f"{tmp_path}/*.png"), "matches nothing; expected a folder, a glob")


def test_a_glob_that_is_none(spark, tmp_path):
    refused(spark, CatalogSource(f"{tmp_path}/{{a"), "cannot be read")


def test_empty_folder(spark, tmp_path):
    refused(
        spark,
        CatalogSource(str(tmp_path)),
        f"the catalog is empty: {tmp_path} has no files; expected image files",
    )


def test_folder_without_images(spark, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    refused(spark, CatalogSource(str(tmp_path)), "the catalog is empty")


def test_missing_columns_lists_those_found(spark, parquet_catalog):
    refused(
        spark,
        CatalogSource(parquet_catalog, id_column="sku", image_column="photo"),
        "has no column 'sku', 'photo'; it has item_id, image, category, price, stock",
    )


def test_image_column_of_another_type(spark, parquet_catalog):
    source = CatalogSource(parquet_catalog, image_column="category")
    refused(spark, source, "column 'category' of catalog")


def test_image_field_that_is_not_there(spark, parquet_catalog):
    source = CatalogSource(parquet_catalog, image_column="image.bytes")
    message = f"catalog {parquet_catalog} has no field 'image.bytes' in its column image of type "
    refused(spark, source, f"{message}binary.")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"format": "parquet"}, "Parquet"),
        ({"format": "csv", "path_column": "file"}, "CSV"),
        ({"format": "csv"}, "CSV"),
    ],
)
def test_a_folder_without_any_files(spark, tmp_path, options, expected):
    message = f"catalog {tmp_path} has no files in it; expected {expected} files."
    refused(spark, CatalogSource(str(tmp_path), **options), message)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "a", "a", "b", "c"], "2 are not: 'a' (3 times), 'b' (2 times)"),
        (["a", None], "1 are not: None (1 times)"),
    ],
)
def test_ids_that_are_not_unique(spark, tmp_path, ids, message):
    path = str(tmp_path / "c.parquet")
    pq.write_table(pa.table({"item_id": ids, "image": [b"x"] * len(ids)}), path)
    refused(spark, CatalogSource(path), message)


def test_ids_that_differ_in_case_are_two(spark, tmp_path):
    path = str(tmp_path / "c.parquet")
    pq.write_table(pa.table({"item_id": ["a", "A"], "image": [b"x", b"y"]}), path)
    assert check_items(list_items(spark, CatalogSource(path))) == 2


def test_payload_named_like_a_column_of_the_table(spark, tmp_path):
    path = str(tmp_path / "c.parquet")
    pq.write_table(pa.table({"item_id": ["a"], "image": [b"x"], "MU": [1.0]}), path)
    source = CatalogSource(path, payload_columns=["MU"])
    expected = "payload column 'MU' cannot be carried, for the table has a column 'mu' of its own"
    refused(spark, source, expected)


def test_parquet_that_is_none(spark, tmp_path):
    (tmp_path / "c.parquet").write_bytes(b"not parquet")
    refused(
        spark,
        CatalogSource(str(tmp_path / "c.parquet")),
        "cannot be read as Parquet: it is text that begins 'not parquet'. Mend it, or",
    )
    (tmp_path / "c.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256")
    refused(
        spark,
        CatalogSource(str(tmp_path / "c.parquet")),
        "cannot be read as Parquet: it is a Git LFS pointer, for a file that was not fetched.",
    )


@pytest.mark.parametrize("pattern", ["", "/*"])
def test_files_of_zero_bytes_are_listed(spark, tmp_path, pattern):
    """Spark leaves them out, and nobody would know of an image whose copying had failed."""
    root = tmp_path / "new [2026] é%20 {a,b} #+"
    names = ["a.png", "deep/b é%41 +#.PNG", "deep/c.jpg", "_hidden/d.jpg", ".e.jpg", "f.txt"]
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1_700_000_000 + i,) * 2)
    (root / "whole.png").write_bytes(b"an image")
    path = str(root) if not pattern else str(tmp_path) + pattern
    rows = {row.item_id: row for row in list_items(spark, CatalogSource(path)).collect()}
    prefix = "" if not pattern else f"{root.name}/"
    assert set(rows) == {prefix + name for name in (*names[:3], "whole.png")}
    row = rows[prefix + names[1]]
    assert (row.image_length, row.image_modified) == (0, 1_700_000_001)
    assert row.source_version == "1700000001000000-0"
    assert ImageReader("image").read(*(row[name] for name in PLACE)) == b""
    if not pattern:
        assert count_ignored(spark, CatalogSource(path)) == 1
