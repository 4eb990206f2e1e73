"""Catalogs whose rows name image files: CSV as shops export it, Parquet, Delta tables."""

from __future__ import annotations

import gzip
import logging
import os
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from pyspark.errors import PySparkException

from tests.support.cases import each_value_once
from vaeudf.catalog.csv_files import read_csv, read_csv_header
from vaeudf.catalog.named_files import MISSING, look_up_all
from vaeudf.catalog.reader import ImageReader
from vaeudf.catalog.source import (
    CatalogSource,
    check_items,
    count_ignored,
    has_hashed_versions,
    list_items,
    read_images,
    resolve_format,
)
from vaeudf.errors import InputError, raised_in_task
from vaeudf.images.decode import ImageFailure
from vaeudf.schema import PLACE

pytestmark = pytest.mark.spark

TIME = 1_700_000_000_123


@pytest.fixture
def shop(tmp_path):
    """A folder with three pictures, a and b beside the table's folder, and one far off."""
    for name in ("photos/a.jpg", "photos/b ü%41.jpg", "far/c"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
        os.utime(path, ns=(0, TIME * 10**6))
    (tmp_path / "export").mkdir()
    return tmp_path


def listed(spark, source: CatalogSource) -> dict[str, tuple[str, bytes | str]]:
    """Versions and images by item_id; for an image that is not there, the reason.

    Of versions time and length, without what is of the path.
    """
    reader = ImageReader("image")
    found = {}
    for row in list_items(spark, source).collect():
        image = reader.read(*(row[name] for name in PLACE))
        found[row.item_id] = (
            re.sub(r"\A(\d+-\d+)-[0-9a-f]{8}\Z", r"\1", row.source_version),
            image if isinstance(image, bytes) else image.reason,
        )
    return found


def version(length: int) -> str:
    return f"{TIME * 1000}-{length}"


def rows(shop: Path) -> list[tuple[str, str | None]]:
    return [
        ("007", "../photos/a.jpg"),
        ("1e5", "../photos/b ü%41.jpg"),
        ("3", f"{shop}/far/c"),
        ("4", f"file://{shop}/photos/a.jpg"),
        ("5", f"file://{shop}/photos/b%20%C3%BC%2541.jpg"),
        ("6", "../photos/gone.jpg"),
        ("7", None),
        ("8", "../photos"),
    ]


EXPECTED = {
    "007": (version(12), b"photos/a.jpg"),
    "1e5": (version(18), "photos/b ü%41.jpg".encode()),
    "3": (version(5), b"far/c"),
    "4": (version(12), b"photos/a.jpg"),
    "5": (version(18), "photos/b ü%41.jpg".encode()),
    "6": ("missing", "unavailable"),
    "7": ("missing", "unavailable"),
    "8": ("missing", "unavailable"),
}


def csv_text(shop: Path, delimiter: str = ",") -> str:
    lines = [delimiter.join(("sku", "file", "price", "name"))]
    for i, (sku, path) in enumerate(rows(shop)):
        name = f'"Dress{delimiter} ""{i}"""'
        lines.append(delimiter.join((sku, path or "", f"{i}.5", name)))
    return "\n".join(lines) + "\n"


def test_csv(spark, shop):
    path = shop / "export" / "items.csv"
    path.write_text(csv_text(shop, ";"))
    source = CatalogSource(str(path), id_column="sku", path_column="file")
    assert resolve_format(spark, source) == "csv"
    assert not has_hashed_versions(spark, source) and count_ignored(spark, source) == 0
    assert listed(spark, source) == EXPECTED
    items = list_items(spark, source)
    assert items.columns == ["item_id", "source_version", "price", "name", *PLACE]
    assert items.select("price", "name").dtypes == [("price", "double"), ("name", "string")]
    (row,) = items.where("item_id = '1e5'").collect()
    assert (row.price, row.name) == (1.5, 'Dress; "1"')
    assert check_items(items) == 8
    images = read_images(spark, source, ["3", "6", "nobody's"])
    assert images == {"3": b"far/c", "6": None}


@each_value_once(
    ("newline", ["\n", "\r\n"]),
    ("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"]),
    ("delimiter", [",", ";", "\t", "|"]),
)
def test_delimiters_and_encodings(shop, delimiter, encoding, newline):
    path = shop / "export" / "items.csv"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    text = mark + csv_text(shop, delimiter).replace("\n", newline)
    path.write_bytes(text.encode(encoding))
    found = read_csv(str(path), ["sku", "file"])
    assert list(zip(*found.select(["sku", "file"]).to_pydict().values(), strict=True)) == rows(shop)
    assert found["name"].to_pylist() == [f'Dress{delimiter} "{i}"' for i in range(8)]
    assert read_csv_header(str(path)) == ["sku", "file", "price", "name"]


