"""Parquet catalogs as they lie around: types, names, and files that differ."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import logging
import os
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from tests.support.cases import further_cases_slow
from tests.support.deletion_vectors import delete_items
from vaeudf.catalog.source import (
    CatalogSource,
    check_items,
    count_ignored,
    list_items,
    read_images,
    read_thumbnails,
)
from vaeudf.errors import InputError, raised_in_task
from vaeudf.schema import PLACE

pytestmark = pytest.mark.spark

IMAGES = [b"first", b"", None]
OWN = ["item_id", "source_version"]


def write(path: Path, **columns: object) -> str:
    rows = {"item_id": ["a", "b", "c"], "image": IMAGES} | columns
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), path)
    return str(path)


def payload(spark, path: Path | str, **options: object) -> dict[str, dict[str, object]]:
    """The payload of each item."""
    rows = list_items(spark, CatalogSource(str(path), **options)).drop(*PLACE)
    return {row["item_id"]: row.asDict(True) for row in rows.collect()}


TYPES = {
    "bool": pa.array([True, None, False]),
    "i8": pa.array([1, None, -128], pa.int8()),
    "u8": pa.array([1, None, 255], pa.uint8()),
    "u16": pa.array([1, None, 2**16 - 1], pa.uint16()),
    "u32": pa.array([1, None, 2**32 - 1], pa.uint32()),
    "u64": pa.array([1, None, 2**64 - 1], pa.uint64()),
    "float": pa.array([0.1, None, 3], pa.float32()),
    "date": pa.array([datetime.date(1969, 2, 3), None, datetime.date(2026, 2, 3)]),
    "local": pa.array([-1, None, 10**15], pa.timestamp("us")),
    "instant": pa.array([-1, None, 10**15], pa.timestamp("us", "Europe/Berlin")),
    "millis": pa.array([-1, None, 10**12], pa.timestamp("ms", "UTC")),
    "decimal": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-9.99")]),
    "words": pa.array(["x", None, "x"]).dictionary_encode(),
    "large": pa.array(["x", None, "é"], pa.large_string()),
    "fixed": pa.array([b"ab", None, b"cd"], pa.binary(2)),
    "bytes": pa.array([b"ab", None, b""], pa.large_binary()),
    "duration": pa.array([1, None, 5], pa.duration("s")),
    "list": pa.array([[1, None], None, []], pa.large_list(pa.uint8())),
    "struct": pa.array(
        [{"x": 1, "y": [{"z": "q"}]}, None, {"x": None, "y": None}],
        pa.struct([("x", pa.uint16()), ("y", pa.list_(pa.struct([("z", pa.string())])))]),
    ),
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.uint16())),
    "a.b": pa.array([1, 2, 3]),
    "back`tick": pa.array([1, 2, 3]),
    " blank ": pa.array([1, 2, 3]),
    "_metadata": pa.array([1, 2, 3]),
}


def test_types_and_values_are_those_that_spark_reads(spark, tmp_path):
    path = write(tmp_path / "a.parquet", **TYPES)
    listing = list_items(spark, CatalogSource(path)).drop(*OWN, *PLACE)
    expected = spark.read.parquet(path).drop("item_id", "image")
    assert [(f.name, f.dataType) for f in listing.schema] == [
        (f.name, f.dataType) for f in expected.schema
    ]
    assert sorted(map(str, listing.collect())) == sorted(map(str, expected.collect()))


def test_instants_as_old_spark_writes_them(spark, tmp_path):
    moments = pa.array([0, None, 10**15], pa.timestamp("us"))
    rows = pa.table({"item_id": list("abc"), "image": IMAGES, "sold": moments})
    path = str(tmp_path / "a.parquet")
    pq.write_table(rows, path, use_deprecated_int96_timestamps=True)
    listing = list_items(spark, CatalogSource(path))
    assert listing.schema["sold"].dataType.simpleString() == "timestamp"
    found = {row.item_id: row.sold for row in listing.collect()}
    assert found == {row.item_id: row.sold for row in spark.read.parquet(path).collect()}
    assert found["b"] is None and found["a"] != found["c"]


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        pytest.param(pa.array([1, 20, 200], pa.uint8()), None, marks=pytest.mark.slow),
        (pa.array([1.0, -1e10, 2.0**53 - 1]), None),
        pytest.param(pa.array([1.0, 1e5, 2.0**24 - 1], pa.float32()), None, marks=pytest.mark.slow),
        pytest.param(
            pa.array([decimal.Decimal("1.50"), decimal.Decimal("2"), decimal.Decimal("-3")]),
            None,
            marks=pytest.mark.slow,
        ),
        (pa.array([0, 10**15 + 500_000, 10**15 + 1], pa.timestamp("us")), None),
        pytest.param(
            pa.array([0, 10**15 + 500_000, 10**15 + 1], pa.timestamp("us", "UTC")),
            None,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            pa.array([datetime.date(2026, 1, day) for day in (1, 2, 3)]),
            None,
            marks=pytest.mark.slow,
        ),
        pytest.param(pa.array([b"a", b"b", "é".encode()]), None, marks=pytest.mark.slow),
        (pa.array([uuid.UUID(int=i).bytes for i in (1, 2, 3)], pa.uuid()), True),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_ids_are_the_text_that_spark_makes_of_them(spark, tmp_path, column, texts):
    path = write(tmp_path / "a.parquet", item_id=column)
    found = {row.item_id for row in list_items(spark, CatalogSource(path)).collect()}
    if texts:
        assert found == {str(uuid.UUID(int=i)) for i in (1, 2, 3)}
    else:
        rows = spark.read.parquet(path).selectExpr("cast(item_id as string) as item_id")
        assert found == {row.item_id for row in rows.collect()}


@pytest.mark.parametrize(
    ("kind", "bits"),
    further_cases_slow(
        [(pa.float16(), 11), (pa.float32(), 24), (pa.float64(), 53)],
        [(pa.float64(), 53)],
        several=True,
    ),
    ids=["half", "float", "double"],
)
def test_ids_that_may_have_been_rounded_to_others(spark, tmp_path, kind, bits):
    ids = pa.array(np.array([3, 1 - 2**bits, 2**bits], kind.to_pandas_dtype()))
    path = write(tmp_path / "a.parquet", sku=ids)
    with pytest.raises(InputError) as caught:
        read_images(spark, CatalogSource(path, id_column="SKU"), ["3.0"])
    assert str(caught.value) == (
        f"column 'sku' in {path} has ids of type {kind}, such as {2**bits}; from 2^{bits} on that "
        "type can no longer represent every whole number, and an id may have been rounded to "
        "another one. Write them again, as text or int64, from where they are still exact."
    )
    exact = write(tmp_path / "b.parquet", sku=ids.take([0, 1, 1]))
    source = CatalogSource(exact, id_column="sku")
    assert read_images(spark, source, ["3.0"]) == {"3.0": b"first"}


@pytest.mark.parametrize(
    ("kind", "number", "shown"),
    [
        (pa.float32(), 0.3, "0.3"),
        pytest.param(pa.float64(), -7.5, "-7.5", marks=pytest.mark.slow),
        pytest.param(pa.float64(), float("nan"), "nan", marks=pytest.mark.slow),
        pytest.param(pa.float64(), float("-inf"), "-inf", marks=pytest.mark.slow),
    ],
)
def test_ids_that_are_no_whole_numbers(spark, tmp_path, kind, number, shown):
    path = write(tmp_path / "a.parquet", item_id=pa.array([1.0, number, 2.0], kind))
    with pytest.raises(InputError) as caught:
        read_images(spark, CatalogSource(path), ["1.0"])
    assert str(caught.value) == (
        f"column 'item_id' in {path} has ids of type {kind}, such as {shown}; expected text or "
        "whole numbers. Convert them to text, leave out rows without an id, or name another "
        "column with --id-column."
    )


def test_ids_of_deleted_rows_do_not_matter(spark, tmp_path):
    path = str(tmp_path / "table")
    ids = [1.0, float("nan"), 2.0**60]
    write_deltalake(path, pa.table({"item_id": ids, "image": IMAGES, "key": ["a", "b", "c"]}))
    delete_items(path, ["b", "c"], "key")
    found = list_items(spark, CatalogSource(path)).collect()
    assert [row.item_id for row in found] == ["1.0"]


def test_bytes_that_are_no_text_name_the_column_of_the_catalog(spark, tmp_path):
    path = write(tmp_path / "a.parquet", sku=pa.array([b"a", b"\xff", b"c"]))
    with pytest.raises(InputError, match=rf"^column 'sku' has bytes in {path} that are not text"):
        read_images(spark, CatalogSource(path, id_column="sku"), ["a"])


def test_ids_of_sixteen_bytes_are_no_uuids(spark, tmp_path):
    ids = [b"0123456789abcdef", b"another item's i", b"one more of them"]
    path = write(tmp_path / "a.parquet", item_id=pa.array(ids, pa.binary(16)))
    found = {row.item_id for row in list_items(spark, CatalogSource(path)).collect()}
    assert found == {item_id.decode() for item_id in ids}


def test_types_that_spark_does_not_read(spark, tmp_path, caplog):
    path = write(
        tmp_path / "a.parquet",
        half=pa.array(np.array([0.5, 1.5, 65504], np.float16)),
        key=pa.array([uuid.UUID(int=7).bytes, None, None], pa.uuid()),
        nanos=pa.array([1_000, None, 2_000], pa.timestamp("ns")),
        cut=pa.array([-1, None, 1_700_000_000_123_456_789], pa.timestamp("ns")),
        time=pa.array([1, 2, 3], pa.time64("us")),
        wide=pa.array([decimal.Decimal(1)] * 3, pa.decimal256(50, 0)),
        nothing=pa.nulls(3),
        MU=pa.array([1, 2, 3]),
        price=pa.array([1, 2, 3]),
        Price=pa.array([4, 5, 6]),
    )
    with caplog.at_level(logging.WARNING):
        found = payload(spark, path)
    assert [*found["a"]] == ["item_id", "source_version", "half", "key", "nanos", "cut", "price"]
    assert found["c"]["half"] == 65504.0
    assert found["a"]["key"] == str(uuid.UUID(int=7))
    epoch = datetime.datetime(1970, 1, 1)
    assert found["a"]["nanos"] == epoch + datetime.timedelta(microseconds=1)
    assert found["a"]["cut"] == epoch - datetime.timedelta(microseconds=1)
    expected = epoch + datetime.timedelta(microseconds=1_700_000_000_123_456)
    assert found["c"]["cut"] == expected
    left_out, cut = (record.getMessage() for record in caplog.records)
    assert left_out == (
        f"columns of catalog {path} that the table will not have: "
        f"'time', for it is time64[us] in {path}, for which Delta has no type; "
        f"'wide', for it is decimal256(50, 0) in {path}, for which Delta has no type; "
        "'nothing', for it has no value in any file; "
        "'MU', for the table has a column 'mu' of its own; "
        "'Price', for it differs from 'price' in capitals alone."
    )
    assert cut == f"columns whose nanoseconds are cut off to microseconds: 'cut' (in {path})."


def test_a_column_that_is_named_and_cannot_be_carried(spark, tmp_path, caplog):
    path = write(tmp_path / "a.parquet", time=pa.array([1, 2, 3], pa.time64("us")))
    with pytest.raises(InputError) as caught:
        payload(spark, path, payload_columns=["time"])
    assert str(caught.value) == (
        f"payload column 'time' of catalog {path} cannot be carried: it is time64[us] in {path}, "
        "for which Delta has no type. Convert it, or leave it out of --payload-columns."
    )
    with pytest.raises(InputError, match=r"column 'time' .* cannot be read: it is time64\[us\]"):
        payload(spark, path, id_column="time")
    assert [*payload(spark, path, payload_columns=[])["a"]] == OWN
    assert not caplog.records


@pytest.mark.slow
def test_brotli(spark, tmp_path):
    rows = pa.table({"item_id": ["a"], "image": [b"x" * 100]})
    pq.write_table(rows, tmp_path / "a.parquet", compression="brotli")
    source = CatalogSource(str(tmp_path))
    assert check_items(list_items(spark, source)) == 1
    assert read_images(spark, source, ["a"]) == {"a": b"x" * 100}


def test_columns_are_read_only_if_they_are_carried(spark, tmp_path):
    """A damaged column does no harm where it is not asked for."""
    path = tmp_path / "a.parquet"
    write(path, big=pa.array(["spoilt" * 1000] * 3))
    data = path.read_bytes()
    column = pq.read_metadata(path).row_group(0).column(2)
    assert column.path_in_schema == "big"
    start = column.dictionary_page_offset
    path.write_bytes(data[:start] + b"\xff" * 12 + data[start + 12 :])
    assert len(payload(spark, path, payload_columns=[])) == 3
    with pytest.raises(Exception, match=r"InputError: file .*a.parquet of the catalog cannot be"):
        payload(spark, path)


def test_a_literal_column_comes_before_a_field(spark, tmp_path):
    images = [{"bytes": b"inner"}] * 3
    path = write(tmp_path / "a.parquet", image=images)
    source = CatalogSource(path, image_column="image.bytes")
    assert read_images(spark, source, ["a"]) == {"a": b"inner"}
    assert list_items(spark, source).columns == [*OWN, *PLACE]
    path = write(tmp_path / "b.parquet", image=images, **{"image.bytes": [b"outer"] * 3})
    source = CatalogSource(path, image_column="image.bytes", payload_columns=[])
    assert read_images(spark, source, ["a"]) == {"a": b"outer"}
    (row, *_) = list_items(spark, source).collect()
    assert row.source_version == hashlib.sha256(b"outer").hexdigest()[:16]


def test_a_struct_instead_of_bytes_says_which_field_has_them(spark, tmp_path):
    path = write(tmp_path / "a.parquet", image=[{"path": "x", "bytes": b"x"}] * 3)
    with pytest.raises(InputError) as caught:
        list_items(spark, CatalogSource(path))
    assert str(caught.value).endswith(
        "expected binary: the bytes of an image file. Its field is: --image-column image.bytes."
    )
    path = write(tmp_path / "a.parquet", image=["a.jpg", "b.jpg", "c.jpg"])
    with pytest.raises(InputError, match=r"If it holds paths of .* --path-column image\.$"):
        list_items(spark, CatalogSource(path))


# ---- files that differ


def test_files_that_differ_are_united(spark, tmp_path):
    write(tmp_path / "1.parquet", item_id=["a", "b", "c"], stock=pa.array([1, 2, 3], pa.int32()))
    write(
        tmp_path / "2.parquet",
        item_id=["d", "e", "f"],
        stock=pa.array([2**40, 5, None], pa.int64()),
        price=[1, 2, None],
        season=["s", None, "w"],
    )
    rows = {"Item_ID": ["g"], "IMAGE": [b"seventh"], "PRICE": [2.5], "new": [[1]]}
    pq.write_table(pa.table(rows), tmp_path / "3.parquet")
    found = payload(spark, tmp_path)
    nothing = {"stock": None, "price": None, "season": None, "new": None}
    expected = {
        **{item: nothing | {"stock": i} for i, item in enumerate("abc", 1)},
        "d": nothing | {"stock": 2**40, "price": 1.0, "season": "s"},
        "e": nothing | {"stock": 5, "price": 2.0},
        "f": nothing | {"season": "w"},
        "g": nothing | {"price": 2.5, "new": [1]},
    }
    assert {i: {n: v for n, v in r.items() if n not in OWN} for i, r in found.items()} == expected
    assert found["g"]["source_version"] == hashlib.sha256(b"seventh").hexdigest()[:16]
    source = CatalogSource(str(tmp_path))
    assert read_images(spark, source, ["a", "g"]) == {"a": b"first", "g": b"seventh"}


def refused(spark, folder: Path, message: str, **options: object) -> None:
    with pytest.raises(InputError) as caught:
        list_items(spark, CatalogSource(str(folder), **options))
    assert str(caught.value) == message.format(path=folder)


def test_types_that_do_not_agree_name_both_files(spark, tmp_path):
    write(tmp_path / "1.parquet", price=[1, 2, 3])
    write(tmp_path / "2.parquet", item_id=["d", "e", "f"], price=["1", "2", "3"])
    refused(
        spark,
        tmp_path,
        "column 'price' of catalog {path} is int64 in {path}/1.parquet and string in "
        "{path}/2.parquet; expected types of which one holds the values of the other. Write both "
        "files alike, or name with --payload-columns what is to be carried.",
    )
    assert len(payload(spark, tmp_path, payload_columns=[])) == 6


@pytest.mark.parametrize("other", [pa.array(["1", "2", "3"]), pa.array([1.0, 2.0, 3.0])])
def test_ids_of_two_types(spark, tmp_path, other):
    write(tmp_path / "1.parquet", item_id=[7, 8, 9])
    write(tmp_path / "2.parquet", item_id=other)
    refused(
        spark,
        tmp_path,
        f"column 'item_id' of catalog {{path}} is int64 in {{path}}/1.parquet and {other.type} in "
        "{path}/2.parquet; expected types of which one holds the values of the other. Write both "
        "files alike, or name another column with --id-column.",
    )


def test_whole_numbers_that_a_double_does_not_hold(spark, tmp_path):
    write(tmp_path / "1.parquet", stock=[2**53 + 1, 2, 3])
    write(tmp_path / "2.parquet", item_id=["d", "e", "f"], stock=[0.5, 1, 2])
    with pytest.raises(Exception, match=r"InputError: column 'stock' is int64 in .*/1.parquet, "):
        payload(spark, tmp_path)


@pytest.mark.parametrize(
    ("lacking", "what"),
    further_cases_slow(
        [("image", "image column 'image'"), ("item_id", "column 'item_id'")],
        [("item_id", "column 'item_id'")],
        several=True,
    ),
)
def test_a_file_without_a_column_that_is_needed(spark, tmp_path, lacking, what):
    write(tmp_path / "1.parquet")
    rows = {"item_id": ["z"], "image": [b"x"]}
    del rows[lacking]
    pq.write_table(pa.table(rows), tmp_path / "2.parquet")
    refused(
        spark,
        tmp_path,
        f"the {what} of catalog {{path}} is in {{path}}/1.parquet and not in {{path}}/2.parquet; "
        "expected it in every file. Mend the file, or move it away.",
    )


def test_files_that_are_damaged(spark, tmp_path):
    path = write(tmp_path / "1.parquet")
    (tmp_path / "2.parquet").touch()
    refused(
        spark,
        tmp_path,
        "file {path}/2.parquet of the catalog has no bytes; expected Parquet. Write it again, or "
        "move it away.",
    )
    (tmp_path / "2.parquet").write_bytes(Path(path).read_bytes()[:-9])
    with pytest.raises(InputError, match=r"file .*/2.parquet of the catalog cannot be read as Par"):
        list_items(spark, CatalogSource(str(tmp_path)))


def test_files_beside_the_parquet_are_ignored_and_counted(spark, tmp_path):
    write(tmp_path / "data" / "1.parquet")
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "dataset_infos.json").write_text("{}")
    source = CatalogSource(str(tmp_path), format="parquet")
    assert check_items(list_items(spark, source)) == 3
    assert count_ignored(spark, source) == 2
    # Hive's files have no suffix.
    os.rename(tmp_path / "data" / "1.parquet", tmp_path / "data" / "000000_0")
    source = CatalogSource(str(tmp_path / "data"), format="parquet")
    assert check_items(list_items(spark, source)) == 3
    assert count_ignored(spark, source) == 0


def test_folders_that_are_columns(spark, tmp_path):
    for number, folder in enumerate(["year=2025/s=007", "year=2026/s=a%20b", "year=2026/s=7"]):
        write(tmp_path / "c" / folder / "f.parquet", item_id=[f"{number}{i}" for i in "abc"])
    expected = {
        row.item_id: (row.year, row.s) for row in spark.read.parquet(f"{tmp_path}/c").collect()
    }
    listing = list_items(spark, CatalogSource(f"{tmp_path}/c"))
    assert [f.dataType.simpleString() for f in listing.schema[2:4]] == ["int", "string"]
    assert {row.item_id: (row.year, row.s) for row in listing.collect()} == expected
    # Below what a glob or a file names, there is no such folder.
    for path, columns in (("c/*/", ["s"]), ("c/year=2025/s=007/f.parquet", [])):
        assert payload(spark, tmp_path / path).popitem()[1].keys() == {*OWN, *columns}


@pytest.mark.parametrize("name", further_cases_slow(["season", "Season"], ["Season"]))
def test_a_folder_and_a_column_of_one_name(spark, tmp_path, caplog, name):
    for number, season in enumerate(["summer", "winter"]):
        own = {name: ["x", "summer", None], "item_id": [f"{number}{i}" for i in "abc"]}
        write(tmp_path / "c" / f"season={season}" / "f.parquet", **own, price=[1, 2, 3])
    rows = spark.read.parquet(f"{tmp_path}/c").collect()
    expected = {row.item_id: {"season": row["season"], "price": row.price} for row in rows}
    assert {row["season"] for row in expected.values()} == {"summer", "winter"}
    with caplog.at_level(logging.WARNING):
        found = payload(spark, tmp_path / "c")
    assert {i: {n: row[n] for n in ("season", "price")} for i, row in found.items()} == expected
    assert all([*row] == [*OWN, "price", "season"] for row in found.values())
    assert [record.getMessage() for record in caplog.records] == [
        f"columns of catalog {tmp_path}/c that files have, too, taken from the folders' names, as "
        f"Spark does: 'season' (in {tmp_path}/c/season=summer/f.parquet)."
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        payload(spark, tmp_path / "c", payload_columns=["price"])
    assert not caplog.records
    found = payload(spark, tmp_path / "c", payload_columns=["season"])
    assert found["1a"]["season"] == "winter"


def test_a_delta_table_whose_columns_were_added_later(spark, tmp_path):
    uri = str(tmp_path / "catalog")
    first = pa.table({"item_id": ["a"], "price": [1], "s": ["x"]})
    write_deltalake(uri, first, partition_by=["price"])
    later = pa.table({"item_id": ["b"], "price": pa.nulls(1, pa.int64()), "image": [b"x"]})
    write_deltalake(uri, later, mode="append", schema_mode="merge")
    source = CatalogSource(uri)
    rows = {row["item_id"]: row for row in list_items(spark, source).collect()}
    assert {i: (r["price"], r["s"]) for i, r in rows.items()} == {"a": (1, "x"), "b": (None, None)}
    assert rows["a"].source_version == hashlib.sha256(b"").hexdigest()[:16]
    assert read_images(spark, source, ["a", "b"]) == {"a": None, "b": b"x"}
    with pytest.raises(InputError, match=r"has no column 'photo'; it has item_id, s, price, image"):
        list_items(spark, CatalogSource(uri, image_column="photo"))
    with pytest.raises(InputError, match=r"column 'price' of catalog .* holds int64; expected bin"):
        list_items(spark, CatalogSource(uri, image_column="price"))


def test_ids_that_are_folders_are_as_they_are_written(spark, tmp_path):
    image = pa.table({"image": [b"x"]})
    for folder in ("sku=007/v=1e1", "sku=7/v=01"):
        path = tmp_path / folder / "f.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(image, path)
    source = CatalogSource(str(tmp_path), id_column="sku", version_column="v")
    rows = list_items(spark, source).select("item_id", "source_version").collect()
    assert sorted(map(tuple, rows)) == [("007", "1e1"), ("7", "01")]


@pytest.mark.slow
def test_many_files_are_looked_at_by_tasks(spark, tmp_path, monkeypatch):
    for number in range(4):
        write(
            tmp_path / f"{number}.parquet", item_id=[f"{number}{i}" for i in "abc"], n=[number] * 3
        )
    expected = payload(spark, tmp_path)
    monkeypatch.setattr("vaeudf.catalog.files._MANY", 2)
    monkeypatch.setattr("vaeudf.catalog.files._FEWEST_PER_TASK", 1)
    monkeypatch.setattr("vaeudf.catalog.rows._FEWEST_BYTES", 1)
    assert payload(spark, tmp_path) == expected
    (tmp_path / "4.parquet").write_bytes(b"none")
    with pytest.raises(InputError, match=r"file .*/4.parquet of the catalog cannot be read as Par"):
        payload(spark, tmp_path)


def test_row_groups_are_dealt_to_several_tasks(spark, tmp_path, monkeypatch):
    monkeypatch.setattr("vaeudf.catalog.rows._FEWEST_BYTES", 1)
    images = [b"%d" % i for i in range(100)]
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"item_id": range(100), "image": images}), path, row_group_size=7)
    listing = list_items(spark, CatalogSource(path))
    assert listing.select(F.spark_partition_id()).distinct().count() > 4
    rows = {int(row.item_id): row for row in listing.collect()}
    for number, image in enumerate(images):
        assert rows[number].image_row == number
        assert rows[number].source_version == hashlib.sha256(image).hexdigest()[:16]


def test_thumbnails_are_made_where_the_images_are_read(spark, parquet_catalog, garments):
    from vaeudf.images.decode import thumbnail

    source = CatalogSource(parquet_catalog)
    images = dict(zip(*(garments[n].to_pylist() for n in ("item_id", "image")), strict=True))
    ids = [*images][::3]
    found = read_thumbnails(spark, source, [*ids, "gone"], 20)
    assert found == {item_id: thumbnail(images[item_id], 20) for item_id in ids}
    assert read_thumbnails(spark, source, [], 20) == {}


def text_of(*values: bytes) -> pa.Array:
    """Text as some writers leave it: bytes that nobody has checked."""
    ends = np.cumsum([0, *map(len, values)]).astype(np.int32)
    buffers = [pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(values))]
    return pa.StringArray.from_buffers(len(values), *buffers)


@pytest.mark.parametrize("name", ["item_id", "title", "tags"])
def test_text_that_is_not_utf_8(spark, tmp_path, name):
    text = text_of(b"caf\xe9", b"b", b"c")
    if name == "tags":
        text = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), text)
    path = write(tmp_path / "c.parquet", **{name: text})
    with pytest.raises(PySparkException) as caught:
        payload(spark, path)
    found = str(raised_in_task(caught.value))
    assert found.startswith(f"column {name!r} has bytes in {path} that are not text in UTF-8: ")
    assert found.endswith(". Convert it to text, or name another column.")
    if name != "item_id":
        assert payload(spark, path, payload_columns=()).keys() == {"a", "b", "c"}


def test_files_without_rows_may_differ(spark, tmp_path):
    """Partitions without rows: pandas does not know their types, nor perhaps their columns."""
    write(tmp_path / "c" / "b.parquet", n=[1, 2, 3])
    for name, table in [
        ("a", pa.table({"item_id": pa.nulls(0), "image": pa.nulls(0), "n": pa.nulls(0)})),
        ("c", pa.table({"image": pa.array([], pa.int64()), "n": pa.array([], pa.string())})),
        ("d", pa.table({})),
    ]:
        pq.write_table(table, tmp_path / "c" / f"{name}.parquet")
    assert payload(spark, tmp_path / "c")["b"]["n"] == 2


def test_an_image_column_without_any_value_in_a_file(spark, tmp_path):
    """pandas writes no type for it."""
    write(tmp_path / "c" / "a.parquet")
    write(tmp_path / "c" / "b.parquet", item_id=["x", "y", "z"], image=pa.nulls(3))
    source = CatalogSource(str(tmp_path / "c"))
    assert read_images(spark, source, ["a", "x"]) == {"a": b"first", "x": None}
    versions = {
        row["item_id"]: row["source_version"] for row in list_items(spark, source).collect()
    }
    nothing = hashlib.sha256(b"").hexdigest()[:16]
    assert versions["x"] == nothing != versions["a"] and len(versions) == 6
    inner = pa.array([{"bytes": b"1"}, None, {"bytes": b"3"}])
    write(tmp_path / "c" / "a.parquet", image=inner)
    source = CatalogSource(str(tmp_path / "c"), image_column="image.bytes")
    assert read_images(spark, source, ["a", "x"]) == {"a": b"1", "x": None}
    assert list_items(spark, source).count() == 6


def test_views_of_lists(spark, tmp_path):
    points = pa.array([[{"x": 1, "y": 2}], None, []])
    views = pa.array(points.to_pylist(), pa.list_view(points.type.value_type))
    ids = [uuid.UUID(int=number) for number in range(3)]
    key = pa.array([one.bytes for one in ids], pa.uuid())
    path = write(tmp_path / "c.parquet", points=views, key=key)
    found = payload(spark, path)
    assert [found[name]["points"] for name in "abc"] == points.to_pylist()
    assert [found[name]["key"] for name in "abc"] == list(map(str, ids))


@pytest.mark.parametrize("file", ["metadata/v1.metadata.json", ".hoodie/hoodie.properties"])
def test_tables_of_other_formats(spark, tmp_path, file):
    write(tmp_path / "c" / "data" / "a.parquet")
    (tmp_path / "c" / file).parent.mkdir()
    (tmp_path / "c" / file).write_text("{}")
    name = "an Iceberg" if "metadata" in file else "a Hudi"
    with pytest.raises(InputError) as caught:
        payload(spark, tmp_path / "c")
    assert str(caught.value).startswith(
        f"catalog {tmp_path}/c is {name} table, whose files may hold rows that were deleted or "
        "replaced; write its rows as Parquet, such as with spark.read.format("
    )
