from __future__ import annotations

import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageChops

from tests.support.cases import further_cases_slow
from tests.support.scene import tree
from vaeudf.catalog.garments import draw_garment, sample_garment
from vaeudf.errors import InputError
from vaeudf.workflows.draw_catalog import DrawCatalog, draw_catalog

pytestmark = pytest.mark.spark


def read(path: str) -> pa.Table:
    return pq.read_table(path).sort_by("item_id")


@pytest.mark.slow
def test_parquet(spark, tmp_path, monkeypatch):
    monkeypatch.setattr("vaeudf.workflows.draw_catalog._GARMENTS_PER_TASK", 4)
    summary = draw_catalog(DrawCatalog(f"{tmp_path}/c", items=10, size=32, seed=3))
    assert summary["items"] == 10
    rows = read(f"{tmp_path}/c")
    assert rows.column_names == ["item_id", "category", "colour", "price", "image"]
    for row in rows.to_pylist():
        garment = sample_garment(3, int(row["item_id"][-6:]))
        assert row["item_id"].startswith(garment.category)
        assert (row["category"], row["colour"], row["price"]) == (
            garment.category,
            garment.colour,
            garment.price,
        )
        picture = Image.open(io.BytesIO(row["image"]))
        assert not ImageChops.difference(picture, draw_garment(garment, 32)).getbbox()


def test_same_seed_same_catalog_whatever_the_tasks(spark, tmp_path, monkeypatch):
    draw_catalog(DrawCatalog(f"{tmp_path}/one", items=10, size=16))
    monkeypatch.setattr("vaeudf.workflows.draw_catalog._GARMENTS_PER_TASK", 3)
    draw_catalog(DrawCatalog(f"{tmp_path}/two", items=10, size=16))
    draw_catalog(DrawCatalog(f"{tmp_path}/other", items=10, size=16, seed=1))
    one, two, other = (read(f"{tmp_path}/{name}") for name in ("one", "two", "other"))
    assert one == two != other


@pytest.mark.parametrize(
    ("kind", "suffix"),
    further_cases_slow([("png", "png"), ("jpeg", "jpg")], [("jpeg", "jpg")], several=True),
)
def test_folder(spark, tmp_path, kind, suffix):
    draw_catalog(DrawCatalog(f"{tmp_path}/c é", items=12, size=32, format=kind))
    files = sorted(Path(tmp_path, "c é").rglob("*.*"))
    assert len(files) == 12 and {file.suffix for file in files} == {f".{suffix}"}
    for file in files:
        assert file.parent.name == file.stem[:-7]
        with Image.open(file) as picture:
            assert picture.size == (32, 32) and picture.format == kind.upper()


@pytest.mark.slow
def test_overwrite(spark, tmp_path):
    path = f"{tmp_path}/c"
    draw_catalog(DrawCatalog(path, items=2, size=16))
    before = tree(path)
    with pytest.raises(InputError, match="exists already"):
        draw_catalog(DrawCatalog(path, items=3, size=16))
    assert tree(path) == before
    draw_catalog(DrawCatalog(path, items=3, size=16, overwrite=True))
    assert read(path).num_rows == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [({"items": 0}, "items is 0; expected at least 1"), ({"size": 4}, "size is 4; expected 8")],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        DrawCatalog("c", **options)