@pytest.mark.slow
def test_parquet_and_a_delta_table(spark, shop):
    ids, paths = zip(*rows(shop), strict=True)
    # Relative to the catalog's folder, also from files in partitions.
    table = pa.table({"sku": ids, "file": paths, "stock": range(len(ids)), "kind": ["x"] * 8})
    pq.write_table(table, shop / "export" / "items.parquet")
    (shop / "export" / "README.md").write_text("x")
    source = CatalogSource(f"{shop}/export", id_column="sku", path_column="file")
    assert resolve_format(spark, source) == "parquet"
    assert listed(spark, source) == EXPECTED
    assert list_items(spark, source).columns[2:4] == ["stock", "kind"]
    assert read_images(spark, source, ["3"]) == {"3": b"far/c"}
    write_deltalake(str(shop / "delta"), table, partition_by=["kind"])
    source = CatalogSource(f"{shop}/delta", id_column="sku", path_column="file")
    assert listed(spark, source) == EXPECTED
    assert sorted(list_items(spark, source).columns[2:4]) == ["kind", "stock"]


def test_ids_are_as_they_are_written(spark, shop):
    ids = ["1", "01", " 1", "1.0", "1e3", "9007199254740993", "NA", "null", "true", "-", "ß"]
    lines = "".join(f"{one},../photos/a.jpg\n" for one in ids)
    (shop / "export" / "items.csv").write_text("id,file\n" + lines)
    source = CatalogSource(f"{shop}/export/items.csv", id_column="id", path_column="file")
    assert sorted(listed(spark, source)) == sorted(ids)
    both = CatalogSource(f"{shop}/export/items.csv", id_column="file", path_column="file")
    with pytest.raises(InputError, match=r"'\.\./photos/a\.jpg' \(11 times\)"):
        check_items(list_items(spark, both))


def test_versions_follow_the_file_or_a_column(spark, shop):
    (shop / "export" / "items.csv").write_text("item_id,file,stamp\na,../photos/a.jpg,v1\n")
    source = CatalogSource(f"{shop}/export/items.csv", path_column="file")
    before = listed(spark, source)
    (shop / "photos" / "a.jpg").write_bytes(b"new")
    assert listed(spark, source)["a"] != before["a"]
    by_column = CatalogSource(source.path, path_column="file", version_column="stamp")
    (row,) = list_items(spark, by_column).collect()
    assert row.source_version == "v1" and row.image_length == 3
    assert not source.agrees_with(CatalogSource(source.path))
    assert CatalogSource.from_json(source.to_json()) == source


@pytest.mark.slow
def test_a_row_that_names_another_file_has_another_version(spark, shop):
    """Pictures of raw pixels have one length, and those of one archive one time."""
    for name in ("photos/x.bmp", "photos/y.bmp", "export/x.bmp", "export/deep/x.bmp"):
        (shop / name).parent.mkdir(exist_ok=True)
        (shop / name).write_bytes(b"12")
        os.utime(shop / name, ns=(0, TIME * 10**6))

    def written(folder: Path, path: str) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "items.csv").write_text(f"item_id,file\na,{path}\n")
        source = CatalogSource(f"{shop}/export", path_column="file")
        (row,) = list_items(spark, source).collect()
        (folder / "items.csv").unlink()
        assert row.source_version.startswith(version(2))
        return row.source_version

    export = shop / "export"
    x = written(export, "../photos/x.bmp")
    assert written(export, "../photos/x.bmp") == x
    found = [x, written(export, "../photos/y.bmp"), written(export, f"{shop}/photos/x.bmp")]
    found += [written(export, "x.bmp"), written(export / "deep", "x.bmp")]
    assert len(set(found)) == len(found)
    # A catalog that has moved with its files has the same versions.
    for by in ("csv", "parquet"):
        folder = shop / by
        folder.mkdir()
        shutil.copy2(shop / "photos" / "x.bmp", folder)
        if by == "csv":
            (folder / "items.csv").write_text("item_id,file\na,x.bmp\n")
        else:
            pq.write_table(pa.table({"item_id": ["a"], "file": ["x.bmp"]}), folder / "1.parquet")
        before = list_items(spark, CatalogSource(str(folder), path_column="file")).collect()
        os.rename(folder, shop / "moved")
        after = list_items(spark, CatalogSource(f"{shop}/moved", path_column="file")).collect()
        assert [row.source_version for row in after] == [row.source_version for row in before]
        shutil.rmtree(shop / "moved")


