"""Folders as they are downloaded: what they are taken for, and what is said of the rest."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cases import further_cases_slow
from tests.support.files import SAMPLES, encoded
from vaeudf.catalog.source import (
    CatalogSource,
    check_items,
    count_ignored,
    list_items,
    resolve_format,
)
from vaeudf.errors import InputError

pytestmark = pytest.mark.spark

PNG = encoded(np.zeros((4, 4, 3), np.uint8))


def make(root, **files: bytes | str) -> CatalogSource:
    """Write files; two underscores in a name stand for a slash, one at its end for a dot."""
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return CatalogSource(str(root))


def parquet_of(root, name: str, **columns) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), root / name)


def ids(spark, source: CatalogSource) -> list[str]:
    return sorted(row.item_id for row in list_items(spark, source).select("item_id").collect())


def test_parquet_as_hugging_face_and_img2dataset_leave_it(spark, tmp_path):
    source = make(
        tmp_path,
        README_DOT_md="# data",
        dataset_infos_DOT_json="{}",
        thumbnail_DOT_png=PNG,
        data__00000_stats_DOT_json="{}",
    )
    for i, place in enumerate(("data/train-0.parquet", "data/train-1.parquet")):
        parquet_of(tmp_path, place, item_id=[f"{i}"], image=[PNG])
    assert resolve_format(spark, source) == "parquet"
    assert ids(spark, source) == ["0", "1"]
    assert count_ignored(spark, source) == 4


def test_images_beside_parquet_without_images(spark, tmp_path):
    """As img2dataset writes files: 00000/000000000.jpg, and 00000.parquet with the captions."""
    source = make(tmp_path, **{"00000__000000000_DOT_jpg": PNG, "00000__000000000_DOT_txt": "x"})
    parquet_of(tmp_path, "00000.parquet", key=["000000000"], caption=["a dress"])
    assert resolve_format(spark, source) == "images"
    assert ids(spark, source) == ["00000/000000000.jpg"]
    assert count_ignored(spark, source) == 2
    # Where the Parquet has bytes in a column of another name, that is asked for.
    parquet_of(tmp_path, "00000.parquet", key=["0"], photo=[{"bytes": PNG, "path": "x"}])
    with pytest.raises(InputError, match=r"has no column 'item_id', 'image'; it has key, photo"):
        list_items(spark, source)


@pytest.mark.parametrize("many", further_cases_slow([False, True], [True]))
def test_images_without_a_suffix(spark, tmp_path, monkeypatch, many):
    if many:  # then tasks look into them
        monkeypatch.setattr("vaeudf.catalog.folder._FEW", 2)
    kinds = ("jpeg", "png", "webp", "gif", "bmp", "tiff")
    for kind in kinds:
        (tmp_path / f"of {kind}").write_bytes(SAMPLES[kind])
    source = make(
        tmp_path,
        deep__0042=PNG,
        dated_DOT_2026=PNG,
        large_DOT_jpg_large=PNG,
        Z_DOT_JFIF=PNG,
        text="not an image",
        BMW="BM are the first letters of this text, which is no picture",
        empty=b"",
        notes_DOT_txt=PNG,
        copy_DOT_jpg_DOT_tmp=PNG,
    )
    (tmp_path / "nowhere").symlink_to("gone")
    assert resolve_format(spark, source) == "images"
    expected = {*(f"of {kind}" for kind in kinds), "deep/0042", "dated.2026", "large.jpg_large"}
    assert ids(spark, source) == sorted({*expected, "Z.JFIF"})
    assert count_ignored(spark, source) == 6


def test_parquet_without_a_suffix(spark, tmp_path):
    parquet_of(tmp_path, "part-00000", item_id=["a"], image=[PNG])
    source = CatalogSource(str(tmp_path))
    assert resolve_format(spark, source) == "parquet"
    assert ids(spark, source) == ["a"]


@pytest.mark.parametrize("by", further_cases_slow(["parquet", "csv", "image"], ["image"]))
def test_folders_above_all_files_are_looked_through(spark, tmp_path, monkeypatch, by):
    monkeypatch.setattr("vaeudf.catalog.listing._MANY_FOLDERS", 20)
    monkeypatch.setattr("vaeudf.catalog.survey._FEWEST_FOLDERS", 3)
    (tmp_path / "README.md").write_text("x")
    for i in range(40):
        folder = tmp_path / f"day={i}" / "shop=1"
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("x")
        if i == 7:  # the others have none
            (folder / "x.jpg").write_bytes(PNG)
            if by == "parquet":
                parquet_of(folder, "x.parquet", item_id=["a"], image=[PNG])
            if by == "csv":
                (folder / "x.csv").write_text("item_id,file\na,x.jpg\n")
    source = CatalogSource(str(tmp_path), path_column="file" if by == "csv" else None)
    assert resolve_format(spark, source) == {"image": "images"}.get(by, by)
    assert ids(spark, source) == (["day=7/shop=1/x.jpg"] if by == "image" else ["a"])
    others = {"parquet": 42, "csv": 0, "image": 41}
    assert count_ignored(spark, source) == others[by]


def test_parquet_of_several_writers(spark, tmp_path):
    names = ["a.parquet", "000000_0", "b.pq", "c.parquet.1", "d.PARQ", "e.parquet.gzip"]
    for name in names:
        parquet_of(tmp_path, name, item_id=[name], image=[PNG])
    source = make(tmp_path, text="not Parquet", notes_DOT_txt="x", b_DOT_bak=b"PAR1")
    assert resolve_format(spark, source) == "parquet"
    assert ids(spark, source) == sorted(names)
    assert count_ignored(spark, source) == 3


def test_a_file_without_a_suffix_that_cannot_be_read_is_not_lost(spark, tmp_path, monkeypatch):
    source = make(tmp_path, **{"0042": PNG, "0043": PNG, "a_DOT_jpg": PNG})

    def opened(path, *arguments):
        if str(path).endswith("0043"):
            raise OSError("the store does not answer")
        return open(path, *arguments)

    monkeypatch.setattr("vaeudf.catalog.kinds.open", opened, raising=False)
    assert ids(spark, source) == ["0042", "0043", "a.jpg"]


def refused(spark, source: CatalogSource, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        check_items(list_items(spark, source))


@pytest.mark.parametrize("form", ["auto", "images"])
def test_an_empty_result_says_what_was_passed_over(spark, tmp_path, form):
    make(
        tmp_path,
        a_DOT_txt="x",
        deep__b_DOT_TXT="x",
        c_DOT_json="x",
        d="x",
        _DSC0001_DOT_jpg=PNG,
        deep___DSC0002_DOT_jpg=PNG,
    )
    (tmp_path / ".git").mkdir()
    refused(
        spark,
        CatalogSource(str(tmp_path), form),
        f"the catalog is empty: {tmp_path} has 4 files (2 .txt, 1 .json, 1 without a suffix); 3 "
        "files or folders whose names begin with a dot or an underscore are passed over; expected "
        "image files",
    )


@pytest.mark.parametrize(
    ("name", "remedy"),
    further_cases_slow(
        [
            (
                "data-00000-of-00001_DOT_arrow",
                "load_from_disk(FOLDER).to_parquet('photos.parquet').",
            ),
            ("train_DOT_tfrecord", "Write the records' image bytes to Parquet, in a column image"),
            ("data_DOT_mdb", "Write the values' image bytes to Parquet, in a column image"),
            (
                "images_DOT_npz",
                "Write the pictures as PNG files, or their PNG files' bytes to Parquet",
            ),
        ],
        [("data-00000-of-00001_DOT_arrow", "load_from_disk(FOLDER).to_parquet('photos.parquet').")],
        several=True,
    ),
)
def test_other_formats_of_datasets_are_refused_with_what_to_do(spark, tmp_path, name, remedy):
    make(tmp_path, **{name: "x", "state_DOT_json": "{}"})
    with pytest.raises(InputError, match="^the catalog is empty.*" + re.escape(remedy)):
        check_items(list_items(spark, CatalogSource(str(tmp_path))))


@pytest.mark.parametrize("with_metadata", further_cases_slow([False, True], [True]))
def test_shards_are_named_with_what_to_do(spark, tmp_path, with_metadata):
    source = make(tmp_path, **{f"0000{i}_DOT_tar": b"x" * 512 for i in range(3)})
    if with_metadata:  # as img2dataset writes it beside them
        parquet_of(tmp_path, "00000.parquet", key=["0"], caption=["x"])
    refused(
        spark,
        source,
        f"catalog {tmp_path} has its pictures in archives (3, such as 00000.tar), which are not "
        "read; expected image files, Parquet files, or CSV with the paths of image files. Unpack "
        'them, as with `mkdir photos; for f in *.tar; do tar -xf "$f" -C photos; done`, and name '
        "the folder photos; or let img2dataset write Parquet: --output_format parquet, and then "
        "--id-column key --image-column jpg.",
    )