def test_names_that_begin_with_a_tilde(spark, shop):
    (shop / "export" / "~$a.jpg").write_bytes(b"1")
    lines = "a,~$a.jpg\nb,~nobody-here/b.jpg\nc,~\n"
    (shop / "export" / "items.csv").write_text("item_id,file\n" + lines)
    found = listed(spark, CatalogSource(f"{shop}/export", path_column="file"))
    images = {name: image for name, (_, image) in found.items()}
    assert images == {"a": b"1", "b": "unavailable", "c": "unavailable"}


def test_a_folder_of_csv_files_beside_its_pictures(spark, shop):
    photos = shop / "photos"
    (photos / "train").mkdir()
    (photos / "train" / "d.jpg").write_bytes(b"d")
    (photos / "one.csv").write_text("item_id,file_name,size\na,a.jpg,1\n")
    # Paths are relative to the folder of their own file; a column may come later.
    (photos / "train" / "two.CSV").write_text("file_name,item_id,size,color\nd.jpg,d,x1,red\n")
    source = CatalogSource(str(photos), path_column="file_name")
    images = {name: image for name, (_, image) in listed(spark, source).items()}
    assert images == {"a": b"photos/a.jpg", "d": b"d"}
    items = list_items(spark, source)
    assert items.dtypes[2:4] == [("size", "string"), ("color", "string")]
    some = CatalogSource(str(photos), path_column="file_name", payload_columns=["size"])
    assert list_items(spark, some).columns == ["item_id", "source_version", "size", *PLACE]


def test_without_the_option_a_folder_with_labels_is_one_of_images(spark, shop):
    (shop / "photos" / "labels.csv").write_text("file,label\na.jpg,1\n")
    source = CatalogSource(f"{shop}/photos")
    assert resolve_format(spark, source) == "images"
    assert count_ignored(spark, source) == 1


def refused(spark, source: CatalogSource, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        check_items(list_items(spark, source))


def test_what_is_refused(spark, shop):
    path = shop / "export" / "items.csv"

    def written(text: str | bytes, **options: str) -> CatalogSource:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return CatalogSource(str(path), **{"path_column": "file", **options})

    source = written("sku;file\n1;a.jpg\n")
    refused(
        spark,
        source,
        f"{path} has no column 'item_id'; its columns are 'sku', 'file'. Name them with "
        "--id-column, --path-column and --payload-columns.",
    )
    for form in ("auto", "csv"):
        refused(
            spark,
            CatalogSource(str(path), form),
            f"catalog {path} is CSV, such as items.csv; name the column with the paths or URIs of "
            "the image files: --path-column. Its columns are 'sku', 'file'.",
        )
    refused(
        spark,
        written("item_id,file\n1,a.jpg\n2,Dress, red\n"),
        f"{path} has 3 fields in line 3, but 2 in its header; expected as many, separated by ','. "
        "A field with a separator in it must stand in quotes.",
    )
    refused(spark, written('item_id,file\n1,"a"b\n'), f"{path} is no CSV in line 2: ")
    refused(spark, written("item_id,file,file\n1,a,b\n"), f"{path} has 2 columns called 'file'")
    refused(
        spark,
        written("item_id,file\n1,Chemisé.jpg\n".encode("latin-1")),
        f"{path} is not UTF-8: it has the byte 0xe9 where no character has it. Save it as UTF-8",
    )
    refused(
        spark,
        written("item_id,file\n1,a.jpg\n2, https://shop.example/a.jpg\n"),
        f"column 'file' of catalog {path} holds web addresses, such as "
        "https://shop.example/a.jpg; expected paths, or URIs of a store",
    )
    refused(
        spark,
        written("item_id,file\n1,a.jpg (https://dl.airtable.example/a.jpg)\n"),
        f"column 'file' of catalog {path} holds web addresses, such as a.jpg (https://dl.airtable",
    )
    refused(
        spark,
        written(
            f"item_id,file\n1,'data:image/png;base64,{'iVBORw0KGgo' * 99}'\n".replace("'", '"')
        ),
        f"column 'file' of catalog {path} holds pictures themselves, such as "
        "data:image/png;base64,iVBORw0K…; expected paths, or URIs of files.",
    )
    refused(
        spark,
        written("item_id,file\n1,dbfs:/mnt/shop/a.jpg\n"),
        f"column 'file' of catalog {path} holds paths of Databricks, such as "
        "dbfs:/mnt/shop/a.jpg; expected paths, or URIs of a store. Where its files are mounted, "
        "the path is /dbfs/mnt/shop/a.jpg.",
    )
    refused(spark, written("item_id,file\n"), "the catalog is empty")
    refused(
        spark, written(""), f"{path} is empty; expected a first line with the names of its columns."
    )
    pq.write_table(pa.table({"item_id": ["1"], "file": [1]}), shop / "export" / "n.parquet")
    refused(
        spark,
        CatalogSource(f"{shop}/export", path_column="file"),
        f"catalog {shop}/export has 1 CSV files and 1 Parquet files; say which have the column "
        "'file': --format csv or --format parquet.",
    )
    refused(
        spark,
        CatalogSource(f"{shop}/export", "parquet", path_column="file"),
        f"column 'file' of catalog {shop}/export holds int64; expected text: the paths or URIs of "
        "image files. For images in the rows, use --image-column.",
    )
    refused(
        spark,
        CatalogSource(f"{shop}/export", "parquet", path_column="path"),
        "has no column 'path'; it has item_id, file. Name them with --id-column, --path-column",
    )
    refused(
        spark,
        CatalogSource(f"{shop}/photos", path_column="file"),
        "has 2 files (2 .jpg); expected CSV or Parquet with the column 'file' (--path-column)",
    )


# ---- paths that are made of columns, or are fields


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_names_that_the_table_cannot_have(spark, shop, caplog, form):
    """Whatever the rows are written in."""
    path = shop / "export" / f"items.{form}"
    own = ["__vaeudf_id", "__VAEUDF_PATH", "__vaeudf_folder", "__vaeudf_path_0", "__vaeudf_new"]
    names = ["sku", "file", "price", *own, "item_id", "Mu", "image", "image_row", "Price"]
    table = pa.table({name: ["../photos/a.jpg"] for name in names})
    if form == "csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    given = {"id_column": "sku", "path_column": "file"}
    with caplog.at_level(logging.WARNING):
        listing = list_items(spark, CatalogSource(str(path), **given))
    assert listing.columns == ["item_id", "source_version", "price", *PLACE]
    [row] = listing.collect()
    assert row.item_id == row.price == "../photos/a.jpg" and row.image_file
    taken = [f"{n!r}, for names that begin with '__vaeudf_' are vaeudf's own" for n in own]
    taken += [
        f"{name!r}, for the table has a column {name.lower()!r} of its own"
        for name in ["item_id", "Mu", "image", "image_row"]
    ]
    taken += ["'Price', for it differs from 'price' in capitals alone"]
    assert [record.getMessage() for record in caplog.records] == [
        f"columns of catalog {path} that the table will not have: {'; '.join(taken)}."
    ]
    for columns, why in [
        (["__vaeudf_id"], "'__vaeudf_id' cannot be carried, for names that begin with "),
        (["Mu"], "'Mu' cannot be carried, for the table has a column 'mu' of its own; rename it"),
        (["Price", "price"], "'price' cannot be carried, for 'Price' is one already; rename it"),
    ]:
        source = CatalogSource(str(path), payload_columns=columns, **given)
        refused(spark, source, f"payload column {why}")
    # Of an id, a version or a path the table has no more than the values.
    named = {"id_column": "__vaeudf_id", "version_column": "__vaeudf_folder"}
    source = CatalogSource(str(path), path_column="__VAEUDF_PATH", payload_columns=[], **named)
    [row] = list_items(spark, source).collect()
    assert row.item_id == row.source_version == "../photos/a.jpg"
    assert row.image_file.endswith("photos/a.jpg")


def test_a_path_with_columns_in_braces(spark, shop):
    """As in a table of styles beside a folder of images that are called by their ids."""
    for name in ("7.jpg", "red-8.jpg", "-9.jpg"):
        (shop / "export" / name).write_bytes(name.encode())
    text = "id,color\n7,red\n8,red\n9,\n"
    (shop / "export" / "styles.csv").write_text(text)
    table = pa.table({"id": pa.array([7, 8, 9], pa.int32()), "color": ["red", "red", None]})
    pq.write_table(table, shop / "export" / "styles.parquet")

    def images(form: str, path: str) -> list[bytes | None]:
        source = CatalogSource(f"{shop}/export", form, id_column="id", path_column=path)
        assert list_items(spark, source).columns[2:-4] == ["color"]
        return list(read_images(spark, source, ["7", "8"]).values())

    for form in ("csv", "parquet"):
        assert images(form, "{id}.jpg") == [b"7.jpg", None]
        assert images(form, "../export/{color}-{id}.jpg") == [None, b"red-8.jpg"]
        refused(
            spark,
            CatalogSource(f"{shop}/export", form, id_column="id", path_column="{Nr}/{id}.jpg"),
            "has no column 'Nr' for --path-column {Nr}/{id}.jpg; its columns are 'id', 'color'. "
            "Each name in braces must be one of them.",
        )
        # A value that is missing makes no path.
        source = CatalogSource(
            f"{shop}/export", form, id_column="id", path_column="{color}-{id}.jpg"
        )
        assert listed(spark, source)["9"] == ("missing", "unavailable")


def test_a_column_with_braces_in_its_name(spark, shop):
    (shop / "export" / "items.csv").write_text("item_id,{item_id}\na,../photos/a.jpg\n")
    table = pa.table({"item_id": ["a"], "{item_id}": ["../photos/a.jpg"]})
    pq.write_table(table, shop / "export" / "items.parquet")
    for form in ("csv", "parquet"):
        source = CatalogSource(f"{shop}/export", form, path_column="{item_id}")
        assert listed(spark, source) == {"a": (version(12), b"photos/a.jpg")}


@pytest.mark.slow
def test_paths_in_a_field_of_a_struct(spark, shop):
    pictures = [{"bytes": b"x" * 100, "path": "../photos/a.jpg"}, None]
    columns = {"item_id": ["a", "b"], "photo": pictures, "price": [1, 2]}
    pq.write_table(pa.table(columns), shop / "export" / "1.parquet")
    write_deltalake(str(shop / "delta"), pa.table(columns))
    for catalog in ("export", "delta"):
        source = CatalogSource(f"{shop}/{catalog}", path_column="photo.path")
        assert list_items(spark, source).columns[2:-4] == ["price"]
        assert listed(spark, source) == {
            "a": (version(12), b"photos/a.jpg"),
            "b": ("missing", "unavailable"),
        }
    refused(
        spark,
        CatalogSource(f"{shop}/export", path_column="photo"),
        "expected text: the paths or URIs of image files. Its field is: --path-column photo.path.",
    )
    refused(
        spark,
        CatalogSource(f"{shop}/export", path_column="photo.bytes"),
        f"column 'photo.bytes' of catalog {shop}/export holds binary; expected text",
    )
    # Another file writes the field's name in capitals.
    other = [{"PATH": f"{shop}/far/c", "n": 1}]
    pq.write_table(pa.table({"item_id": ["c"], "photo": other}), shop / "export" / "2.parquet")
    source = CatalogSource(f"{shop}/export", path_column="photo.path", payload_columns=[])
    assert listed(spark, source)["c"] == (version(5), b"far/c")
    os.unlink(shop / "export" / "2.parquet")
    # A column of that very name comes first.
    literal = pa.table({**columns, "photo.path": [f"{shop}/far/c", None]})
    pq.write_table(literal, shop / "export" / "1.parquet")
    source = CatalogSource(f"{shop}/export", path_column="photo.path", payload_columns=[])
    assert listed(spark, source)["a"] == (version(5), b"far/c")


def test_web_addresses_in_parquet(spark, shop):
    table = pa.table({"item_id": ["1"], "url": ["HTTP://shop.example/a.jpg"]})
    pq.write_table(table, shop / "export" / "items.parquet")
    source = CatalogSource(f"{shop}/export", path_column="url")
    with pytest.raises(InputError, match=r"^column 'url' of catalog .* such as HTTP://shop"):
        read_images(spark, source, ["1"])


@pytest.mark.parametrize(
    "path",
    [
        *("a\0b", "x" * 5000, "foo://x/y.jpg", "s3://", "file:", "file://", "~nobody/a.jpg", "."),
        *("C:\\photos\\a.jpg", "file://host/a.jpg", "data:image/png;base64,AAAA", "%", "//", "~"),
        *("hdfs:", "s3:/bucket/a.jpg", "a\nb"),
        # It looks for credentials, which takes seconds.
        pytest.param("gs://", marks=pytest.mark.slow),
    ],
)
def test_paths_that_lead_nowhere(tmp_path, path):
    (found,) = look_up_all([(path, str(tmp_path))])
    assert (found.version, found.length) == (MISSING, 0)
    failure = ImageReader("image").read(found.uri, None, found.length, found.modified)
    assert isinstance(failure, ImageFailure) and failure.reason == "unavailable"
    assert "Error" not in failure.message


@pytest.mark.parametrize(
    "content",
    [
        b"PK\3\4zipped",
        b"\x1f\x8b\x08gz",
        bytes(100),
        b"\xff\xfe\xff",
        b"item_id,file\n\0,\n",
        b"\n\n",
    ],
)
def test_files_that_are_no_csv(tmp_path, content):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{path} "):
        read_csv(str(path), ["item_id", "file", "price"])
    with pytest.raises(InputError, match=rf"^{tmp_path}/none.csv cannot be read: "):
        read_csv_header(f"{tmp_path}/none.csv")


def test_csv_as_people_write_it(tmp_path):
    path = tmp_path / "x.csv"

    def columns(text: str) -> dict[str, list[str | None]]:
        path.write_text(text)
        return read_csv(str(path), ["id", "file"]).to_pydict()

    expected = {"id": ["1", "2"], "file": ["a,b.jpg", None]}
    assert columns('id,file\n1,"a,b.jpg"\n\n2,\n') == expected
    assert columns('id, file\n1, "a,b.jpg"\n2, \n') == expected
    assert columns('"id" ; "file" \n1 ; "a,b.jpg" \n2 ; "" \n') == expected
    assert columns("id\tfile\t\n1\ta,b.jpg\tx\n2\t\t\n") == expected
    # More of another delimiter in the header than of the file's own.
    assert columns("id|file|a,b,c,d,e\n1|a,b.jpg|\n2||\n") == {
        **expected,
        "a,b,c,d,e": [None, None],
    }
    assert columns('id,"fi\nle",file\n1,x,"a\nb"\n') == {
        "id": ["1"],
        "fi\nle": ["x"],
        "file": ["a\nb"],
    }
    assert read_csv_header(str(path)) == ["id", "fi\nle", "file"]


def test_csv_as_programs_write_it(tmp_path):
    """A line for Excel, UTF-16 without a mark, lines of old Macs, and very long fields."""
    expected = {"id": ["1", "2"], "file": ["a,b.jpg", None]}

    def check(data: bytes, name: str = "x.csv") -> None:
        path = tmp_path / name
        path.write_bytes(data)
        assert read_csv_header(str(path)) == ["id", "file"]
        assert read_csv(str(path), ["id", "file"]).to_pydict() == expected

    text = "id;file\r\n1;a,b.jpg\r\n2;\r\n"
    check(f"sep=;\r\n{text}".encode("utf-8-sig"))
    check(f'"sep=;"\n{text}'.encode("utf-16"))
    check(b"sep=^\nid^file\n1^a,b.jpg\n2^\n")
    check(text.encode("utf-16-le"))
    check(text.encode("utf-16-be"))
    check(text.replace("\r\n", "\r").encode())
    check(text.replace("2;", "  \r\n2;").encode())
    check(gzip.compress(text.encode()), "x.csv.gz")
    # Files that were put behind each other, and text that Excel shall not take for a number.
    check(b'\xef\xbb\xbfid,file\n1,"a,b.jpg"\n\xef\xbb\xbfid,file\n2,\n')
    check(b'id,file\n1,"a,b.jpg"\n\xef\xbb\xbf"2",\n')
    check(b'id;file\n="1";a,b.jpg\n"=""2""";=""\n')
    long = "," * 200_000
    (tmp_path / "x.csv").write_text(f'id,file\n1,"{long}"\n')
    assert read_csv(str(tmp_path / "x.csv"), ["id"])["file"].to_pylist() == [long]


@pytest.mark.parametrize("blank", ["", " "])
def test_quotes_with_a_backslash_before_them(tmp_path, blank):
    """As Spark writes them, and no reader of CSV takes them."""
    path = tmp_path / "x.csv"
    header = f"id,{blank}name,{blank}file\n"
    for name in (r'"12\" vinyl"', r'"say \"hi\", ok"'):
        path.write_text(f"{header}1,{blank}{name},{blank}a.jpg\n")
        with pytest.raises(
            InputError, match=rf"^{path} is no CSV in line 2: .* be written twice, w"
        ):
            read_csv(str(path), ["id"])
    for name, expected in ((r'"C:\x\"', "C:\\x\\"), (r'"a\""b"', r"a\"b")):
        path.write_text(f"{header}1,{blank}{name},{blank}a.jpg\n")
        assert read_csv(str(path), ["id"])["name"].to_pylist() == [expected]


def test_compressed_csv_is_known_by_its_name(spark, shop):
    path = shop / "export" / "items.csv.gz"
    path.write_bytes(gzip.compress(csv_text(shop).encode()))
    for catalog in (path, path.parent):
        source = CatalogSource(str(catalog), id_column="sku", path_column="file")
        assert listed(spark, source) == EXPECTED


@pytest.mark.slow
def test_paths_that_other_systems_write(spark, shop):
    """Backslashes, and accents that macOS takes apart."""
    composed, apart = "é.jpg", "e\u0301.jpg"
    for name in (f"photos/{apart}", f"far/{composed}", "far/back\\slash"):
        (shop / name).write_bytes(name.encode())
    paths = [
        "..\\photos\\a.jpg",
        "..\\photos\\b ü%41.jpg",
        f"../photos/{composed}",
        f"..\\far\\{apart}",
        "../far/back\\slash",
        "..\\photos\\gone.jpg",
        " ../photos/a.jpg ",
    ]
    path = shop / "export" / "items.csv"
    path.write_text("item_id,file\n" + "".join(f"{i},{one}\n" for i, one in enumerate(paths)))
    source = CatalogSource(str(path), path_column="file")
    found = listed(spark, source)
    assert [found[str(i)][1] for i in range(len(paths))] == [
        b"photos/a.jpg",
        "photos/b ü%41.jpg".encode(),
        f"photos/{apart}".encode(),
        f"far/{composed}".encode(),
        b"far/back\\slash",
        "unavailable",
        b"photos/a.jpg",
    ]
    for absolute in ("C:\\shop\\a.jpg", "d:/shop/a.jpg", "\\\\server\\shop\\a.jpg"):
        path.write_text(f"item_id,file\n1,{absolute}\n")
        with pytest.raises(PySparkException) as caught:
            list_items(spark, source).collect()
        assert str(raised_in_task(caught.value)).startswith(
            f"column 'file' of catalog {path} holds paths of Windows, such as {absolute}; expected "
            "paths that this machine has. Cut off what stands before the folder"
        )
    for several in ("a.jpg, b.jpg", "a.TIFF|b.bmp", "['a.jpg','b.jpg']"):
        path.write_text(f'item_id,file\n1,"{several}"\n')
        with pytest.raises(PySparkException) as caught:
            list_items(spark, source).collect()
        assert str(raised_in_task(caught.value)).startswith(
            f"column 'file' of catalog {path} holds several paths for one item, such as {several}; "
            "expected one. Write a row for each picture"
        )


def test_columns_of_numbers_are_numbers(spark, shop):
    header = "item_id,file,whole,decimal,zeros,plus,mixed,huge,none,exponent\n"
    lines = "a,x,1,1,007,+1,1,12345678901234567890123,,1e-3\n"
    lines += "b,x,-20,2.50,1,2,n/a,1,,-2E+10\nc,x,,,,,,,,\n"
    (shop / "export" / "items.csv").write_text(header + lines)
    source = CatalogSource(f"{shop}/export/items.csv", path_column="file")
    items = list_items(spark, source).drop(*PLACE)
    assert dict(items.dtypes[2:]) == {
        **{"whole": "bigint", "decimal": "double", "zeros": "string", "plus": "string"},
        **{"mixed": "string", "huge": "string", "none": "string", "exponent": "double"},
    }
    first, second, third = sorted(items.collect())
    assert (first.whole, first.decimal, first.zeros) == (1, 1.0, "007")
    assert (second.whole, second.decimal, second.exponent) == (-20, 2.5, -2e10)
    assert third.whole is None and third.zeros is None
